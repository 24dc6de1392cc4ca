"""Solving the market-making game: one backward sweep over (θ, U) on the inventory grid, no space discretisation.

In the feedback reading θ_i(t, q) and U_i(t, q) are fixed when the stage game at (t, q, i) is played, so the efforts act
through μ_ij(U_j − U_i) alone: (f*, g*) follow from U, and μ(f*, g*) enters both equations (`games.market_making`). With
τ = T − t this is a finite system of ordinary differential equations, integrated by an adaptive Runge–Kutta pair in
float64 (Tsitouras 5(4); the implicit Kvaerno 5(4) where the explicit one needs too many steps). Without switching and
with one trade size the system is linear in e^{kθ/z} and solved by a matrix exponential (`market_making_closed`).

*Free efforts that slide.* U is Lipschitz in itself whatever efforts cost, θ is not: where f is free, θ̇ jumps with the
sign of the pull y = Σ_j attack_ij (U_j − U_i). If θ pushes y back from either side, y stays at zero (a sliding mode of
second order: ÿ jumps, ẏ does not), f switches ever faster, and no step size control follows. The solution in the sense
of Filippov, an effort between nothing and all that keeps y = 0, is the limit of small costs ½ρf², ρ → 0: ρ is cut by
ten until θ stands still. y and θ swing into the slide, damped by no more than the switching itself; `sliding`, by how
much the last cut moved θ, is about the amplitude that is left of it.

The system is a pytree function: `solve_many` maps it over parameter sets.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.market_making import (
    Efforts,
    MarketMakingGame,
    best_side,
    dimensionless,
    efforts,
    modulated,
    moved,
    off_diagonal,
    open_side,
    pulls,
    risk,
    switching_flow,
    terminal_value,
    variance_rate,
)
from diffgames.games.market_making_paths import TableProfile
from diffgames.numerics.precision import keeping_double
from diffgames.solvers.market_making_closed import certainty_equivalents

MOST_STEPS = 20_000
SLIDING_STEPS = 100_000
LEAST_CUT, MOST_CUTS = 1e-9, 8  # of θ: what the last cut of a small cost must move it by; and how many cuts are tried
LARGEST_CUT = 1e-4  # more than this, and no limit is in sight
IMPLICIT_TOLERANCE = 1e-8  # the implicit pair is of low order: what it can reach in that many steps


class MarketMakerSolution(eqx.Module):
    """Certainty equivalents, quotes, stress and efforts on a uniform time grid t_0 = 0, …, t_S = T.

    `ask` and `bid` are offsets from the mid per trade size, NaN where the trade would leave the inventory grid;
    `stress` is U (zero where nobody plays over regimes). Inventories run from −Q to Q. `finished` tells whether the
    integration reached t = 0 (of each game, where several are solved at once); `sliding` is zero but where free efforts
    had to be found as a limit of small costs: what the last tenth of the cost moved the certainty equivalents by.
    """

    time: Float[Array, "*batch S"]
    theta: Float[Array, "*batch S N K"]
    ask: Float[Array, "*batch S N K Z"]
    bid: Float[Array, "*batch S N K Z"]
    stress: Float[Array, "*batch S N K"]
    attack_effort: Float[Array, "*batch S N K"]
    stabilize_effort: Float[Array, "*batch S N K"]
    rates: Float[Array, "*batch S N N K"]
    finished: Array
    sliding: Float[Array, "*batch"]

    @keeping_double
    def spread(self) -> Float[Array, "*batch S N"]:
        """Full spread, ask + bid offset, of the first trade size at zero inventory."""
        middle = self.theta.shape[-1] // 2
        return self.ask[..., middle, 0] + self.bid[..., middle, 0]

    def profile(self, game: MarketMakingGame) -> TableProfile:
        """What the players do, as a profile of `game.as_differential(self.theta)`."""
        return TableProfile(game, self.ask, self.bid, self.attack_effort, self.stabilize_effort)

    def __repr__(self) -> str:
        return f"MarketMakerSolution(theta of shape {self.theta.shape}, T = {np.asarray(self.time)[..., -1].max():g})"


def solve_market_maker(
    game: MarketMakingGame, *, steps: int = 200, tolerance: float = 1e-11, closed_form: bool = True
) -> MarketMakerSolution:
    """Solve one game; `steps` is the number of intervals of the stored time grid, not of the integration.

    `tolerance` is the relative and absolute tolerance of the integration, in units of the game's own (price 1/k, time
    T), so that the units it is given in do not matter; `closed_form=False` integrates also where the
    matrix exponential would do. The implicit pair works to 1e-8 at best. Raises `RunFailed` when neither integration
    gets there. Free efforts that slide are found as the limit of small costs, as nearly as `sliding` says.
    """
    if steps < 1:
        raise InvalidInput("steps", steps, "an integer ≥ 1")
    with jax.enable_x64(True):
        closed = closed_form and has_closed_form(game)
        solution = _solve(game, steps, tolerance, "closed" if closed else "explicit")
        if closed and not bool(solution.finished):  # certainty equivalents further apart than floating point reaches
            solution = _solve(game, steps, tolerance, "explicit")
        if not bool(solution.finished):
            solution = _limit_of_small_costs(game, steps, tolerance) or solution
        if not bool(solution.finished):
            solution = _solve(game, steps, max(tolerance, IMPLICIT_TOLERANCE), "implicit")
        if not (bool(solution.finished) and bool(jnp.all(jnp.isfinite(solution.theta)))):
            raise RunFailed(
                "the certainty equivalents could not be integrated to t = 0",
                "look at the units of sigma, k, A and T: risk and flow per unit of time differ too much",
            )
        return solution


def _limit_of_small_costs(game: MarketMakingGame, steps: int, tolerance: float) -> MarketMakerSolution | None:
    """The game whose free efforts cost next to nothing: ρ = 10⁻², 10⁻³, … of the largest pull at no effort at all."""
    free = [name for name in ("effort_attack", "effort_stabilize") if float(getattr(game, name)) == 0.0]
    if game.switching != "strategic" or not free:
        return None

    def at_cost(cost: float) -> MarketMakerSolution:
        paying = dataclasses.replace(game, **dict.fromkeys(free, jnp.full((), cost, game.horizon.dtype)))
        return _solve(paying, steps, max(tolerance, 1e-9), "explicit", SLIDING_STEPS)

    bounds = {"effort_attack": "attack_max", "effort_stabilize": "stabilize_max"}
    still = dataclasses.replace(game, **{bounds[name]: jnp.zeros_like(game.horizon) for name in free})
    idle = _solve(still, steps, max(tolerance, 1e-9), "explicit", SLIDING_STEPS)
    scale = max(float(jnp.max(jnp.abs(part))) for part in jax.vmap(lambda stress: pulls(game, stress))(idle.stress))
    best = change = None
    for cut in range(2, 2 + MOST_CUTS):
        found = at_cost(scale * 10.0**-cut)
        if not bool(found.finished):
            break
        if best is not None:
            change = float(jnp.max(jnp.abs(found.theta - best.theta)))
        best = found
        if change is not None and change <= LEAST_CUT * float(jnp.max(jnp.abs(found.theta))):
            break
    if best is None or change is None or change > LARGEST_CUT * float(jnp.max(jnp.abs(best.theta))):
        return None
    return dataclasses.replace(best, sliding=jnp.full((), change, best.theta.dtype))


def solve_many(games: MarketMakingGame, *, steps: int = 1, tolerance: float = 1e-8) -> MarketMakerSolution:
    """Solve games of one shape at once; `games` as made by `stack_games`. `finished` says which got there."""
    with jax.enable_x64(True):
        return _solve_many(games, steps, tolerance)


def has_closed_form(game: MarketMakingGame) -> bool:
    """Whether the system is linear in e^{kθ/z}: regimes do not talk to each other, one trade size."""
    return len(game.sizes) == 1 and (game.switching == "none" or game.regimes == 1)


def backward_field(
    tau: Any, state: dict[str, Array], game: MarketMakingGame, effort: Efforts | None = None
) -> dict[str, Array]:
    """d/dτ of θ and, with strategic switching, of U and w = ∫[e^{μ⁰s}σ²]ds; `effort` in place of the stage game's."""
    theta = state["theta"]
    ask, bid = best_side(game, theta, -1), best_side(game, theta, 1)
    gain = jnp.sum(ask.value + bid.value, axis=-1) - risk(game)
    if game.switching != "strategic":
        rates = jnp.broadcast_to(off_diagonal(game.generator)[:, :, None], (*game.generator.shape, theta.shape[1]))
        return {"theta": gain + switching_flow(rates, game, theta)}
    stress = state["stress"]
    effort = efforts(game, stress) if effort is None else effort
    rates = modulated(game, effort)
    push = stress_source(game, tau, theta, state["variance"]) - 0.5 * game.effort_attack * effort.attack**2
    push = push + 0.5 * game.effort_stabilize * effort.stabilize**2
    for index, size in enumerate(game.sizes):
        push = push + ask.intensity[..., index] * (moved(stress, -size) - stress)
        push = push + bid.intensity[..., index] * (moved(stress, size) - stress)
    push = push + jnp.sum(rates * (stress[None, :, :] - stress[:, None, :]), axis=1)
    return {
        "theta": gain + switching_flow(rates, game, theta),
        "stress": push,
        "variance": variance_rate(game) + game.generator @ state["variance"],
    }


def stress_source(
    game: MarketMakingGame, tau: Any, theta: Float[Array, "N K"], variance: Float[Array, " N"]
) -> Float[Array, "N K"]:
    """φ_i(q), the running stress: −θ_i, or ½q²C_i(τ)."""
    if game.stress == "certainty_equivalent":
        return -theta
    q = jnp.asarray(game.inventory, theta.dtype)[None, :]
    per_inventory = game.gamma * variance + game.predator_drift * tau
    return 0.5 * q**2 * per_inventory[:, None]


def initial_state(game: MarketMakingGame) -> dict[str, Array]:
    """The state at τ = 0."""
    theta = terminal_value(game)
    if game.switching != "strategic":
        return {"theta": theta}
    return {"theta": theta, "stress": jnp.zeros_like(theta), "variance": jnp.zeros_like(game.sigma)}


def _integrate(
    game: MarketMakingGame, steps: int, tolerance: Any, method: str, most: int
) -> tuple[dict[str, Array], Array]:
    """θ (and U) at τ = 0, T/S, …, T and whether the integration got there."""
    import diffrax
    import optimistix

    scaled, unit = dimensionless(game)
    rule = diffrax.Tsit5() if method == "explicit" else diffrax.Kvaerno5()
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(backward_field),
        rule,
        t0=jnp.zeros_like(scaled.horizon),
        t1=scaled.horizon,
        dt0=None,
        y0=initial_state(scaled),
        args=scaled,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, 1.0, steps + 1, dtype=game.horizon.dtype)),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=optimistix.max_norm),
        max_steps=most,
        throw=False,
    )
    assert found.ys is not None
    state = {"theta": unit.price * found.ys["theta"]}
    if "stress" in found.ys:
        state["stress"] = unit.stress * found.ys["stress"]
    return state, found.result == diffrax.RESULTS.successful


@eqx.filter_jit
def _solve(
    game: MarketMakingGame, steps: int, tolerance: float, method: str, most: int = MOST_STEPS
) -> MarketMakerSolution:
    return _solution(game, steps, tolerance, method, most)


@eqx.filter_jit
def _solve_many(games: MarketMakingGame, steps: int, tolerance: float) -> MarketMakerSolution:
    method = "closed" if len(games.sizes) == 1 and games.switching == "none" else "explicit"
    return eqx.filter_vmap(lambda game: _solution(game, steps, tolerance, method))(games)


def _solution(
    game: MarketMakingGame, steps: int, tolerance: float, method: str, most: int = MOST_STEPS
) -> MarketMakerSolution:
    if method == "closed":
        state = {"theta": certainty_equivalents(game, steps)}
        finished = jnp.all(jnp.isfinite(state["theta"]))
    else:
        state, finished = _integrate(game, steps, tolerance, method, most)
    theta = state["theta"]
    stress = state["stress"] if "stress" in state else jnp.zeros_like(theta)
    if game.switching == "strategic":
        effort = jax.vmap(lambda table: efforts(game, table))(stress)
    else:
        effort = Efforts(attack=jnp.zeros_like(theta), stabilize=jnp.zeros_like(theta))
    return solution_from(game, theta, stress, effort, finished)


def solution_from(
    game: MarketMakingGame,
    theta: Float[Array, "S N K"],
    stress: Float[Array, "S N K"],
    effort: Efforts,
    finished: Array,
) -> MarketMakerSolution:
    """The solution from tables at τ = 0, T/S, …, T, turned into the order of time."""
    theta, stress, effort = jax.tree.map(lambda table: table[::-1], (theta, stress, effort))
    ask = jax.vmap(lambda table: best_side(game, table, -1).offset)(theta)
    bid = jax.vmap(lambda table: best_side(game, table, 1).offset)(theta)
    return MarketMakerSolution(
        time=jnp.linspace(0.0, 1.0, theta.shape[0], dtype=theta.dtype) * game.horizon,
        theta=theta,
        ask=_where_open(game, ask, -1),
        bid=_where_open(game, bid, 1),
        stress=stress,
        attack_effort=effort.attack,
        stabilize_effort=effort.stabilize,
        rates=jax.vmap(lambda one: modulated(game, one))(effort),
        finished=finished,
        sliding=jnp.zeros((), theta.dtype),
    )


def _where_open(game: MarketMakingGame, offset: Float[Array, "S N K Z"], sign: int) -> Float[Array, "S N K Z"]:
    return jnp.where(open_side(game, sign)[None, None], offset, jnp.nan)
