"""Exact gaps of linear-quadratic games: the deviating player's Riccati equations, read off the game's own functions.

A player that deviates alone faces a one-player problem (see `equilibria`). Where that is linear-quadratic, with
z = (x, 1), own control v, regime i,

    dz = (A_i z + B_i v) dt + Σ_k (C_ik z + D_ik v) dW_k + Σ_q E_iq z dÑ_iq,    z → J_ij z at a switch i → j,
    cost E[ ∫₀ᵀ e^{−ρt} (z, v)ᵀ M_i (z, v) dt + e^{−ρT} zᵀ G_i z ],

every matrix is made of values of the game's functions, all the others' strategies put in (`deviator_matrices`); nothing
is taken from the solver that made the profile, nor from its own matrices. The best reply has value zᵀSz,

    −Ṡ_i = M^zz − ρS + AᵀS + SA + Σ_k CᵀSC + Σ_q λ_q EᵀSE + Σ_{j≠i} μ_ij JᵀS_jJ + μ_ii S − ΓᵀΛ⁻¹Γ,
    Λ_i = M^vv + Σ_k DᵀS_iD,   Γ_i = M^vz + BᵀS_i + Σ_k DᵀS_iC,   v* = −Λ⁻¹Γ z,       S_i(T) = G_i,

and what the player gains over its own affine control v = K_i z is zᵀΔz with

    −Δ̇_i = (K + Λ⁻¹Γ)ᵀ Λ (K + Λ⁻¹Γ) − ρΔ + 𝒜ᵀΔ + Δ𝒜 + Σ_k 𝒞ᵀΔ𝒞 + (jumps and switches as above),   Δ_i(T) = 0,

𝒜 = A + BK, 𝒞_k = C_k + D_k K: non-negative by construction, and as accurate where it is tiny as where it is large.
The cost of the player's own control is zᵀPz, −Ṗ = (1, K)ᵀM(1, K) − ρP + 𝒜ᵀP + … linear like that of Δ, so that it
exists where the best reply does not: then the gain has no bound.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.equilibria import Nash, OwnPolicy, Stackelberg, natural_concept, seat_of
from diffgames.errors import RunFailed
from diffgames.games.differential import DifferentialGame, Profile
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.verification.certificate import Certificate, Gap, exact_gap, magnitude, not_integrated, unbounded_gap
from diffgames.verification.deviator_matrices import (
    Stage,
    check_linear_quadratic,
    quadratic_matrix,
    read_stage,
    regime_labels,
    switch_matrices,
)
from diffgames.verification.linear_response import ESCAPES
from diffgames.verification.starts import absorbing_start, starting_moments

EXACT = "exact: linear-quadratic best response"
TOLERANCE = 1e-7
FIRST_STEPS, MOST_STEPS = 64, 32_768


class Response(NamedTuple):
    """Values at time 0 in each regime: of the player's own control, and what the best reply gains over it.

    The cost of the player's own control from x in regime i is zᵀ played[i] z, that of the best reply
    zᵀ (played[i] − gain[i]) z, z = (x, 1). `doubt` is by how much the last halving of the step moved `gain`.
    `unbounded` says why there is no best reply, where there is none.
    """

    played: Float[Array, "m n n"]
    gain: Float[Array, "m n n"]
    doubt: Float[Array, "m n n"]
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
            unseen=absorbing_start(game, profile),
        )


def best_response(label: str, problem: DifferentialGame, own: Profile) -> Response:
    """The exact best reply in a one-player linear-quadratic problem, against the own control of the player `label`."""
    check_linear_quadratic(problem, own)
    values, convex, fine = _converged(problem, own)
    if not bool(np.all(np.isfinite(values.played))):
        raise RunFailed(
            f"the cost of what {label} plays is not finite",
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
            raise not_integrated(label)
        reason = "its Riccati equation escapes before the horizon; shorten the horizon, or raise its control cost"
        return values._replace(unbounded=reason)
    return values


@eqx.filter_jit
def _ending(problem: DifferentialGame, own: Profile) -> Array:
    """How an adaptive integration of the best reply's value ends: fixed steps do not tell a pole from a fast rate."""
    horizon, discount = jnp.asarray(problem.horizon, jnp.float64), jnp.asarray(problem.discount, jnp.float64)
    m, n = problem.regime_count, problem.state_size
    terminal = jax.vmap(lambda i: quadratic_matrix(lambda x: problem.terminal_cost(x, i)[0], n))(regime_labels(m))
    switch = switch_matrices(problem)

    def rate(tau: Array, best: Array) -> Array:
        stage = read_stage(problem, own, horizon - tau)
        return _rates(stage, switch, discount, best, jnp.zeros_like(best), jnp.zeros_like(best))[0][0]

    return integrate_to_go(rate, terminal, horizon[None], Accuracy(rtol=1e-8, atol=1e-10)).code


def _gap(
    game: DifferentialGame, profile: Profile, concept: Nash | Stackelberg, player: int, starts: Float[Array, "s m n n"]
) -> Gap:
    """The entry of a player from the start, of several, where it gains most."""
    label, own = game.players[player], OwnPolicy(profile, seat_of(game, player))
    values = best_response(label, concept.problem(game, profile, player), own)
    gains = jnp.einsum("siab,iab->s", starts, values.gain)
    worst = 0 if values.unbounded else int(jnp.argmax(gains))
    cost = float(jnp.sum(starts[worst] * values.played))
    selected = "linear-quadratic response" + (f", from regime {worst}" if len(starts) > 1 else "")
    if values.unbounded:
        return unbounded_gap(label, -cost, values.unbounded, selected)
    scale = float(jnp.sum(starts[worst] * magnitude(values.played)))
    doubt = abs(float(jnp.sum(starts[worst] * values.doubt)))
    return exact_gap(label, -cost, float(gains[worst]), doubt, selected=selected, scale=scale)


def _converged(problem: DifferentialGame, own: Profile) -> tuple[Response, bool, bool]:
    """Response by halving the step until nothing moves, or as often as allowed; whether Λ stayed positive definite;
    whether the values are finite."""
    steps, before = FIRST_STEPS, None
    while True:
        values, least = _integrate(problem, own, jnp.asarray(steps, jnp.int32))
        fine = bool(np.all(np.isfinite(values.played)) and np.all(np.isfinite(values.gain)))
        if fine and before is not None:
            values = values._replace(doubt=values.gain - before.gain)
            scale = float(np.abs(values.played).max())
            moved = float(np.abs(values.played - before.played).max())
            doubt = float(np.abs(values.doubt).max())
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
    terminal = jax.vmap(lambda i: quadratic_matrix(lambda x: problem.terminal_cost(x, i)[0], n))(regime_labels(m))
    switch = switch_matrices(problem)
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
    return Response(played=played, gain=gain, doubt=jnp.abs(gain)), least


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


def _float64(tree: Any) -> Any:
    """Every floating-point array of a pytree in float64."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64) if eqx.is_inexact_array(leaf) else leaf, tree)
