"""Distributed games: every player moves its own jump-diffusion, and only the costs couple the players.

Player i of N has a state X_i ∈ ℝᵈ and a control u_i ∈ ℝᵏ (Guo, Li & Zhang, arXiv 2508.01929, equations 2.2–2.3):

    dX_i = (A_i(t) X_i + b_i(t) u_i) dt + σ_i(t) dW_i + σ⁰_i(t) dW_0 + Σ_l γ_{i,l}(t) z dη̃_l,
    J_i(u) = E[ ∫₀ᵀ f_i(t, X, u) dt + g_i(X_T) ],   minimised,

with own Brownian motions W_i, a common one W_0, and compensated Poisson noise, own or common. The linear drift A_i is
the one of Remark 2.2: with the transition matrix Ψ_i, X̃_i = Ψ_i⁻¹ X_i has no drift; kinetic states (position,
velocity) are the case A = [[0, 1], [0, −friction]], b = [0; 1]. The *sensitivity* of X_i to its own control (equation
3.2) is

    dY_i = (A_i(t) Y_i + b_i(t) u_i) dt,   Y_i(0) = 0.

The noise does not depend on the controls, so that X^{ru} = X^u − (1−r) Y^u and Y^{ru} = r Y^u (Lemma 3.2); the
α-potential function is built on that (see `games.potential`).

Arrays are batch-minor, states [d, players, paths] and controls [k, players, paths]: the inner loops run along memory.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import DiscreteMarks, JumpLaw

Coefficient = Array | np.ndarray | Callable[[Float[Array, ""]], Array] | None
"""A constant array, a function of time that returns one, or None where there is no such term."""

States = Float[Array, "d players paths"]
Controls = Float[Array, "k players paths"]
OwnStates = Float[Array, "d some paths"]
OwnControls = Float[Array, "k some paths"]


def at(coefficient: Array | np.ndarray | Callable, t: Float[Array, ""]) -> Array:
    """The value of a coefficient at time t, in the precision of t (functions get it in the default precision)."""
    value = coefficient(t.astype(float)) if callable(coefficient) else coefficient
    return jnp.asarray(value).astype(t.dtype)


class JumpNoise(eqx.Module):
    """Compensated compound Poisson noise: own (a process per player and source) or common (a process per source).

    - `rate`: intensities, [players, sources] of own noise, [sources] of common noise, per unit time
    - `loading`: γ, what a mark of one does to a player's state, [players, d, sources], or a function of time
    - `atoms`: marks, [sources, atoms]; one atom is a fixed jump size, many are an empirical law
    - `weights`: their probabilities, [sources, atoms]; None: equally likely
    """

    rate: Float[Array, "*players sources"]
    loading: Array | np.ndarray | Callable
    atoms: Float[Array, "sources atoms"]
    weights: Float[Array, "sources atoms"] | None = None

    def __check_init__(self):
        if not isinstance(self.rate, Tracer):
            rate = np.asarray(self.rate)
            if not np.all(np.isfinite(rate)) or rate.min(initial=0.0) < 0:
                raise InvalidInput("rate", rate.tolist(), "intensities ≥ 0")
        if self.atoms.shape[0] != self.rate.shape[-1]:
            raise InvalidInput(
                "atoms", f"shape {self.atoms.shape}", f"one row for each of {self.rate.shape[-1]} sources"
            )
        if self.weights is not None and not isinstance(self.weights, Tracer):
            weights = np.asarray(self.weights, float)
            if not np.all(weights >= 0) or np.abs(weights.sum(axis=1) - 1.0).max(initial=0.0) > 1e-4:
                raise InvalidInput("weights", weights.sum(axis=1).tolist(), "probabilities ≥ 0 that sum to 1")

    @property
    def common(self) -> bool:
        """Whether all players see the same jumps."""
        return self.rate.ndim == 1

    def probabilities(self) -> Float[Array, "sources atoms"]:
        """Of the atoms."""
        if self.weights is not None:
            return jnp.asarray(self.weights)
        return jnp.full(self.atoms.shape, 1.0 / self.atoms.shape[1], self.atoms.dtype)

    def moment(self, power: int) -> Float[Array, " sources"]:
        """E of the mark's `power`."""
        return jnp.sum(self.probabilities() * jnp.asarray(self.atoms) ** power, axis=1)


class AbstractOwnCosts(eqx.Module):
    """What some of the players, or all, pay: the own block of each held apart from everybody's.

    `own_running(t, own_x, own_u, x, u)[i]` is f_i at the profile (x, u) in which player i's block alone is replaced by
    (own_x, own_u): one evaluation serves every player's deviation, and its derivative in (own_x, own_u) is ∂f_i/∂x_i,
    ∂f_i/∂u_i for all of them at once.
    """

    @abc.abstractmethod
    def own_running(
        self, t: Float[Array, ""], own_x: OwnStates, own_u: OwnControls, x: States, u: Controls
    ) -> Float[Array, "some paths"]:
        """f_i with the own block replaced."""

    @abc.abstractmethod
    def own_terminal(self, own_x: OwnStates, x: States) -> Float[Array, "some paths"]:
        """g_i with the own block replaced."""


class AbstractCosts(AbstractOwnCosts):
    """The costs f_i and g_i of all players, and the densities of their potential."""

    @abc.abstractmethod
    def potential_running(self, t: Float[Array, ""], x: States, y: States, u: Controls) -> Float[Array, " paths"]:
        """F of equation 3.6, up to a term that does not depend on the controls of any player."""

    @abc.abstractmethod
    def potential_terminal(self, x: States, y: States) -> Float[Array, " paths"]:
        """G of equation 3.6, up to a term that does not depend on the controls of any player."""

    def of(self, players: Int[np.ndarray, " some"], count: int) -> AbstractOwnCosts:
        """The costs of `players` alone, out of `count`."""
        return _Chosen(self, jnp.asarray(players, jnp.int32))


class _Chosen(AbstractOwnCosts):
    """The costs of the chosen players from everybody's, for costs that know no shorter way."""

    costs: AbstractCosts
    players: Int[Array, " some"]

    def own_running(
        self, t: Float[Array, ""], own_x: OwnStates, own_u: OwnControls, x: States, u: Controls
    ) -> Float[Array, "some paths"]:
        own_x, own_u = x.at[:, self.players].set(own_x), u.at[:, self.players].set(own_u)
        return self.costs.own_running(t, own_x, own_u, x, u)[self.players]

    def own_terminal(self, own_x: OwnStates, x: States) -> Float[Array, "some paths"]:
        return self.costs.own_terminal(x.at[:, self.players].set(own_x), x)[self.players]


class DistributedGame(eqx.Module):
    """A distributed game; see the module's docstring.

    - `costs`: what the players pay
    - `initial`: X(0), [players, d]
    - `input`: b, [players, d, k]; None is the identity (k = d)
    - `drift`: A, [players, d, d]
    - `diffusion`, `common_diffusion`: σ [players, d, w] and σ⁰ [players, d, w₀]
    - `jumps`: own and common Poisson noise
    """

    costs: AbstractCosts
    initial: Float[Array, "players d"]
    horizon: float | Float[Array, ""]
    input: Coefficient = None
    drift: Coefficient = None
    diffusion: Coefficient = None
    common_diffusion: Coefficient = None
    jumps: tuple[JumpNoise, ...] = ()

    def __check_init__(self):
        if not isinstance(self.horizon, Tracer) and not (np.isfinite(self.horizon) and self.horizon > 0):
            raise InvalidInput("horizon", self.horizon, "a positive, finite time")
        n, d = self.initial.shape
        for key, wanted in (
            ("input", (n, d, None)),
            ("drift", (n, d, d)),
            ("diffusion", (n, d, None)),
            ("common_diffusion", (n, d, None)),
        ):
            _check_shape(key, getattr(self, key), wanted)
        for index, noise in enumerate(self.jumps):
            sources = noise.rate.shape[-1]
            _check_shape(f"jumps[{index}].loading", noise.loading, (n, d, sources))
            if not noise.common and noise.rate.shape[0] != n:
                raise InvalidInput(
                    f"jumps[{index}].rate", f"shape {noise.rate.shape}", f"one row for each of {n} players"
                )

    @property
    def player_count(self) -> int:
        """N."""
        return self.initial.shape[0]

    @property
    def state_size(self) -> int:
        """d, components of one player's state."""
        return self.initial.shape[1]

    @property
    def control_size(self) -> int:
        """k, components of one player's control."""
        if self.input is None:
            return self.state_size
        return _columns(self.input)

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the players."""
        return tuple(f"player {i + 1}" for i in range(self.player_count))

    def velocity(
        self, t: Float[Array, ""], x: OwnStates, u: OwnControls, players: Int[np.ndarray, " some"] | None = None
    ) -> OwnStates:
        """A x + b u, the drift of the states of `players` (None: all), and of sensitivities when y stands for x."""
        chosen = slice(None) if players is None else players
        moved = u if self.input is None else apply(at(self.input, t)[chosen], u)
        return moved if self.drift is None else moved + apply(at(self.drift, t)[chosen], x)

    def as_differential(self) -> DifferentialGame:
        """The game as one of the hub: the joint state is (X_1, …, X_N), player by player."""
        return _as_differential(self)


def apply(
    matrix: Float[Array, "players i j"], vector: Float[Array, "j players paths"]
) -> Float[Array, "i players paths"]:
    """Σ_j matrix[p, i, j] vector[j, p, ·], component by component (d and k are small)."""
    rows = [sum(matrix[:, i, j, None] * vector[j] for j in range(matrix.shape[2])) for i in range(matrix.shape[1])]
    return jnp.stack(rows)


def _check_shape(key: str, value: Coefficient, wanted: tuple[int | None, ...]) -> None:
    if value is None:
        return
    found = jax.eval_shape(lambda t: at(value, t), jnp.zeros((), jnp.float32)).shape
    if len(found) != len(wanted) or any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):
        words = ", ".join("any" if size is None else str(size) for size in wanted)
        raise InvalidInput(key, f"shape {found}", f"an array, or a function of time, of shape ({words})")


def _as_differential(game: DistributedGame) -> DifferentialGame:
    n, d, k = game.player_count, game.state_size, game.control_size
    own = _columns(game.diffusion)
    common = _columns(game.common_diffusion)

    def batch(x):
        return x.reshape(n, -1).T[:, :, None]

    def drift(t, x, u, i):
        return game.velocity(t, batch(x), jnp.stack(u).T[:, :, None])[:, :, 0].T.reshape(-1)

    def diffusion(t, x, u, i):
        blocks = jnp.zeros((n, d, n, own), x.dtype)
        if game.diffusion is not None:
            players = jnp.arange(n, dtype=jnp.int32)
            blocks = blocks.at[players, :, players, :].set(at(game.diffusion, t))
        parts = [blocks.reshape(n * d, n * own)]
        if game.common_diffusion is not None:
            parts.append(at(game.common_diffusion, t).reshape(n * d, common))
        return jnp.concatenate(parts, axis=1)

    def running(t, x, u, i):
        states, controls = batch(x), jnp.stack(u).T[:, :, None]
        return game.costs.own_running(t, states, controls, states, controls)[:, 0]

    def terminal(x, i):
        return game.costs.own_terminal(batch(x), batch(x))[:, 0]

    return DifferentialGame(
        players=game.players,
        control_sizes=(k,) * n,
        drift=drift,
        diffusion=diffusion,
        running_cost=running,
        terminal_cost=terminal,
        initial=PointLaw(jnp.asarray(game.initial).reshape(-1)),
        horizon=game.horizon,
        jumps=tuple(law for noise in game.jumps for law in _laws(noise, n, d)),
    )


def _columns(coefficient: Coefficient) -> int:
    if coefficient is None:
        return 0
    return jax.eval_shape(lambda t: at(coefficient, t), jnp.zeros((), jnp.float32)).shape[2]


def _laws(noise: JumpNoise, n: int, d: int) -> list[JumpLaw]:
    """One law per source of common noise, one per player and source of own noise."""
    laws = []
    for source in range(noise.rate.shape[-1]):
        marks = DiscreteMarks(jnp.asarray(noise.atoms[source])[:, None], noise.probabilities()[source])
        for player in (None,) if noise.common else range(n):
            rate = noise.rate[source] if player is None else noise.rate[player, source]
            laws.append(JumpLaw(rate=_Rate(rate), size=_Size(noise.loading, source, player, d), marks=marks))
    return laws


class _Rate(eqx.Module):
    value: Float[Array, ""]

    def __call__(self, t, x, u, i):
        return jnp.asarray(self.value, x.dtype)


class _Size(eqx.Module):
    loading: Array | np.ndarray | Callable
    source: int = eqx.field(static=True)
    player: int | None = eqx.field(static=True)
    d: int = eqx.field(static=True)

    def __call__(self, t, x, u, mark, i):
        loading = at(self.loading, t)[:, :, self.source]
        if self.player is not None:
            loading = jnp.zeros_like(loading).at[self.player].set(loading[self.player])
        return (loading * mark[0].astype(loading.dtype)).reshape(-1).astype(x.dtype)
