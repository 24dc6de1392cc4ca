"""Linear-quadratic games: one stacked state, linear dynamics, quadratic costs; any players, tiers and regimes.

The state z ∈ ℝⁿ ends with the constant 1, so that affine terms, targets and additive noise are matrices like all
others. In regime i player p plays u_p ∈ ℝ^{k_p}; u stacks all controls (K components), ū those of the *crowds*: what a
population of players like p plays once everyone does the same. In continuous time

    dz = (A_i z + B_i u + B̄_i ū) dt + Σ_k C_ik z dW_k + Σ_l E_il z dÑ_il     (Ñ_il compensated, of intensity λ_il),
    z → J_ij z at a switch i → j, which has the rate μ_ij,
    cost of p:  E[ ∫₀ᵀ e^{−ρt} (zᵀQ_pi z + uᵀR_pi u + 2 zᵀN_pi u) dt + e^{−ρT} zᵀG_pi z ],

in discrete time z⁺ = A_i z + B_i u + B̄_i ū + Σ_k C_ik z ξ_k + Σ_l E_il z (n_il − λ_il), ξ_k of variance one, n_il
Poisson counts of mean λ_il, the regime moving by the probabilities 1 + μ a step, and sums of e^{−ρt} (…) in place of
the integral. There is no factor ½. Player p minimises (sign +1) or maximises (−1).

The crowd plays the player's own feedback evaluated at the crowd's state: u_p = U_p z gives ū_p = U_p J z, with the
*crowd map* J whose rows at an own block read the crowd's block (z = (x, m, 1): J z = (m, m, 1)). That is the
consistency of mean-field games; a single player does not move ū by deviating. With another J the crowd is the others of
a finite game in which all play alike (`games.stackelberg_finite`).

*Tiers* say the order of play: players of one tier choose at once, those of later tiers know the controls of earlier
ones, which anticipate the reactions (of the crowds, too).
"""

import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.games.linear_quadratic_check import check_game
from diffgames.numerics.precision import in_double, keeping_double

Coefficient = Any  # an array, or a function of time that returns one


class Player(eqx.Module):
    """One player of a linear-quadratic game; first axis = regime, K = components of all controls together.

    - `own_input` B[m, n, k] and `crowd_input` B̄[m, n, k] (None: no crowd)
    - `state_cost` Q[m, n, n], `control_cost` R[m, K, K], `cross_cost` N[m, n, K] (None: zero)
    - `terminal_cost` G[m, n, n]
    - `sign` +1 minimises, −1 maximises

    All but the terminal cost may be functions of time that return such arrays.
    """

    name: str = eqx.field(static=True)
    own_input: Coefficient
    state_cost: Coefficient
    control_cost: Coefficient
    terminal_cost: Float[Array, "m n n"]
    crowd_input: Coefficient = None
    cross_cost: Coefficient = None
    sign: int = eqx.field(static=True, default=1)


class Coefficients(NamedTuple):
    """The matrices of a game at one time: regime first, for costs player first. Discrete time's jumps are diffusion."""

    drift: Float[Array, "m n n"]
    input: Float[Array, "m n K"]
    crowd_input: Float[Array, "m n K"]
    state_cost: Float[Array, "players m n n"]
    control_cost: Float[Array, "players m K K"]
    cross_cost: Float[Array, "players m n K"]
    diffusion: Float[Array, "m noises n n"]
    jump_scale: Float[Array, "m laws n n"]
    jump_rate: Float[Array, "m laws"]


class LinearQuadraticGame(eqx.Module):
    """See the module's docstring for the game and its letters.

    - `drift` A[m, n, n], `diffusion` C[m, noises, n, n], `jump_scale` E[m, laws, n, n], `jump_rate` λ[m, laws]
    - `generator` μ[m, m], or a function of (t, S[players, m, n, n]) where the values modulate it
    - `switch` J[m, m, n, n] (None: the state does not move at a switch)
    - `tiers`: tuples of player indices in the order of play; `crowd_map` J[n, n]
    - `blocks`: names and sizes of the parts of the state, the constant 1 (`"one"`) last
    - `horizon` T, `math.inf` for the stationary problem; a number of steps in discrete time
    - `discount` ρ, per unit of time or per step

    `drift`, `diffusion`, `jump_scale`, `jump_rate` may be functions of time (of the step in discrete time). A
    function may have an attribute `breaks`, the times at which it jumps: solvers step from one to the next. Without it
    they take steps of at most 1/512 of the horizon, and see no event shorter than that.
    """

    drift: Coefficient
    players: tuple[Player, ...]
    horizon: float | int | Float[Array, ""]
    diffusion: Coefficient = None
    jump_scale: Coefficient = None
    jump_rate: Coefficient = None
    generator: Any = None
    switch: Float[Array, "m m n n"] | None = None
    crowd_map: Float[Array, "n n"] | None = None
    discount: float | Float[Array, ""] = 0.0
    tiers: tuple[tuple[int, ...], ...] = eqx.field(static=True, default=())
    blocks: tuple[tuple[str, int], ...] = eqx.field(static=True, default=())
    discrete: bool = eqx.field(static=True, default=False)

    def __post_init__(self):
        self.tiers = order_of_play(self.tiers, len(self.players))
        self.blocks = tuple(self.blocks) or (("x", self.size - 1), ("one", 1))

    def __check_init__(self):
        check_game(self)

    @property
    def size(self) -> int:
        """Number n of components of z, the constant among them."""
        return self._sample(self.drift).shape[-1]

    @property
    def regime_count(self) -> int:
        """Number m of regimes."""
        return self._sample(self.drift).shape[0]

    @property
    def control_sizes(self) -> tuple[int, ...]:
        """Components of each player's control."""
        return tuple(self._sample(player.own_input).shape[-1] for player in self.players)

    @property
    def control_slices(self) -> tuple[slice, ...]:
        """Where each player's control stands in u."""
        ends = np.cumsum((0, *self.control_sizes))
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    @property
    def endless(self) -> bool:
        """Whether the horizon is infinite."""
        return not isinstance(self.horizon, Tracer) and math.isinf(float(np.max(np.asarray(self.horizon))))

    @property
    def has_crowd(self) -> bool:
        """Whether any player stands for a population."""
        return any(player.crowd_input is not None for player in self.players)

    def block(self, name: str) -> slice:
        """Where a named part of the state stands in z."""
        start = 0
        for label, size in self.blocks:
            if label == name:
                return slice(start, start + size)
            start += size
        raise InvalidInput("block", name, "one of " + ", ".join(label for label, _ in self.blocks))

    def player_index(self, player: str | int) -> int:
        """Index of the player called `player`."""
        names = [one.name for one in self.players]
        if isinstance(player, int) and 0 <= player < len(names):
            return player
        if player in names:
            return names.index(str(player))
        raise InvalidInput("player", player, f"one of {', '.join(names)}, or an index below {len(names)}")

    @keeping_double
    def coefficients(self, t: Float[Array, ""] | float) -> Coefficients:
        """Every matrix at time t; costs are made symmetric."""
        a = at(self.drift, t)
        m, n = a.shape[:2]
        sizes, total = self.control_sizes, sum(self.control_sizes)

        def stacked(name: str) -> Array:
            return jnp.stack([at(getattr(player, name), t) for player in self.players])

        crowd = [
            jnp.zeros((m, n, size), a.dtype) if player.crowd_input is None else at(player.crowd_input, t)
            for player, size in zip(self.players, sizes, strict=True)
        ]
        cross = [
            jnp.zeros((m, n, total), a.dtype) if player.cross_cost is None else at(player.cross_cost, t)
            for player in self.players
        ]
        noise, scale, rate = (
            jnp.zeros(shape, a.dtype) if value is None else at(value, t)
            for value, shape in (
                (self.diffusion, (m, 0, n, n)),
                (self.jump_scale, (m, 0, n, n)),
                (self.jump_rate, (m, 0)),
            )
        )
        if self.discrete:  # a compensated count of a step is noise of variance λ: it is kept as √λ E ξ
            noise = jnp.concatenate([noise, jnp.sqrt(rate)[..., None, None] * scale], axis=1)
            scale, rate = scale[:, :0], rate[:, :0]
        return Coefficients(
            drift=a,
            input=jnp.concatenate([at(player.own_input, t) for player in self.players], axis=-1),
            crowd_input=jnp.concatenate(crowd, axis=-1),
            state_cost=symmetric(stacked("state_cost")),
            control_cost=symmetric(stacked("control_cost")),
            cross_cost=jnp.stack(cross),
            diffusion=noise,
            jump_scale=scale,
            jump_rate=rate,
        )

    @keeping_double
    def rates(self, t: Any, values: Any) -> Float[Array, "m m"]:
        """The generator μ at time t and values S (zero where there is none)."""
        if self.generator is None:
            return jnp.zeros((self.regime_count,) * 2, self._sample(self.drift).dtype)
        rates: Any = self.generator(t, values) if callable(self.generator) else self.generator
        return jnp.asarray(rates)

    @property
    @keeping_double
    def terminal(self) -> Float[Array, "players m n n"]:
        """G, symmetric."""
        return symmetric(jnp.stack([player.terminal_cost for player in self.players]))

    def with_tiers(self, tiers: Sequence[Sequence[int]]) -> "LinearQuadraticGame":
        """The same game with another order of play."""
        return dataclasses.replace(self, tiers=order_of_play(tiers, len(self.players)))

    def as_differential(self, initial: Callable | None = None) -> DifferentialGame:
        """The game on x = z without its 1; where players have crowds, ū is one more player "crowd", without objective.

        `initial` is the law of (x, regime); by default the point 0 in regime 0. A discrete-time game or one whose
        generator is modulated by its values has no such form (`InvalidInput`).
        """
        return _as_differential(self, initial)

    @staticmethod
    def _sample(coefficient: Coefficient) -> Any:
        if callable(coefficient):
            return eqx.filter_eval_shape(coefficient, jax.ShapeDtypeStruct((), jnp.result_type(float)))
        return coefficient


def order_of_play(tiers: Any, count: int) -> tuple[tuple[int, ...], ...]:
    """Tiers as tuples of player indices, all players at once where there are none."""
    try:
        found = tuple(tuple(int(operator.index(p)) for p in tier) for tier in tiers)
    except TypeError as error:
        raise InvalidInput(
            "tiers", tiers, "lists of player indices in the order of play, such as ((0,), (1, 2))"
        ) from error
    found = found or (tuple(range(count)),)
    if not all(found) or sorted(sum(found, ())) != list(range(count)):
        raise InvalidInput("tiers", tiers, f"every player index 0..{count - 1} exactly once, no tier empty")
    return found


def at(coefficient: Coefficient, t: Any) -> Array:
    """The array at time t."""
    value: Any = coefficient(t) if callable(coefficient) else coefficient
    return jnp.asarray(value)


def symmetric(matrices: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """The symmetric part, all that a quadratic form sees."""
    return (matrices + jnp.swapaxes(matrices, -1, -2)) / 2


def affine(matrix: Any, constant: Any = None) -> Float[Array, "*batch n n"]:
    """[[M, c], [0, 0]]: the map x ↦ Mx + c as a matrix on z = (x, 1)."""
    matrix = jnp.asarray(matrix)
    column = jnp.zeros(matrix.shape[:-1], matrix.dtype) if constant is None else jnp.asarray(constant)
    top = jnp.concatenate([matrix, column[..., None]], axis=-1)
    return jnp.concatenate([top, jnp.zeros((*top.shape[:-2], 1, top.shape[-1]), top.dtype)], axis=-2)


def tracking(weight: Any, target: Any = None) -> Float[Array, "*batch n n"]:
    """(x − c)ᵀ W (x − c) as a matrix on z = (x, 1)."""
    weight = jnp.asarray(weight)
    miss = jnp.zeros(weight.shape[:-1], weight.dtype) if target is None else jnp.asarray(target)
    rows = jnp.broadcast_to(jnp.eye(weight.shape[-1], dtype=weight.dtype), weight.shape)
    error = jnp.concatenate([rows, -miss[..., None]], axis=-1)
    return jnp.einsum("...ai,...ab,...bj->...ij", error, weight, error)


def padded(matrix: Any) -> Float[Array, "*batch n k"]:
    """One more row of zeros: an input that does not move the constant 1."""
    matrix = jnp.asarray(matrix)
    return jnp.concatenate([matrix, jnp.zeros((*matrix.shape[:-2], 1, matrix.shape[-1]), matrix.dtype)], axis=-2)


@in_double
def _as_differential(game: LinearQuadraticGame, initial: Callable | None) -> DifferentialGame:
    if game.discrete:
        raise InvalidInput("discrete", True, "a game in continuous time")
    if callable(game.generator):
        raise InvalidInput("generator", "a function of the values", "a constant generator")
    count, total = len(game.players), sum(game.control_sizes)
    players = tuple(player.name for player in game.players)
    laws = 0 if game.jump_scale is None else game._sample(game.jump_scale).shape[1]
    return DifferentialGame(
        players=(*players, "crowd") if game.has_crowd else players,
        control_sizes=(*game.control_sizes, total) if game.has_crowd else game.control_sizes,
        drift=eqx.Partial(_drift, game),
        diffusion=eqx.Partial(_diffusion, game),
        running_cost=eqx.Partial(_running_cost, game),
        terminal_cost=eqx.Partial(_terminal_cost, game),
        initial=PointLaw(jnp.zeros(game.size - 1)) if initial is None else initial,
        horizon=game.horizon,
        discount=game.discount,
        jumps=tuple(
            JumpLaw(eqx.Partial(_jump_rate, game, q), eqx.Partial(_jump_size, game, q), FixedMark(jnp.zeros(1)))
            for q in range(laws)
        ),
        generator=game.generator,
        switch=None if game.switch is None else eqx.Partial(_switch, game.switch),
        signs=(*(player.sign for player in game.players), *((0,) if game.has_crowd else ())),
        tiers=(*game.tiers[:-1], (*game.tiers[-1], count)) if game.has_crowd else game.tiers,
    )


# The game's functions on the hub, the game their first argument: it stays a pytree of numbers there.


def _with_one(x: Array) -> Array:
    return jnp.append(x, jnp.ones((), x.dtype))


def _drift(game: LinearQuadraticGame, t, x, u, i) -> Array:
    c, count = game.coefficients(t), len(game.players)
    moved = c.drift[i] @ _with_one(x) + c.input[i] @ jnp.concatenate(list(u[:count]))
    return (moved + c.crowd_input[i] @ u[count] if game.has_crowd else moved)[:-1]


def _diffusion(game: LinearQuadraticGame, t, x, u, i) -> Array:
    return jnp.einsum("kab,b->ak", game.coefficients(t).diffusion[i], _with_one(x))[:-1]


def _running_cost(game: LinearQuadraticGame, t, x, u, i) -> Array:
    c, z, own = game.coefficients(t), _with_one(x), jnp.concatenate(list(u[: len(game.players)]))
    cost = jnp.einsum("a,pab,b->p", z, c.state_cost[:, i], z)
    cost = cost + jnp.einsum("a,pab,b->p", own, c.control_cost[:, i], own)
    return _and_crowd(game, cost + 2 * jnp.einsum("a,pab,b->p", z, c.cross_cost[:, i], own))


def _terminal_cost(game: LinearQuadraticGame, x, i) -> Array:
    z = _with_one(x)
    return _and_crowd(game, jnp.einsum("a,pab,b->p", z, game.terminal[:, i], z))


def _and_crowd(game: LinearQuadraticGame, cost: Array) -> Array:
    return jnp.append(cost, jnp.zeros((), cost.dtype)) if game.has_crowd else cost


def _jump_rate(game: LinearQuadraticGame, q: int, t, x, u, i) -> Array:
    return game.coefficients(t).jump_rate[i, q]


def _jump_size(game: LinearQuadraticGame, q: int, t, x, u, mark, i) -> Array:
    return (game.coefficients(t).jump_scale[i, q] @ _with_one(x))[:-1]


def _switch(switch: Array, t, x, i, j) -> Array:
    return (switch[i, j] @ _with_one(x))[:-1]
