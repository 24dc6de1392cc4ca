"""Linear-quadratic mean-field games of several types, in four readings, as linear-quadratic games of the type means.

Type τ has share λ_τ, agents dx = (a x + b u + κ x̄) dt + σ dW with x̄ = Σ_ρ λ_ρ m_ρ, m_ρ = E x^ρ, and the cost

    E[ ∫₀ᵀ ½ xᵀq x + ½ uᵀr u + xᵀs x̄ dt + ½ x_Tᵀq_T x_T ].

In all readings u = −r⁻¹bᵀ(P x + ξ), P the type's own Riccati matrix, and p = P m + ξ the costate of its mean:

- `mfg`: every agent takes x̄ as given. z = (x_1 … x_K, m_1 … m_K, 1): own input on x_τ, crowd input on m_τ.
- `mftg`: a decision maker per type controls its whole law, the other means are given. z = (y_1 … y_K, m_1 … m_K, 1):
  y_τ the law's mean as its maker moves it, the crowd plays the same at m.
- `team`: one planner minimises Σ λ_τ J_τ. z = (m_1 … m_K, 1).
- `nash`: a decision maker per type, feedback Nash in the means. z = (m_1 … m_K, 1).

The engine's values are zᵀSz without ½: P = 2 S_xx. The tutorial calls P_τ "coupled Riccati equations"; they are
decoupled, the coupling is in ξ and x̄. Its mean-field-TYPE equations are those of the `mfg` reading.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded
from diffgames.games.linear_quadratic_check import check_span
from diffgames.games.matrices import Binder, check_definite, shown
from diffgames.numerics.precision import in_double

Reading = Literal["mfg", "mftg", "team", "nash"]
READINGS: tuple[Reading, ...] = ("mfg", "mftg", "team", "nash")
SHAPES = dict.fromkeys(("a", "kappa", "q", "s", "q_T"), ("n", "n")) | {
    "b": ("n", "k"),
    "r": ("k", "k"),
    "sigma": ("n", "w"),
}
"""Rows and columns of a type's matrices."""


class TypedGame(eqx.Module):
    """The data of K types with n states and k controls each; see the module's docstring."""

    share: Float[Array, " K"]
    a: Float[Array, "K n n"]
    b: Float[Array, "K n k"]
    kappa: Float[Array, "K n n"]
    sigma: Float[Array, "K n w"]
    q: Float[Array, "K n n"]
    r: Float[Array, "K k k"]
    s: Float[Array, "K n n"]
    q_T: Float[Array, "K n n"]
    horizon: float | Float[Array, ""]

    @property
    def types(self) -> int:
        """Number K of types."""
        return self.share.shape[0]

    @property
    def states(self) -> int:
        """Number n of states of an agent."""
        return self.a.shape[1]

    @property
    def weights(self) -> Float[Array, "K n n"]:
        """b r⁻¹ bᵀ."""
        return jnp.einsum("tak,tkl,tbl->tab", self.b, jnp.linalg.inv(self.r), self.b)

    def mean_map(self) -> Float[Array, "n Kn"]:
        """x̄ from the stacked means."""
        return jnp.kron(self.share[None, :], jnp.eye(self.states, dtype=self.a.dtype))

    def place(self, index: int) -> slice:
        """Where a type stands among K stacked blocks."""
        return slice(index * self.states, (index + 1) * self.states)


@in_double
def typed_game(*, share: Any, horizon: Any, **data: Any) -> TypedGame:
    """K types from lists (one entry per type, a number or a matrix): a, b, kappa, sigma, q, r, s, q_T.

    Shares must be positive and sum to one, q, q_T be symmetric, r positive definite; `InvalidInput` names what is not.
    """
    check_span(horizon, 0.0)
    bind = Binder()
    share = bind.matrix("share", share, "K", tail=1)
    if not isinstance(share, Tracer) and not (np.min(share) > 0 and abs(float(np.sum(share)) - 1) <= 1e-9):
        raise InvalidInput("share", shown(share), "positive shares that sum to one")
    for name in data:
        if name not in SHAPES:
            raise InvalidInput(name, shown(data[name]), "a list named " + ", ".join(SHAPES))
    found = {}
    for name, letters in SHAPES.items():
        if name not in data:
            raise InvalidInput(name, None, "one number or matrix per type")
        found[name] = bind.matrix(name, data[name], "K", *letters)
    for name in ("q", "q_T", "r"):
        if isinstance(found[name], Tracer):
            continue
        skew = np.abs(np.asarray(found[name] - jnp.swapaxes(found[name], 1, 2))).max()
        if not skew <= 1e-12 * np.abs(np.asarray(found[name])).max():
            raise InvalidInput(name, shown(found[name]), "symmetric matrices")
    check_definite("r", found["r"], "positive definite control costs")
    return TypedGame(share=share, horizon=horizon, **found)


@in_double
def typed_linear_quadratic(game: TypedGame, reading: Reading) -> LinearQuadraticGame:
    """The linear-quadratic game that a reading of the typed game is."""
    if reading in ("mfg", "mftg"):
        return _with_crowd(game, reading == "mftg")
    if reading in ("team", "nash"):
        return _means(game, reading == "team")
    raise InvalidInput("reading", reading, "one of " + ", ".join(READINGS))


@in_double
def private_game(game: TypedGame) -> LinearQuadraticGame:
    """Every type alone, without x̄: the regulators whose value is ½ xᵀP x."""
    return _means(eqx.tree_at(lambda g: (g.kappa, g.s), game, (0 * game.kappa, 0 * game.s)), False)


def _with_crowd(game: TypedGame, own_law: bool) -> LinearQuadraticGame:
    count, n = game.types, game.states
    size = 2 * count * n
    own, crowd = jnp.zeros((n, size), game.a.dtype), jnp.zeros((n, size), game.a.dtype)
    crowd = crowd.at[:, count * n :].set(game.mean_map())
    drift = jnp.zeros((size, size), game.a.dtype)
    players = []
    for t in range(count):
        here, there = game.place(t), slice(count * n + t * n, count * n + (t + 1) * n)
        select = own.at[:, here].set(jnp.eye(n, dtype=game.a.dtype))
        mean = crowd
        if own_law:  # its own part of x̄ moves with its own law
            mean = mean.at[:, there].set(0.0) + game.share[t] * select
        drift = drift.at[here].set(game.a[t] @ select + game.kappa[t] @ mean)
        drift = drift.at[there, there].set(game.a[t])
        drift = drift.at[there].add(game.kappa[t] @ crowd)
        blank = jnp.zeros((size, game.b.shape[-1]), game.a.dtype)
        players.append(_player(game, t, select, mean, blank.at[here].set(game.b[t]), blank.at[there].set(game.b[t])))
    eye, none = jnp.eye(count * n, dtype=game.a.dtype), jnp.zeros((count * n, count * n), game.a.dtype)
    crowd_map = affine(jnp.block([[none, eye], [none, eye]])).at[-1, -1].set(1.0)
    noise = jnp.zeros((count, game.sigma.shape[-1], size + 1, size + 1), game.a.dtype)
    if not own_law:
        for t in range(count):
            noise = noise.at[t, :, game.place(t), -1].set(game.sigma[t].T)
    letter = "y" if own_law else "x"
    return LinearQuadraticGame(
        drift=affine(drift)[None],
        players=tuple(players),
        horizon=game.horizon,
        diffusion=noise.reshape(1, -1, size + 1, size + 1),
        crowd_map=crowd_map,
        blocks=(
            *((f"{letter}{t}", n) for t in range(count)),
            *((f"m{t}", n) for t in range(count)),
            ("one", 1),
        ),
    )


def _means(game: TypedGame, together: bool) -> LinearQuadraticGame:
    count, n, k = game.types, game.states, game.b.shape[-1]
    size = count * n
    mean = game.mean_map()
    eye = jnp.eye(size, dtype=game.a.dtype)
    blank = jnp.zeros((size, k), game.a.dtype)
    drift = jnp.concatenate([game.a[t] @ eye[game.place(t)] + game.kappa[t] @ mean for t in range(count)])
    inputs = [blank.at[game.place(t)].set(game.b[t]) for t in range(count)]
    players = tuple(_player(game, t, eye[game.place(t)], mean, inputs[t], None) for t in range(count))
    if together:

        def weigh(name: str) -> Any:
            return sum(game.share[t] * getattr(players[t], name) for t in range(count))

        players = (
            Player(
                name="planner",
                own_input=padded(jnp.concatenate(inputs, axis=1))[None],
                state_cost=weigh("state_cost"),
                control_cost=weigh("control_cost"),
                terminal_cost=weigh("terminal_cost"),
            ),
        )
    return LinearQuadraticGame(
        drift=affine(drift)[None],
        players=players,
        horizon=game.horizon,
        blocks=(*((f"m{t}", n) for t in range(count)), ("one", 1)),
    )


def _player(game: TypedGame, t: int, select: Array, mean: Array, own: Array, crowd: Array | None) -> Player:
    """Type t with ½ xᵀq x + ½ uᵀr u + xᵀs x̄, where x = select·(…) and x̄ = mean·(…)."""
    cross = select.T @ game.s[t] @ mean
    cost = (select.T @ game.q[t] @ select + (cross + cross.T)) / 2
    k = game.b.shape[-1]
    control = jnp.zeros((game.types * k, game.types * k), game.a.dtype)
    control = control.at[t * k : (t + 1) * k, t * k : (t + 1) * k].set(game.r[t] / 2)
    return Player(
        name=f"type {t}",
        own_input=padded(own)[None],
        crowd_input=None if crowd is None else padded(crowd)[None],
        state_cost=_corner(cost)[None],
        control_cost=control[None],
        terminal_cost=_corner(select.T @ game.q_T[t] @ select / 2)[None],
    )


def _corner(matrix: Array) -> Array:
    """The matrix on z = (…, 1) that does not see the 1."""
    return jnp.pad(matrix, ((0, 1), (0, 1)))


@in_double
def costate_map(game: TypedGame, reading: Reading, values: Float[Array, "players m n n"]) -> Float[Array, "Kn Kn"]:
    """M with p = M m, the costates of the means, from the values S of the reading's game."""
    count, n = game.types, game.states
    size = count * n
    rows = []
    for t in range(count):
        here = game.place(t)
        if reading in ("mfg", "mftg"):
            value = values[t, 0]
            rows.append(2 * (value[here, size : 2 * size].at[:, here].add(value[here, here])))
        elif reading == "team":
            rows.append(2 * values[0, 0][here, :size] / game.share[t])
        else:
            rows.append(2 * values[t, 0][here, :size])
    return jnp.concatenate(rows)


@in_double
def hamiltonian(game: TypedGame, reading: Reading) -> Float[Array, "both both"]:
    """H with d(m, p)/dt = H (m, p): the two-point boundary value problem p(T) = q_T m(T) of all readings but `nash`."""
    if reading == "nash":
        raise InvalidInput("reading", reading, "mfg, mftg or team: feedback Nash has no two-point problem")
    count, n = game.types, game.states
    size = count * n
    mean = game.mean_map()
    eye = jnp.eye(size, dtype=game.a.dtype)

    def diagonal(blocks: Array) -> Array:
        return jax.scipy.linalg.block_diag(*blocks)

    kappa, s = jnp.concatenate(list(game.kappa)), jnp.concatenate(list(game.s))
    forward_m, forward_p = diagonal(game.a) + kappa @ mean, -diagonal(game.weights)
    backward_m = -(diagonal(game.q) + s @ mean)
    backward_p = -diagonal(jnp.swapaxes(game.a, 1, 2))
    for t in range(count):
        here = game.place(t)
        makers = [t] if reading == "mftg" else list(range(count)) if reading == "team" else []
        for other in makers:
            there = game.place(other)
            backward_p = backward_p.at[here].add(-game.share[other] * game.kappa[other].T @ eye[there])
            backward_m = backward_m.at[here].add(-game.share[other] * game.s[other].T @ eye[there])
    return jnp.block([[forward_m, forward_p], [backward_m, backward_p]])
