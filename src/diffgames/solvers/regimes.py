"""Solve the games over regimes of `games.regimes`: inner and outer values in one backward sweep, or committed."""

import itertools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import check_generator
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.regimes import check_rates
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.solvers.base import Outcome, Status
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.riccati import TIGHT, course, escaped_or_none, evaluation_rate, package
from diffgames.solvers.stage import stage_games
from diffgames.solvers.units import units_of


class Switching(eqx.Module):
    """μ = μ⁰ + f λ^att − g λ^stab."""

    generator: Float[Array, "m m"]
    attack: Float[Array, "m m"]
    stabilize: Float[Array, "m m"]

    def rates(self, attacks: Float[Array, " m"], stabilizes: Float[Array, " m"]) -> Float[Array, "m m"]:
        """The generator under these efforts in each regime."""
        moved = attacks[:, None] * self.attack - stabilizes[:, None] * self.stabilize
        return self.generator + moved - jnp.diag(jnp.sum(moved, axis=1))

    def efforts(self, outer: Float[Array, "m n n"]) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Bang-bang f*, g* by the sign of Σ_j λ_ij (K_j − K_i), by its entry of the largest eigenvalue."""
        return _positive(self.attack, outer), _positive(self.stabilize, outer)


class RegimeSolution(eqx.Module):
    """Inner solution (profile, S), outer values K[times, m, n, n], efforts and generators on the same times."""

    inner: LinearQuadraticSolution
    outer: Track
    attack_effort: Float[Array, "times m"]
    stabilize_effort: Float[Array, "times m"]
    rates: Float[Array, "times m m"]

    @property
    def outcome(self) -> Outcome:
        """How the sweep ended."""
        return self.inner.outcome

    def stored(self) -> dict[str, Array]:
        """Gains with their slopes, rates and efforts on the same times: what `as_played` reads."""
        gain = self.inner.profile.gain
        efforts = {"attack_effort": self.attack_effort, "stabilize_effort": self.stabilize_effort}
        return {"gain": gain.value, "slope": gain.slope, "time": self.inner.time, "rates": self.rates, **efforts}


def switching_of(generator: Any, attack: Any = None, stabilize: Any = None) -> Switching:
    """Checked rates: μ⁰ a generator, λ^att and λ^stab ≥ 0 with zero diagonals, μ⁰ ≥ λ^stab."""
    base = np.asarray(generator, float)
    check_generator(base)
    none = np.zeros_like(base)
    rates = {
        name: check_rates(name, none if value is None else value, base.shape[0])
        for name, value in (("attack", attack), ("stabilize", stabilize))
    }
    off = ~np.eye(base.shape[0], dtype=bool)
    if np.any((base - np.asarray(rates["stabilize"]))[off] < -1e-12 * np.abs(base).max()):
        raise InvalidInput("stabilize", np.asarray(stabilize).tolist(), "rates at most those of the generator")
    return Switching(generator=jnp.asarray(base), attack=rates["attack"], stabilize=rates["stabilize"])


def solve_regimes(
    game: LinearQuadraticGame, switching: Switching | None = None, *, nodes: int = 257, throw: bool = True
) -> RegimeSolution:
    """Inner and outer equilibrium; without `switching` the game's own generator is exogenous (U is then evaluated).

    Raises `RunFailed` on a finite escape and where an effort would depend on the state.
    """
    if switching is None:
        switching = switching_of(np.asarray(game.generator))
    with jax.enable_x64(True):
        share = jnp.linspace(0.0, 1.0, nodes)
        solution = _sweep(game, switching, share)
        if throw and (failure := solution.outcome.failure) is not None:
            raise failure
        if solution.outcome.status == Status.SOLVED and throw:
            check_signs(switching, np.asarray(solution.outer.value), np.asarray(solution.outer.time))
    return solution


def sweep_escape(game: LinearQuadraticGame, switching: Switching, limit: float) -> float | None:
    """First time to go at which P escapes, up to `limit`, switching included; None where there is none.

    `RunFailed` where the search ends before `limit` for another reason.
    """
    with jax.enable_x64(True):
        found = _backward(game, switching, jnp.asarray([limit]), TIGHT)
        return escaped_or_none(_outcome(game, found, jnp.asarray(limit)))


@eqx.filter_jit
def _backward(game: LinearQuadraticGame, switching: Switching, to_go: Array, accuracy: Accuracy) -> Any:
    terminal = game.terminal
    horizon = jnp.asarray(game.horizon, terminal.dtype)

    def rate(tau: Any, y: tuple[Array, Array]) -> tuple[Array, Array]:
        return sweep_rate(game, switching, horizon - tau, *y)

    return integrate_to_go(rate, (terminal, terminal[0]), to_go, accuracy, **course(game, _units(game)))


def _units(game: LinearQuadraticGame) -> tuple[Array, Array]:
    """Units of inner and outer values, the latter costs times time."""
    units = units_of(game)
    return units.value, units.value[0]


def sweep_rate(
    game: LinearQuadraticGame, switching: Switching, t: Any, inner: Array, outer: Array, committed: Any = None
) -> tuple[Array, Array]:
    """dS/dτ and dK/dτ; with `committed` efforts (f, g) instead of those of the stage game over regimes."""
    efforts = switching.efforts(outer) if committed is None else committed
    frozen = eqx.tree_at(lambda g: g.generator, game, switching.rates(*efforts), is_leaf=lambda x: x is None)
    stage = stage_games(frozen, frozen.coefficients(t), inner)
    inner_rate = evaluation_rate(frozen, t, inner, stage.gain, stage.crowd_gain)
    valued = _outer_game(frozen, inner[0])
    outer_rate = evaluation_rate(valued, t, outer[None], stage.gain, stage.crowd_gain)[0]
    return inner_rate, outer_rate


def _outer_game(game: LinearQuadraticGame, running: Array) -> LinearQuadraticGame:
    """The game whose (evaluated) running cost is the inner value."""
    first = game.players[0]
    silent = eqx.tree_at(
        lambda p: (p.state_cost, p.control_cost), first, (running, jnp.zeros_like(jnp.asarray(first.control_cost)))
    )
    inputs = tuple(game.players[1:])
    quiet = tuple(
        eqx.tree_at(lambda p: (p.state_cost, p.control_cost), one, (running, jnp.zeros_like(first.control_cost)))
        for one in inputs
    )
    return eqx.tree_at(lambda g: g.players, game, (silent, *quiet))


@eqx.filter_jit
def _sweep(game: LinearQuadraticGame, switching: Switching, share: Array) -> RegimeSolution:
    horizon = jnp.asarray(game.horizon, game.terminal.dtype)
    time = share * horizon
    found = _backward(game, switching, time, TIGHT)
    inner, outer = (leaf[::-1] for leaf in found.values)
    reached = jnp.isfinite(inner).all(axis=(1, 2, 3, 4))
    safe = jnp.where(reached[:, None, None, None], outer, 0.0)
    attacks, stabilizes = jax.vmap(switching.efforts)(safe)
    rates = jax.vmap(switching.rates)(attacks, stabilizes)
    played = eqx.tree_at(
        lambda g: g.generator, game, Switched(Track(time, rates, jnp.zeros_like(rates))), is_leaf=lambda x: x is None
    )
    solution = package(played, time, inner, _outcome(game, found, horizon))
    slope = jax.vmap(lambda t, s, k: -sweep_rate(game, switching, t, s, k)[1])(
        time, jnp.where(reached[:, None, None, None, None], inner, game.terminal[None]), safe
    )
    blank = reached[:, None, None, None]
    return RegimeSolution(
        inner=solution,
        outer=Track(time, jnp.where(blank, outer, jnp.inf), jnp.where(blank, slope, jnp.inf)),
        attack_effort=attacks,
        stabilize_effort=stabilizes,
        rates=rates,
    )


class Switched(eqx.Module):
    """A generator known as a function of time, held between the times it is known at (the efforts jump)."""

    track: Track

    def __call__(self, t: Any, values: Any = None) -> Float[Array, "m m"]:
        """The generator at time t: that of the last known time not after it."""
        time = self.track.time
        place = jnp.searchsorted(time, jnp.asarray(t, time.dtype), side="right") - 1
        return self.track.value[jnp.clip(place, 0, time.shape[0] - 2)]


def held(stored: Mapping[str, Any], name: str) -> Switched:
    """A stored series as what is held between its times."""
    value = jnp.asarray(stored[name], jnp.float64)
    return Switched(Track(jnp.asarray(stored["time"], jnp.float64), value, jnp.zeros_like(value)))


def as_played(game: LinearQuadraticGame, stored: Mapping[str, Any]) -> tuple[LinearQuadraticGame, LinearFeedback]:
    """The game at the rates of `RegimeSolution.stored`, and its gains as a profile."""
    gain, slope, time = (jnp.asarray(stored[name], jnp.float64) for name in ("gain", "slope", "time"))
    names = ("drift", "players", "horizon", "diffusion", "jump_scale", "jump_rate", "tiers", "blocks")
    at_rates = LinearQuadraticGame(**{name: getattr(game, name) for name in names}, generator=held(stored, "rates"))
    total = gain.shape[2]
    still = jnp.broadcast_to(jnp.eye(total), (*gain.shape[:2], total, total))
    feedback = LinearFeedback(
        gain=Track(time, gain, slope),
        crowd_gain=Track(time, 0 * gain, 0 * gain),
        reaction=Track(time, still, 0 * still),
        crowd_reaction=Track(time, 0 * still, 0 * still),
        sizes=game.control_sizes,
    )
    return at_rates, feedback


def _outcome(game: LinearQuadraticGame, found: Any, horizon: Array) -> Outcome:
    return Outcome(
        code=found.code,
        escape_time=found.escape_time,
        time=jnp.zeros_like(horizon),
        player=jnp.zeros((), jnp.int32),
        names=tuple(player.name for player in game.players),
    )


def _positive(weights: Array, outer: Array) -> Array:
    difference = _risk(weights, outer)
    values = jnp.linalg.eigvalsh(difference)
    leading = jnp.where(values[:, -1] >= -values[:, 0], values[:, -1], values[:, 0])
    return (leading > 0).astype(outer.dtype)


def _risk(weights: Array, outer: Array) -> Array:
    """Σ_j w_ij (K_j − K_i)."""
    return jnp.einsum("ij,jab->iab", weights, outer) - jnp.sum(weights, axis=1)[:, None, None] * outer


def check_signs(switching: Switching, outer: np.ndarray, time: np.ndarray) -> None:
    """`RunFailed` where the sign of Σ_j λ_ij (K_j − K_i) depends on the state, so that no effort fits all states."""
    for name in ("attack", "stabilize"):
        weights = np.asarray(getattr(switching, name))
        risk = np.einsum("ij,tjab->tiab", weights, outer) - weights.sum(axis=1)[:, None, None] * outer
        values = np.linalg.eigvalsh(risk)
        scale = 1e-9 * np.abs(outer).max() * weights.max()
        mixed = (values[..., 0] < -scale) & (values[..., -1] > scale)
        if mixed.any():
            when, regime = (int(index) for index in np.argwhere(mixed)[-1])
            raise RunFailed(
                f"the best {name} effort in regime {regime} depends on the state at time {time[when]:.4g}: "
                "outer values are not quadratic there",
                "use exogenous switching, or solve the game over regimes on a grid",
            )


def committed_game(
    game: LinearQuadraticGame, switching: Switching, state: Float[Array, " n"], regime: int = 0
) -> dict[str, np.ndarray]:
    """The committed reading: payoffs U(0, state, regime) when f and g are held for all time, V solved again for each.

    Rows are the stabilizer's policies (it minimises), columns the attacker's, `policies[k]` says the effort in every
    regime; `value` holds the saddle value of the matrix where it has a pure one, else nothing.
    """
    m = game.regime_count
    policies = np.asarray(list(itertools.product((0.0, 1.0), repeat=m)))
    with jax.enable_x64(True):
        z = jnp.append(jnp.asarray(state, jnp.float64), 1.0)
        pairs = jnp.asarray(list(itertools.product(policies, policies)))
        outer = _committed(game, switching, pairs)
        payoff = np.asarray(jnp.einsum("a,pab,b->p", z, outer[:, regime], z)).reshape(len(policies), len(policies))
    low, high = payoff.min(axis=0).max(), payoff.max(axis=1).min()
    pure = np.asarray([high]) if abs(high - low) <= 1e-9 * abs(payoff).max() else np.asarray([])
    return {"payoff": payoff, "policies": policies, "value": pure, "lower": np.asarray(low), "upper": np.asarray(high)}


@eqx.filter_jit
def _committed(game: LinearQuadraticGame, switching: Switching, pairs: Array) -> Array:
    terminal = game.terminal
    horizon = jnp.asarray(game.horizon, terminal.dtype)

    def one(pair: Array) -> Array:
        def rate(tau: Any, y: tuple[Array, Array]) -> tuple[Array, Array]:
            return sweep_rate(game, switching, horizon - tau, *y, committed=(pair[1], pair[0]))

        accuracy, known = Accuracy(rtol=1e-8, atol=1e-10), course(game, _units(game))
        return integrate_to_go(rate, (terminal, terminal[0]), horizon[None], accuracy, **known).values[1][-1]

    return jax.vmap(one)(pairs)
