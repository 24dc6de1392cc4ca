"""Exact gaps of linear-quadratic games: the deviating player's Riccati equations, read off the game's own functions.

A player that deviates alone faces a one-player problem (see `equilibria`). Where that is linear-quadratic, with
z = (x, 1), own control v, regime i,

    dz = (A_i z + B_i v) dt + Σ_k (C_ik z + D_ik v) dW_k + Σ_q E_iq z dÑ_iq,    z → J_ij z at a switch i → j,
    cost E[ ∫₀ᵀ e^{−ρt} (z, v)ᵀ M_i (z, v) dt + e^{−ρT} zᵀ G_i z ],

every matrix is made of values of the game's drift, diffusion, jump sizes and costs, all the others' strategies put in,
at the origin, the unit vectors and their sums (exact for affine and quadratic functions); nothing is taken from the
solver that made the profile, nor from its own matrices. The best reply has value zᵀSz,

    −Ṡ_i = M^zz − ρS + AᵀS + SA + Σ_k CᵀSC + Σ_q λ_q EᵀSE + Σ_{j≠i} μ_ij JᵀS_jJ + μ_ii S − ΓᵀΛ⁻¹Γ,
    Λ_i = M^vv + Σ_k DᵀS_iD,   Γ_i = M^vz + BᵀS_i + Σ_k DᵀS_iC,   v* = −Λ⁻¹Γ z,       S_i(T) = G_i,

and what the player gains over its own affine control v = K_i z is zᵀΔz with

    −Δ̇_i = (K + Λ⁻¹Γ)ᵀ Λ (K + Λ⁻¹Γ) − ρΔ + 𝒜ᵀΔ + Δ𝒜 + Σ_k 𝒞ᵀΔ𝒞 + (jumps and switches as above),   Δ_i(T) = 0,

𝒜 = A + BK, 𝒞_k = C_k + D_k K: non-negative by construction, and as accurate where it is tiny as where it is large.
The cost of the player's own control is zᵀPz, −Ṗ = (1, K)ᵀM(1, K) − ρP + 𝒜ᵀP + … linear like that of Δ, so that it
exists where the best reply does not: then the gain has no bound.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.equilibria import Nash, OwnPolicy, Stackelberg, natural_concept
from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame, GaussianLaw, PointLaw, Profile
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.verification.certificate import Certificate, Gap, exact_gap, magnitude, unbounded_gap
from diffgames.verification.linear_response import ESCAPES, not_integrated

EXACT = "exact: linear-quadratic best response"
LIKENESS = 1e-6
TOLERANCE = 1e-7
FIRST_STEPS, MOST_STEPS = 64, 32_768


class Stage(NamedTuple):
    """The matrices of a linear-quadratic one-player problem at one time, regime first."""

    drift: Float[Array, "m n n"]
    input: Float[Array, "m n k"]
    diffusion: Float[Array, "m noises n n"]
    noise_input: Float[Array, "m noises n k"]
    jump_scale: Float[Array, "m jumps n n"]
    jump_rate: Float[Array, "m jumps"]
    generator: Float[Array, "m m"]
    cost: Float[Array, "m nk nk"]
    gain: Float[Array, "m k n"]


class Response(NamedTuple):
    """Values at time 0 in each regime: of the player's own control, and what the best reply gains over it.

    The cost of the player's own control from x in regime i is zᵀ played[i] z, that of the best reply
    zᵀ (played[i] − gain[i]) z, z = (x, 1). `unbounded` says why there is no best reply, where there is none.
    """

    played: Float[Array, "m n n"]
    gain: Float[Array, "m n n"]
    unbounded: str = ""


def exact_gaps(
    game: DifferentialGame,
    profile: Profile,
    *,
    concept: Nash | Stackelberg | None = None,
    players: Sequence[str | int] | None = None,
    every_regime: bool = False,
) -> Certificate:
    """Certificate of exact gaps of a game that is linear-quadratic in what each player faces when it deviates.

    A gain without bound is an entry, ∞ with its reason. `every_regime` starts the law of x in every regime and keeps
    the largest gain. Values are rewards: a minimising player's is its cost with a minus sign. Computed in float64.
    `InvalidInput` names the function that is not affine or quadratic.
    """
    if players is None:
        chosen = [index for index, sign in enumerate(game.signs) if sign]
    else:
        chosen = [game.player_index(player) for player in players]
    concept = concept if concept is not None else natural_concept(game)
    with jax.enable_x64(True):
        game, profile = _float64(game), _float64(profile)
        starts = starting_moments(game.initial, game.regime_count, every_regime)
        return Certificate(
            entries=tuple(_gap(game, profile, concept, index, starts) for index in chosen),
            how=EXACT,
            unseen=unseen(game, profile),
        )


def best_response(problem: DifferentialGame, own: Profile) -> Response:
    """The exact best reply in a one-player linear-quadratic problem, against the player's own control."""
    check_linear_quadratic(problem, own)
    values, convex, fine = _converged(problem, own)
    if not bool(np.all(np.isfinite(values.played))):
        raise RunFailed(
            f"the cost of what {problem.players[0]} plays is not finite",
            "shorten the horizon; the closed loop grows beyond floating-point numbers",
        )
    if not convex:
        reason = (
            "what it faces is not convex in its own control; check the sign of its control cost: "
            "a maximising player has sign −1 and its reward is concave"
        )
        return values._replace(unbounded=reason)
    if not fine:
        if int(_ending(problem, own)) not in ESCAPES:
            raise not_integrated(problem.players[0])
        reason = "its Riccati equation escapes before the horizon; shorten the horizon, or raise its control cost"
        return values._replace(unbounded=reason)
    return values


@eqx.filter_jit
def _ending(problem: DifferentialGame, own: Profile) -> Array:
    """How an adaptive integration of the best reply's value ends: fixed steps do not tell a pole from a fast rate."""
    horizon, discount = jnp.asarray(problem.horizon, jnp.float64), jnp.asarray(problem.discount, jnp.float64)
    m, n = problem.regime_count, problem.state_size
    terminal = jax.vmap(lambda i: _quadratic(lambda x: problem.terminal_cost(x, i)[0], n))(_labels(m))
    switch = _switch(problem)

    def rate(tau: Array, best: Array) -> Array:
        stage = read_stage(problem, own, horizon - tau)
        return _rates(stage, switch, discount, best, jnp.zeros_like(best), jnp.zeros_like(best))[0][0]

    return integrate_to_go(rate, terminal, horizon[None], Accuracy(rtol=1e-8, atol=1e-10)).code


def unseen(game: DifferentialGame, profile: Profile) -> str:
    """Words where the start is absorbing under the profile, so that gains from there say nothing of other states."""
    law = game.initial
    if not isinstance(law, PointLaw) or game.regime_count > 1:
        return ""
    i = jnp.asarray(law.regime, jnp.int32)
    for share in (0.0, 0.31, 0.77):
        t = share * jnp.asarray(game.horizon, law.state.dtype)
        u = profile(t, law.state, i)
        moves = [game.drift(t, law.state, u, i), game.diffusion(t, law.state, u, i)]
        for jump in game.jumps:
            size = jump.size(t, law.state, u, jump.marks.quadrature()[0][0], i)
            moves.append(jump.rate(t, law.state, u, i) * size)
        if any(float(jnp.max(jnp.abs(move), initial=0.0)) > 0 for move in moves):
            return ""
    return f"other states than the start {np.asarray(law.state).tolist()}, which is absorbing; give another `initial`"


def starting_moments(law: Any, regimes: int, every_regime: bool) -> Float[Array, "s m n n"]:
    """`law_moments`, or those of the law of x started in each of the regimes."""
    second = law_moments(law, regimes)
    if not every_regime:
        return second[None]
    return jnp.eye(regimes, dtype=second.dtype)[:, :, None, None] * jnp.sum(second, axis=0)[None, None]


def initial_moments(game: DifferentialGame, draws: int = 100_000) -> Float[Array, "m n n"]:
    """E[zzᵀ; I = i] at time 0, z = (x, 1): exact for point and Gaussian laws, of a fixed sample for others."""
    return law_moments(game.initial, game.regime_count, draws)


def law_moments(law: Any, regimes: int, draws: int = 100_000) -> Float[Array, "m n n"]:
    """E[zzᵀ; I = i] of a law of (x, i), as `initial_moments`."""
    if isinstance(law, PointLaw | GaussianLaw):
        mean, regime = (law.state, law.regime) if isinstance(law, PointLaw) else (law.mean, law.regime)
        z = jnp.concatenate([mean, jnp.ones(1, mean.dtype)])
        second = jnp.outer(z, z)
        if isinstance(law, GaussianLaw):
            n = mean.shape[0]
            second = second.at[:n, :n].add(law.factor @ law.factor.T)
        return jnp.zeros((regimes, *second.shape), second.dtype).at[regime].set(second)
    x, i = jax.vmap(law)(jax.random.split(jax.random.key(0), draws))
    z = jnp.concatenate([x, jnp.ones((draws, 1), x.dtype)], axis=1)
    own = (i[:, None] == jnp.arange(regimes, dtype=i.dtype)[None]).astype(x.dtype)
    return jnp.einsum("bi,ba,bc->iac", own, z, z) / draws


def check_linear_quadratic(problem: DifferentialGame, own: Profile, draws: int = 8) -> None:
    """`InvalidInput`, naming the function, unless the one-player problem is linear-quadratic and `own` affine."""
    if problem.bounds[0] is not None:
        raise InvalidInput("bounds", problem.bounds[0], "a player with unbounded controls, for an exact response")
    if callable(problem.generator) and problem.regime_count > 1:
        raise InvalidInput("generator", "a function", "a constant matrix, for an exact response")
    n, k = problem.state_size, problem.control_sizes[0]
    rng = np.random.default_rng(0)
    wrong: dict[str, float] = {}
    for _ in range(draws):
        t = jnp.asarray(rng.uniform(0, 1)) * problem.horizon
        x, v = jnp.asarray(rng.normal(size=n)), jnp.asarray(rng.normal(size=k))
        i = jnp.asarray(rng.integers(problem.regime_count), jnp.int32)
        for name, error in _unlikeness(problem, own, t, x, v, i).items():
            wrong[name] = max(wrong.get(name, 0.0), float(error))
    for name, error in wrong.items():
        if not error < LIKENESS:
            words = "quadratic" if "cost" in name else "affine" if name != "jump rate" else "constant"
            raise InvalidInput(name, f"off by {error:.2g} relative", f"a function {words} in state and control")


def _gap(
    game: DifferentialGame, profile: Profile, concept: Nash | Stackelberg, player: int, starts: Float[Array, "s m n n"]
) -> Gap:
    """The entry of a player from the start, of several, where it gains most."""
    values = best_response(concept.problem(game, profile, player), OwnPolicy(profile, player))
    gains = jnp.einsum("siab,iab->s", starts, values.gain)
    worst = 0 if values.unbounded else int(jnp.argmax(gains))
    cost = float(jnp.sum(starts[worst] * values.played))
    selected = "linear-quadratic response" + (f", from regime {worst}" if len(starts) > 1 else "")
    label = game.players[player]
    if values.unbounded:
        return unbounded_gap(label, -cost, values.unbounded, selected)
    scale = float(jnp.sum(starts[worst] * magnitude(values.played)))
    return exact_gap(label, -cost, float(gains[worst]), 0.0, selected=selected, scale=scale)


def _converged(problem: DifferentialGame, own: Profile) -> tuple[Response, bool, bool]:
    """Response by doubling the steps until nothing moves; whether Λ stayed positive definite; whether it converged."""
    steps, before = FIRST_STEPS, None
    while True:
        values, least = _integrate(problem, own, jnp.asarray(steps, jnp.int32))
        fine = bool(np.all(np.isfinite(values.played)) and np.all(np.isfinite(values.gain)))
        if fine and before is not None:
            scale = float(np.abs(values.played).max())
            moved = float(np.abs(values.played - before.played).max())
            doubt = float(np.abs(values.gain - before.gain).max())
            if moved <= TOLERANCE * scale and doubt <= TOLERANCE * (float(np.abs(values.gain).max()) + 1e-3 * scale):
                return values, float(least) > 0, True
        if steps >= MOST_STEPS:
            return values, float(least) > 0, fine
        steps, before = 2 * steps, values if fine else None


@eqx.filter_jit
def _integrate(problem: DifferentialGame, own: Profile, steps: Array) -> tuple[Response, Array]:
    """The Runge–Kutta method of order four in the time to go, and the least eigenvalue that any Λ had.

    The matrices are read twice a step, at its middle and its end.
    """
    horizon, discount = jnp.asarray(problem.horizon, jnp.float64), jnp.asarray(problem.discount, jnp.float64)
    m, n = problem.regime_count, problem.state_size
    terminal = jax.vmap(lambda i: _quadratic(lambda x: problem.terminal_cost(x, i)[0], n))(_labels(m))
    switch = _switch(problem)
    h = horizon / steps.astype(jnp.float64)

    def body(number: Array, carry: tuple[Any, Stage, Array]) -> tuple[Any, Stage, Array]:
        y, start, least = carry
        tau = jnp.asarray(number, jnp.float64) * h + h * jnp.asarray([0.5, 1.0])
        read = jax.vmap(lambda tau: read_stage(problem, own, horizon - tau))(tau)
        stages = jax.tree.map(lambda first, later: jnp.stack([first, later[0], later[0], later[1]]), start, read)

        def part(inner: tuple[Any, Any, Array], inputs: tuple[Stage, Array, Array]) -> tuple[Any, None]:
            slope, total, least = inner
            stage, reach, weight = inputs
            here = tuple(value + reach * change for value, change in zip(y, slope, strict=True))
            slope, curvature = _rates(stage, switch, discount, *here)
            total = tuple(sum_ + weight * change for sum_, change in zip(total, slope, strict=True))
            now = jnp.min(curvature)
            return (slope, total, jnp.minimum(least, jnp.where(jnp.isfinite(now), now, least))), None

        nothing = tuple(jnp.zeros_like(value) for value in y)
        reach, weight = h * jnp.asarray([0.0, 0.5, 0.5, 1.0]), h * jnp.asarray([1.0, 2.0, 2.0, 1.0]) / 6
        (_, change, least), _ = jax.lax.scan(part, (nothing, nothing, least), (stages, reach, weight))
        after = tuple(value + moved for value, moved in zip(y, change, strict=True))
        return after, jax.tree.map(lambda leaf: leaf[1], read), least

    stage = jax.tree.map(lambda leaf: leaf[0], jax.vmap(lambda t: read_stage(problem, own, t))(horizon[None]))
    first = ((terminal, jnp.zeros_like(terminal), terminal), stage, jnp.asarray(jnp.inf, jnp.float64))
    (_, gain, played), _, least = jax.lax.fori_loop(0, steps, body, first)
    return Response(played=played, gain=gain), least


def _rates(
    stage: Stage, switch: Array, discount: Array, best: Array, gain: Array, played: Array
) -> tuple[tuple[Array, Array, Array], Array]:
    """dS/dτ, dΔ/dτ, dP/dτ in the time to go τ = T − t, and the eigenvalues of each Λ."""
    n = stage.drift.shape[-1]
    curvature = stage.cost[:, n:, n:] + jnp.einsum("iqba,ibc,iqcd->iad", stage.noise_input, best, stage.noise_input)
    cross = (
        stage.cost[:, n:, :n]
        + jnp.einsum("iba,ibc->iac", stage.input, best)
        + jnp.einsum("iqba,ibc,iqcd->iad", stage.noise_input, best, stage.diffusion)
    )
    reply = jnp.linalg.solve(curvature, cross)
    own_excess = stage.gain + reply

    def flow(value: Array, drift: Array, diffusion: Array) -> Array:
        pulled = jnp.einsum("iba,ibc->iac", drift, value)
        noise = jnp.einsum("iqba,ibc,iqcd->iad", diffusion, value, diffusion)
        jumped = jnp.einsum("iq,iqba,ibc,iqcd->iad", stage.jump_rate, stage.jump_scale, value, stage.jump_scale)
        diagonal = jnp.diagonal(stage.generator)
        away = stage.generator - jnp.diag(diagonal)
        moved = jnp.einsum("ij,ijba,jbc,ijcd->iad", away, switch, value, switch)
        stays = (diagonal - discount)[:, None, None] * value
        return pulled + jnp.swapaxes(pulled, 1, 2) + noise + jumped + moved + stays

    closed = stage.drift + jnp.einsum("iab,ibc->iac", stage.input, stage.gain)
    noisy = stage.diffusion + jnp.einsum("iqab,ibc->iqac", stage.noise_input, stage.gain)
    saved = jnp.einsum("iba,ibc->iac", cross, reply)
    ds = stage.cost[:, :n, :n] + flow(best, stage.drift, stage.diffusion) - (saved + jnp.swapaxes(saved, 1, 2)) / 2
    excess = jnp.einsum("iba,ibc,icd->iad", own_excess, curvature, own_excess)
    crossed = jnp.einsum("iba,ibc->iac", stage.gain, stage.cost[:, n:, :n])
    paid = stage.cost[:, :n, :n] + crossed + jnp.swapaxes(crossed, 1, 2)
    paid = paid + jnp.einsum("iba,ibc,icd->iad", stage.gain, stage.cost[:, n:, n:], stage.gain)
    slopes = (ds, excess + flow(gain, closed, noisy), paid + flow(played, closed, noisy))
    return slopes, jnp.linalg.eigvalsh(curvature)


def read_stage(problem: DifferentialGame, own: Profile, t: Float[Array, ""]) -> Stage:
    """The problem's matrices at time t, from values of its functions."""
    n, k, m = problem.state_size, problem.control_sizes[0], problem.regime_count
    zero, still = jnp.zeros(n), jnp.zeros(k)

    def one(i):
        drift = _affine(lambda x, v: problem.drift(t, x, (v,), i), zero, still)
        noise = _affine(lambda x, v: problem.diffusion(t, x, (v,), i).T, zero, still)
        gain = _affine(lambda x, v: own(t, x, i)[0], zero, still)[0]
        cost = _quadratic(lambda y: problem.running_cost(t, y[:n], (y[n:],), i)[0], n + k)
        order = jnp.concatenate([jnp.arange(n), jnp.asarray([n + k]), jnp.arange(n, n + k)])  # (x, v, 1) to (x, 1, v)
        scales, rates = [jnp.zeros((0, n + 1, n + 1))], [jnp.zeros(0)]
        shift = jnp.zeros((n + 1, n + 1))
        for law in problem.jumps:
            nodes, weights = law.marks.quadrature()
            rate = jnp.asarray(law.rate(t, zero, (still,), i), jnp.float64)
            scale = jax.vmap(lambda z, law=law: _pad(_affine(lambda x, v: law.size(t, x, (v,), z, i), zero, still)[0]))(
                nodes
            )
            if not law.compensated:
                shift = shift + rate * jnp.einsum("q,qab->ab", weights.astype(jnp.float64), scale)
            scales.append(scale)
            rates.append(rate * weights.astype(jnp.float64))
        return (
            _pad(drift[0]) + shift,
            _pad(drift[1]),
            jax.vmap(_pad)(noise[0]),
            jax.vmap(_pad)(noise[1]),
            jnp.concatenate(scales),
            jnp.concatenate(rates),
            cost[order][:, order],
            gain,
        )

    a, b, c, d, e, rate, cost, gain = jax.vmap(one)(_labels(m))
    generator = jnp.zeros((m, m)) if callable(problem.generator) or problem.generator is None else problem.generator
    return Stage(a, b, c, d, e, rate, jnp.asarray(generator, jnp.float64), cost, gain)


def _affine(function: Callable, zero: Array, still: Array) -> tuple[Array, Array]:
    """[f_x, f(0)] (last axis n + 1) and f_v of an affine function of state and control, from its values."""
    n = zero.shape[0]
    y = jnp.concatenate([jnp.zeros((1, n + still.shape[0])), jnp.eye(n + still.shape[0])])
    values = jax.vmap(lambda y: function(y[:n], y[n:]), out_axes=-1)(y)
    constant = values[..., :1]
    return jnp.concatenate([values[..., 1 : n + 1] - constant, constant], axis=-1), values[..., n + 1 :] - constant


def _pad(matrix: Array) -> Array:
    """A last row of zeros: the constant 1 does not move."""
    return jnp.concatenate([matrix, jnp.zeros((1, matrix.shape[1]))])


def _quadratic(function: Callable, size: int) -> Float[Array, "n n"]:
    """Symmetric M with f(y) = (y, 1)ᵀ M (y, 1) of a quadratic function, from its values."""
    zero, eye = jnp.zeros((1, size)), jnp.eye(size)
    pairs = (eye[:, None] + eye[None]).reshape(-1, size)
    values = jax.vmap(function)(jnp.concatenate([zero, eye, pairs]))
    constant, single, double = values[0], values[1 : size + 1], values[size + 1 :].reshape(size, size)
    curvature = (double - single[:, None] - single[None, :] + constant) / 2
    linear = (single - constant - jnp.diagonal(curvature)) / 2
    top = jnp.concatenate([curvature, linear[:, None]], axis=1)
    return jnp.concatenate([top, jnp.concatenate([linear, constant[None]])[None]])


def _switch(problem: DifferentialGame) -> Float[Array, "m m n n"]:
    """z → J_ij z at a switch."""
    n, m = problem.state_size, problem.regime_count
    if problem.switch is None:
        return jnp.broadcast_to(jnp.eye(n + 1), (m, m, n + 1, n + 1))
    switch, corner = problem.switch, jnp.zeros((n + 1, n + 1)).at[n, n].set(1.0)

    def one(i, j):
        zero = jnp.zeros(n)
        return _pad(_affine(lambda x, v: switch(zero[0], x, i, j), zero, zero)[0]) + corner

    return jax.vmap(lambda i: jax.vmap(lambda j: one(i, j))(_labels(m)))(_labels(m))


@eqx.filter_jit
def _unlikeness(problem: DifferentialGame, own: Profile, t: Array, x: Array, v: Array, i: Array) -> dict[str, Array]:
    """How far, relative to its size, every function is at (x, v) from the one that its matrices describe."""
    stage, n = read_stage(problem, own, t), x.shape[0]
    z = jnp.append(x, 1.0)
    y = jnp.concatenate([z, v])
    control = (v,)
    triples: dict[str, tuple[Any, Any, Any]] = {}  # the function, what its matrices say, and the size of their terms
    shift = jnp.zeros(n)
    for number, law in enumerate(problem.jumps):
        rate = jnp.asarray(law.rate(t, x, control, i), jnp.float64)
        still = jnp.asarray(law.rate(t, 0 * x, (0 * v,), i), jnp.float64)
        triples[f"jumps[{number}].rate"] = (rate, still, still)
        if not law.compensated:
            shift = shift + rate * law.mean_size(t, x, control, i)
        mark = law.marks.quadrature()[0][0]
        scale = _affine(lambda x, v, law=law, mark=mark: law.size(t, x, (v,), mark, i), 0 * x, 0 * v)[0]
        triples[f"jumps[{number}].size"] = (law.size(t, x, control, mark, i), scale @ z, jnp.abs(scale) @ jnp.abs(z))
    moves = jnp.concatenate([stage.drift[i], stage.input[i]], axis=1)[:n]
    triples["drift"] = (problem.drift(t, x, control, i) + shift, moves @ y, jnp.abs(moves) @ jnp.abs(y))
    spread = jnp.concatenate([stage.diffusion[i], stage.noise_input[i]], axis=2)[:, :n]
    noise, most = spread @ y, jnp.abs(spread) @ jnp.abs(y)
    triples["diffusion"] = (problem.diffusion(t, x, control, i), noise.T, most)
    running = stage.cost[i]
    paid = problem.running_cost(t, x, control, i)[0]
    triples["running_cost"] = (paid, y @ running @ y, jnp.abs(y) @ jnp.abs(running) @ jnp.abs(y))
    last = _quadratic(lambda x: problem.terminal_cost(x, i)[0], n)
    triples["terminal_cost"] = (problem.terminal_cost(x, i)[0], z @ last @ z, jnp.abs(z) @ jnp.abs(last) @ jnp.abs(z))
    triples["profile"] = (own(t, x, i)[0], stage.gain[i] @ z, jnp.abs(stage.gain[i]) @ jnp.abs(z))
    return {name: _relative(*triple) for name, triple in triples.items()}


def _relative(found: Array, wanted: Array, size: Array) -> Array:
    """max |found − wanted| in units of what either is made of: rounding is far below one, another function is not."""
    reference = jnp.maximum(_largest(found), _largest(size))
    return _largest(found - wanted) / jnp.where(reference > 0, reference, 1.0)


def _largest(array: Array) -> Array:
    """max |a|, zero of nothing (a game without noise has no diffusion)."""
    return jnp.max(jnp.abs(array), initial=0.0)


def _labels(m: int) -> Array:
    return jnp.arange(m, dtype=jnp.int32)


def _float64(tree: Any) -> Any:
    """Every floating-point array of a pytree in float64."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64) if eqx.is_inexact_array(leaf) else leaf, tree)
