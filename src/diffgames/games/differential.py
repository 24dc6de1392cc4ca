"""Differential games: the hub every continuous-time family can present itself as.

N players share a state X ∈ ℝⁿ and a regime I ∈ {0, …, m−1}; player p moves it by its control u_p ∈ ℝ^{k_p}:

    dX = b(t, X, u; I) dt + σ(t, X, u; I) dW + Σ_l ∫ γ_l(t, X₋, u, z; I) Ñ_l(dt, dz),
    P(I_{t+dt} = j | I_t = i) = μ_ij(t, X, u) dt + o(dt)  (j ≠ i),   X jumps to s(t, X, i, j) at a switch, if at all,

and its objective is

    J_p(u) = E[ ∫₀ᵀ e^{−ρt} c_p(t, X, u; I) dt + e^{−ρT} g_p(X_T; I_T) ].

Player p minimises J_p where `signs[p]` is +1, maximises it where −1, and where 0 has no objective at all: it plays what
the profile says (a crowd that a single player cannot move, a rule, nature). `u` is always the tuple of all controls.

A *profile* is what the players do: a pytree, callable as `profile(t, x, i) -> (u_1, …, u_N)`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.jumps import JumpLaw
from diffgames.games.names import check_names

Controls = tuple[Float[Array, "_"], ...]  # every player has its own number of components
Profile = Callable[[Float[Array, ""], Float[Array, " n"], Int[Array, ""]], Controls]


class PointLaw(eqx.Module):
    """Initial law concentrated in one state and one regime."""

    state: Float[Array, " n"]
    regime: int = 0

    def __call__(self, key: PRNGKeyArray) -> tuple[Float[Array, " n"], Int[Array, ""]]:
        """The state and the regime."""
        return self.state, jnp.asarray(self.regime, jnp.int32)


class GaussianLaw(eqx.Module):
    """Initial state mean + factor·ξ with ξ standard normal (covariance factor·factorᵀ), in one regime."""

    mean: Float[Array, " n"]
    factor: Float[Array, "n k"]
    regime: int = 0

    def __call__(self, key: PRNGKeyArray) -> tuple[Float[Array, " n"], Int[Array, ""]]:
        """A draw of the state, and the regime."""
        draw = jax.random.normal(key, (self.factor.shape[1],), self.mean.dtype)
        return self.mean + self.factor @ draw, jnp.asarray(self.regime, jnp.int32)


class DifferentialGame(eqx.Module):
    """A stochastic differential game with jumps and regimes; see the module's docstring.

    All functions take a single state `x[n]`, time `t`, controls `u` (a tuple) and regime index `i` as JAX scalars, and
    are pure; those with parameters should be `equinox.Module`s, so that these can be mapped and differentiated.

    - `drift(t, x, u, i) -> [n]`, `diffusion(t, x, u, i) -> [n, noises]`
    - `running_cost(t, x, u, i) -> [players]`, `terminal_cost(x, i) -> [players]` (any value where the sign is 0)
    - `initial(key) -> (x, i)`: the initial law
    - `generator`: μ, a matrix [m, m] (rows sum to zero, the rest ≥ 0), or a function `(t, x, u, i) -> [m]`, its row i
    - `switch(t, x, i, j) -> [n]`: the state after a switch from i to j
    - `tiers`: the order of play, players of a tier at once, those of later tiers knowing the controls of earlier ones
    - `bounds`: per player (low, high) for every component of its control, or None where it is unbounded
    """

    players: tuple[str, ...] = eqx.field(static=True)
    control_sizes: tuple[int, ...] = eqx.field(static=True)
    drift: Callable[..., Float[Array, " n"]]
    diffusion: Callable[..., Float[Array, "n noises"]]
    running_cost: Callable[..., Float[Array, " players"]]
    terminal_cost: Callable[..., Float[Array, " players"]]
    initial: Callable[[PRNGKeyArray], tuple[Float[Array, " n"], Int[Array, ""]]]
    horizon: float | Float[Array, ""]
    discount: float | Float[Array, ""] = 0.0
    jumps: tuple[JumpLaw, ...] = ()
    generator: Array | Callable[..., Float[Array, " m"]] | None = None
    switch: Callable[..., Float[Array, " n"]] | None = None
    signs: tuple[int, ...] = eqx.field(static=True, default=())
    tiers: tuple[tuple[int, ...], ...] = eqx.field(static=True, default=())
    bounds: tuple[tuple[float, float] | None, ...] = eqx.field(static=True, default=())
    state_names: tuple[str, ...] = eqx.field(static=True, default=())

    def __post_init__(self):
        count = len(self.players)
        self.signs = tuple(self.signs) or (1,) * count
        self.tiers = tuple(map(tuple, self.tiers)) or (tuple(range(count)),)
        self.bounds = tuple(self.bounds) or (None,) * count

    def __check_init__(self):
        check_names("players", self.players)
        count = len(self.players)
        for key in ("control_sizes", "signs", "bounds"):
            if len(getattr(self, key)) != count:
                raise InvalidInput(key, getattr(self, key), f"one entry for each of the {count} players")
        if any(sign not in (-1, 0, 1) for sign in self.signs):
            raise InvalidInput("signs", self.signs, "+1 (minimises), -1 (maximises) or 0 (no objective) each")
        if sorted(sum(self.tiers, ())) != list(range(count)):
            raise InvalidInput("tiers", self.tiers, f"every player index 0..{count - 1} exactly once")
        if _concrete(self.horizon) and not np.all(np.asarray(self.horizon) > 0):
            raise InvalidInput("horizon", self.horizon, "a positive time")
        if isinstance(self.generator, jax.Array | np.ndarray) and _concrete(self.generator):
            check_generator(np.asarray(self.generator))

    @property
    def state_size(self) -> int:
        """Number n of components of the state."""
        return self._shape(self.initial, jax.random.key(0))[0].shape[0]

    @property
    def noise_size(self) -> int:
        """Number of Brownian motions."""
        return self._at_start(self.diffusion).shape[1]

    @property
    def regime_count(self) -> int:
        """Number m of regimes; 1 where there is no chain."""
        if self.generator is None:
            return 1
        if callable(self.generator):
            return self._at_start(self.generator).shape[0]
        return self.generator.shape[-1]

    def player_index(self, player: str | int) -> int:
        """Index of the player called `player` (an index is returned as it is)."""
        if isinstance(player, int) and 0 <= player < len(self.players):
            return player
        if player in self.players:
            return self.players.index(player)
        raise InvalidInput("player", player, f"one of {', '.join(self.players)}, or an index below {len(self.players)}")

    def check(self) -> None:
        """Evaluate the shape of every function at the start; `InvalidInput` names the one that is wrong."""
        n, count = self.state_size, len(self.players)
        t, x, u, i = self._arguments()
        wanted = {
            "drift": (self.drift, (t, x, u, i), (n,)),
            "diffusion": (self.diffusion, (t, x, u, i), (n, None)),
            "running_cost": (self.running_cost, (t, x, u, i), (count,)),
            "terminal_cost": (self.terminal_cost, (x, i), (count,)),
        }
        if callable(self.generator):
            wanted["generator"] = (self.generator, (t, x, u, i), (self.regime_count,))
        if self.switch is not None:
            wanted["switch"] = (self.switch, (t, x, i, i), (n,))
        for index, law in enumerate(self.jumps):
            mark = self._shape(law.marks.sample, jax.random.key(0))
            wanted[f"jumps[{index}].rate"] = (law.rate, (t, x, u, i), ())
            wanted[f"jumps[{index}].size"] = (law.size, (t, x, u, mark, i), (n,))
        for key, (function, arguments, shape) in wanted.items():
            found = self._shape(function, *arguments).shape
            if len(found) != len(shape) or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
                words = ", ".join("noises" if size is None else str(size) for size in shape)
                raise InvalidInput(key, f"shape {found}", f"a function whose value has shape ({words})")

    def _arguments(self) -> tuple[Any, Any, Any, Any]:
        """Shapes of (t, x, u, i)."""
        x, i = self._shape(self.initial, jax.random.key(0))
        t = jax.ShapeDtypeStruct((), x.dtype)
        u = tuple(jax.ShapeDtypeStruct((size,), x.dtype) for size in self.control_sizes)
        return t, x, u, i

    def _at_start(self, function: Callable) -> jax.ShapeDtypeStruct:
        return self._shape(function, *self._arguments())

    @staticmethod
    def _shape(function: Callable, *arguments: Any) -> Any:
        return eqx.filter_eval_shape(function, *arguments)


def check_generator(generator: np.ndarray, key: str = "generator") -> None:
    """`InvalidInput` unless rates are finite and ≥ 0 off the diagonal and rows sum to zero; says what is amiss.

    A row may sum to 1e-6 of its own largest rate: what writing rates with few digits leaves.
    """
    if generator.ndim < 2 or generator.shape[-1] != generator.shape[-2]:
        raise InvalidInput(key, f"shape {generator.shape}", "a square matrix of rates")
    if not np.all(np.isfinite(generator)):
        raise InvalidInput(key, generator.tolist(), "finite rates")
    diagonal = np.eye(generator.shape[-1], dtype=bool)
    rates = np.where(diagonal, 0.0, generator)
    if rates.min() < 0:
        raise InvalidInput(key, generator.tolist(), "rates ≥ 0 off the diagonal")
    rows, sizes = generator.sum(axis=-1).ravel(), np.abs(generator).max(axis=-1).ravel()
    wrong = np.flatnonzero(np.abs(rows) > 1e-6 * sizes)
    if wrong.size:
        if np.abs(generator[..., diagonal]).max() == 0.0:
            hint = "the diagonal is zero, put the negative row sums there"
        elif np.allclose(rows, 1.0):
            hint = "rows sum to one, which is a matrix of probabilities, not of rates"
        else:
            worst = wrong[np.argmax(np.abs(rows[wrong]) / sizes[wrong])]
            hint = f"row {int(worst) % generator.shape[-1]} sums to {rows[worst]:.3g}"
        raise InvalidInput(key, generator.tolist(), f"rows that sum to zero ({hint})")


def _concrete(value: Any) -> bool:
    return not isinstance(value, Tracer)
