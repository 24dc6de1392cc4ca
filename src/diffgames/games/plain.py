"""Linear-quadratic games that need no introduction: the regulator, N players, a controller against a disturbance.

    dx = (A x + c + Σ_p B_p u_p) dt + noise dW + Σ_k C_k x dw_k + Σ_l (E_l x + e_l) dÑ_l,
    cost of p: E[∫ xᵀQ_p x + 2 xᵀN_p u + uᵀR_p u dt + x_TᵀQ_Tp x_T]   (no ½);

in discrete time x⁺ = A x + c + Σ_p B_p u_p + noise ξ + …. With a `generator` every matrix may differ by regime, and all
but Q_T may be functions of time (of the step in discrete time), such as a `games.matrices.Schedule`.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, order_of_play, padded, tracking
from diffgames.games.linear_quadratic_check import check_span
from diffgames.games.matrices import Binder, check_definite, in_letters, lifted, numbers, shown
from diffgames.numerics.memory import DOUBLE, check_memory
from diffgames.numerics.precision import in_double


def regulator(
    *,
    A: Any,
    B: Any,
    Q: Any,
    R: Any,
    Q_T: Any = None,
    N: Any = None,
    noise: Any = None,
    target: Any = None,
    shift: Any = None,
    horizon: Any = math.inf,
    discount: Any = 0.0,
    discrete: bool = False,
    **more: Any,
) -> LinearQuadraticGame:
    """One player that steers x to `target` at least cost (LQR; with additive `noise` LQG under full observation).

    `shift` is a drift, `N` the cross cost 2 xᵀN u; `more` are the jumps, regimes and state noise of `nash_game`.
    """
    with in_letters({f"{letter}[0]": letter for letter in ("B", "Q", "R", "Q_T", "N")} | {"targets[0]": "target"}):
        return nash_game(
            A=A,
            B=[B],
            Q=[Q],
            R=[R],
            Q_T=None if Q_T is None else [Q_T],
            N=None if N is None else [N],
            noise=noise,
            targets=None if target is None else [target],
            shift=shift,
            horizon=horizon,
            discount=discount,
            discrete=discrete,
            names=("controller",),
            **more,
        )


@in_double
def nash_game(
    *,
    A: Any,
    B: Any,
    Q: Any,
    R: Any,
    Q_T: Any = None,
    N: Any = None,
    noise: Any = None,
    targets: Any = None,
    shift: Any = None,
    state_noise: Any = None,
    jump_rate: Any = None,
    jump_scale: Any = None,
    jump_shift: Any = None,
    generator: Any = None,
    horizon: Any = math.inf,
    discount: Any = 0.0,
    discrete: bool = False,
    tiers: Any = (),
    signs: Any = (),
    names: Any = (),
) -> LinearQuadraticGame:
    """N players on one state; entry p of `B`, `Q`, `R`, `Q_T`, `N`, `targets`, `signs`, `names` is player p's.

    - `A` [n, n], `B[p]` [n, k_p], `Q[p]` and `Q_T[p]` [n, n], `targets[p]` and `shift` c [n], `noise` [n, w]
    - `R[p]`: the cost [k_p, k_p] of p's own control, or the full cost [K, K] of all controls together
    - `N[p]`: the cross cost [n, K] of the state and all controls
    - `state_noise` C [k, n, n]; `jump_rate` λ [l], `jump_scale` E [l, n, n], `jump_shift` e [l, n], compensated
    - `generator` μ [m, m] of regimes (in discrete time one plus μ are the probabilities of a step): each of the above
      is then one array for all regimes, or one per regime along a first axis
    - `tiers`: player indices in the order of play, `((0,), (1, 2))`; all at once by default

    A number stands for a 1×1 matrix. `InvalidInput` names the letter that does not fit.
    """
    check_span(horizon, discount, discrete)
    regimes = regimes_of(generator)
    bind = Binder(regimes)
    state = bind.by_regime("A", A, "n", "n")
    n, m = bind.sizes["n"], regimes or 1
    drift = lifted(_Drift(discrete), state, jnp.zeros((m, n)) if shift is None else bind.vector("shift", shift, "n"))
    inputs = [
        bind.by_regime(f"B[{p}]", own, "n", f"k{p}")
        for p, own in enumerate(bind.entries("B", B, "one matrix per player"))
    ]
    lists = _per_player(bind, len(inputs), Q=Q, R=R, Q_T=Q_T, N=N, targets=targets, signs=signs, names=names)
    sizes = [bind.sizes[f"k{p}"] for p in range(len(inputs))]
    bind.sizes["K"] = sum(sizes)
    count, m, n = len(inputs), regimes or 1, bind.sizes["n"]
    needed = DOUBLE * 2.0 * count * m * (sum(sizes) ** 2 + 2 * (n + 1) ** 2)
    check_memory("B", f"{count} players", needed, "the players' costs")
    players = _players(bind, inputs, sizes, lists, horizon)
    scale, rate = _jumps(bind, jump_rate, jump_scale, jump_shift)
    order = order_of_play(tiers, len(players))
    letters = {f"{player.name}.control_cost": f"R[{p}]" for p, player in enumerate(players)}
    with in_letters(letters):
        return LinearQuadraticGame(
            drift=drift,
            players=players,
            horizon=horizon,
            diffusion=_noise(bind, noise, state_noise),
            jump_scale=scale,
            jump_rate=rate,
            generator=None if generator is None else numbers("generator", generator, "a square matrix of rates"),
            discount=discount,
            tiers=order,
            discrete=discrete,
        )


@in_double
def h_infinity_game(
    *, A: Any, B: Any, D: Any, Q: Any, R: Any, gamma: Any, Q_T: Any = None, horizon: Any = math.inf
) -> LinearQuadraticGame:
    """A controller u (minimises) against a disturbance w (maximises): ∫ xᵀQx + uᵀRu − γ² wᵀw dt, dx = Ax + Bu + Dw.

    The value exists exactly where the disturbance can be attenuated to γ; below that level it escapes (finite horizon)
    or there is no stationary solution.
    """
    bind = Binder()
    bind.matrix("A", A, "n", "n")
    reach = bind.matrix("D", D, "n", "d")
    against = bind.matrix("gamma", gamma, tail=0) ** 2 * jnp.eye(reach.shape[1])
    with in_letters({"S": "gamma"}):
        return adversarial_game(A=A, B=B, D=D, Q=Q, R=R, S=against, Q_T=Q_T, horizon=horizon)


@in_double
def adversarial_game(
    *, A: Any, B: Any, D: Any, Q: Any, R: Any, S: Any, Q_T: Any = None, generator: Any = None, **more: Any
) -> LinearQuadraticGame:
    """A controller u (minimises) against a disturbance w (maximises): ∫ xᵀQx + uᵀRu − wᵀSw dt, dx = Ax + Bu + Dw.

    R and S are positive definite; `more` are `horizon`, noise, jumps and what else `nash_game` takes.
    """
    bind = Binder(regimes_of(generator))
    bind.by_regime("A", A, "n", "n")
    bind.by_regime("B", B, "n", "k")
    bind.by_regime("D", D, "n", "d")
    costs = {key: bind.by_regime(key, value, size, size) for key, value, size in (("R", R, "k"), ("S", S, "d"))}
    for key, cost in costs.items():
        check_definite(key, cost)
    both = lifted(_Opposed(bind.regimes is not None), *costs.values())
    letters = {"B[0]": "B", "B[1]": "D", "Q[0]": "Q", "Q_T[0]": "Q_T", "R[0]": "R", "R[1]": "S"}
    with in_letters(letters):
        return nash_game(
            A=A,
            B=[B, D],
            Q=[Q, Q],
            R=[both, both],
            Q_T=None if Q_T is None else [Q_T, Q_T],
            generator=generator,
            signs=(1, -1),
            names=("controller", "disturbance"),
            **more,
        )


def regimes_of(generator: Any) -> int | None:
    """The number of regimes that a square matrix of rates has, None without one."""
    if generator is None:
        return None
    rates = numbers("generator", generator, "a square matrix of rates")
    if rates.ndim != 2 or rates.shape[0] != rates.shape[1]:
        raise InvalidInput("generator", shown(rates), "a square matrix of rates")
    return rates.shape[0]


class _Opposed(eqx.Module):
    """uᵀRu − wᵀSw as a cost of both controls, one for each regime where the game has several."""

    several: bool = eqx.field(static=True)

    def __call__(self, own: Float[Array, "m k k"], against: Float[Array, "m d d"]) -> Float[Array, "*m both both"]:
        k, total = own.shape[-1], own.shape[-1] + against.shape[-1]
        both = _Joint(0, total)(own) - _Joint(k, total)(against)
        return both if self.several else both[0]


class _Drift(eqx.Module):
    """A and the shift as a matrix on z = (x, 1)."""

    discrete: bool = eqx.field(static=True)

    def __call__(self, matrix: Float[Array, "m n n"], shift: Float[Array, "m n"]) -> Float[Array, "m z z"]:
        drift = affine(matrix, shift)
        return drift.at[:, -1, -1].set(1.0) if self.discrete else drift


class _Joint(eqx.Module):
    """A cost of one's own control as one of all controls; one that has their size already is returned as it is."""

    start: int = eqx.field(static=True)
    total: int = eqx.field(static=True)

    def __call__(self, own: Float[Array, "*m k k"]) -> Float[Array, "*m K K"]:
        size = own.shape[-1]
        if size == self.total:
            return own
        place = slice(self.start, self.start + size)
        return jnp.zeros((*own.shape[:-2], self.total, self.total), own.dtype).at[..., place, place].set(own)


def _per_player(bind: Binder, count: int, **lists: Any) -> dict[str, list[Any]]:
    """Every list with one entry per player; None for each where it is not given."""
    optional = ("Q_T", "N", "targets")
    left_out = {key: [None] * count for key, values in lists.items() if values is None and key in optional}
    for key in ("signs", "names"):
        if isinstance(lists[key], Sequence) and not lists[key]:
            left_out[key] = [None] * count
    if "names" not in left_out and not all(isinstance(name, str) for name in bind.entries("names", lists["names"], "")):
        raise InvalidInput("names", shown(lists["names"]), "a word for each player")
    allowed = f"a list of {count}, one per player"
    return left_out | {k: bind.entries(k, v, allowed, count) for k, v in lists.items() if k not in left_out}


def _players(
    bind: Binder, inputs: list[Any], sizes: list[int], lists: dict[str, list[Any]], horizon: Any
) -> tuple[Player, ...]:
    """The players on z = (x, 1)."""
    m, n = bind.regimes or 1, bind.sizes["n"]
    players = []
    for p, own in enumerate(inputs):
        goal = lists["targets"][p]
        goal = jnp.zeros((m, n)) if goal is None else bind.vector(f"targets[{p}]", goal, "n")
        final, cross = lists["Q_T"][p], lists["N"][p]
        terminal = (
            jnp.zeros((m, n, n)) if final is None else bind.by_regime(f"Q_T[{p}]", final, "n", "n", constant=True)
        )
        own_cost = bind.by_regime(f"R[{p}]", lists["R"][p], f"k{p}", f"k{p}", other=("K", "K"))
        players.append(
            Player(
                name=f"player {p}" if lists["names"][p] is None else lists["names"][p],
                own_input=lifted(padded, own),
                state_cost=lifted(tracking, bind.by_regime(f"Q[{p}]", lists["Q"][p], "n", "n"), goal),
                control_cost=lifted(_Joint(sum(sizes[:p]), sum(sizes)), own_cost),
                terminal_cost=tracking(terminal, _at_the_end(goal, horizon)),
                cross_cost=None if cross is None else lifted(padded, bind.by_regime(f"N[{p}]", cross, "n", "K")),
                sign=1 if lists["signs"][p] is None else lists["signs"][p],
            )
        )
    return tuple(players)


def _at_the_end(goal: Any, horizon: Any) -> Any:
    return goal(jnp.asarray(horizon, jnp.result_type(float))) if callable(goal) else goal


def _additive(noise: Float[Array, "m n w"]) -> Float[Array, "m w z z"]:
    """The columns of a loading as matrices on z = (x, 1)."""
    m, n, w = noise.shape
    return jnp.zeros((m, w, n + 1, n + 1), noise.dtype).at[:, :, :n, -1].set(jnp.swapaxes(noise, 1, 2))


def _together(*parts: Array) -> Array:
    return jnp.concatenate(parts, axis=1)


def _noise(bind: Binder, noise: Any, state_noise: Any) -> Any:
    """Additive and state noise as one diffusion [m, noises, n + 1, n + 1]."""
    parts = []
    if noise is not None:
        parts.append(lifted(_additive, bind.by_regime("noise", noise, "n", "w")))
    if state_noise is not None:
        parts.append(lifted(affine, bind.by_regime("state_noise", state_noise, "c", "n", "n")))
    return lifted(_together, *parts) if parts else None


def _jumps(bind: Binder, rate: Any, scale: Any, shift: Any) -> tuple[Any, Any]:
    """Jump matrices on z = (x, 1) and their intensities, per regime and law."""
    if rate is None:
        for key, value in (("jump_scale", scale), ("jump_shift", shift)):
            if value is not None:
                raise InvalidInput("jump_rate", None, f"intensities, one per law, beside {key}")
        return None, None
    rates = bind.by_regime("jump_rate", rate, "l", tail=0)
    if not bind.sizes["l"]:
        return None, None
    if scale is None and shift is None:
        raise InvalidInput("jump_scale", None, "jump_scale or jump_shift beside jump_rate")
    shape = (bind.regimes or 1, bind.sizes["l"], bind.sizes["n"])
    scales = jnp.zeros((*shape, shape[-1])) if scale is None else bind.by_regime("jump_scale", scale, "l", "n", "n")
    shifts = jnp.zeros(shape) if shift is None else bind.by_regime("jump_shift", shift, "l", "n", tail=1)
    return lifted(affine, scales, shifts), rates
