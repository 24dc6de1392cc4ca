"""Parameters of the market-making game as the studies take them; the defaults are the reference case of three regimes.

Calm, volatile and stressed regimes with σ = 1, 2, 4 and thinning flow; an attacker that can pull the market into worse
regimes, a stabilizer that can slow three of the same switches.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from diffgames.games.market_making import MarketMakingGame
from diffgames.games.market_making_input import market_making_game
from diffgames.studies.study import Parameter

PerRegime = float | tuple[float, ...]
Matrix = tuple[tuple[float, ...], ...]

GENERATOR: Matrix = ((-0.5, 0.4, 0.1), (0.6, -0.9, 0.3), (0.2, 0.8, -1.0))
ATTACK: Matrix = ((0.0, 2.0, 0.5), (0.0, 0.0, 1.5), (0.0, 0.0, 0.0))
STABILIZE: Matrix = ((0.0, 0.3, 0.05), (0.0, 0.0, 0.2), (0.0, 0.0, 0.0))


ByRegime = partial(Parameter, shape="regimes or scalar")


@dataclass(frozen=True, kw_only=True)
class MarketMakingParameters:
    """Market, players and horizon; see `diffgames.games.market_making` for the equations."""

    gamma: Annotated[float, Parameter("risk aversion γ of the market maker", "1/(price·inventory)", minimum=0.0)] = 0.1
    k: Annotated[PerRegime, ByRegime("decay of fills with the offset", "1/price")] = 1.5
    A: Annotated[PerRegime, ByRegime("fills per unit of time and side at the mid", "1/time")] = (140.0, 120.0, 80.0)
    sigma: Annotated[PerRegime, ByRegime("volatility σ of the mid", "price/√time")] = (1.0, 2.0, 4.0)
    xi: Annotated[float, Parameter("strength ξ of the predator; 0: none", "price²/time (utility)", minimum=0.0)] = 0.5
    predator: Annotated[
        Literal["utility", "ce"],
        Parameter("units of the predator's cost: w* = −ξγq, σ²+ξ (utility) or w* = −ξq, σ²+ξ/γ (ce)"),
    ] = "utility"
    inventory_max: Annotated[int, Parameter("largest |inventory| Q", "inventory", minimum=1, maximum=1000)] = 10
    T: Annotated[float, Parameter("horizon T", "time", minimum=0.0)] = 1.0
    generator: Annotated[
        Matrix, Parameter("switching rates, negative row sums on diagonal", "1/time", shape="regimes × regimes")
    ] = GENERATOR
    attack: Annotated[
        Matrix, Parameter("rates added per unit of the attacker's effort", "1/time", shape="regimes × regimes")
    ] = ATTACK
    stabilize: Annotated[
        Matrix, Parameter("rates removed per unit of stabilizing effort", "1/time", shape="regimes × regimes")
    ] = STABILIZE
    effort_attack: Annotated[
        float, Parameter("cost ρ_f of the attacker's effort, ½ρ_f f²; 0: bang-bang", "stress", minimum=0.0)
    ] = 20.0
    effort_stabilize: Annotated[
        float, Parameter("cost ρ_g of stabilizing, ½ρ_g g²; 0: bang-bang", "stress", minimum=0.0)
    ] = 20.0
    attack_max: Annotated[float, Parameter("largest effort f̄ of the attacker", minimum=0.0)] = 1.0
    stabilize_max: Annotated[float, Parameter("largest effort ḡ of the stabilizer", minimum=0.0)] = 1.0
    stress: Annotated[
        Literal["certainty_equivalent", "inventory"],
        Parameter("running stress of the game over regimes: −θ, or ½q²C(τ)"),
    ] = "certainty_equivalent"
    flow_imbalance: Annotated[PerRegime, ByRegime("ε: Aᵃ = A(1+ε), Aᵇ = A(1−ε)", minimum=-1, maximum=1)] = 0.0
    sizes: Annotated[tuple[int, ...], Parameter("trade sizes, each quoted", "inventory", shape="sizes", minimum=1)] = (
        1,
    )
    size_shares: Annotated[
        tuple[float, ...], Parameter("share of each trade size in the flow", shape="sizes", minimum=0.0)
    ] = (1.0,)
    drift: Annotated[PerRegime, ByRegime("drift b of the mid", "price/time")] = 0.0
    jump_rate: Annotated[PerRegime, ByRegime("intensity of price jumps", "1/time", minimum=0.0)] = 0.0
    jump_mean: Annotated[PerRegime, ByRegime("mean size of price jumps (compensated)", "price")] = 0.0
    jump_deviation: Annotated[PerRegime, ByRegime("standard deviation of price jumps", "price", minimum=0.0)] = 0.0
    running_penalty: Annotated[float, Parameter("φ, running penalty φq²", "price/(inventory·time)", minimum=0.0)] = 0.0
    terminal_penalty: Annotated[float, Parameter("ℓ, cost ℓ|q| of liquidating at T", "price", minimum=0.0)] = 0.0
    terminal_quadratic: Annotated[
        float, Parameter("α, cost αq² of liquidating at T", "price/inventory", minimum=0.0)
    ] = 0.0


def game_of(config: MarketMakingParameters, switching: str, **changes: Any) -> MarketMakingGame:
    """The game that the parameters describe, with this kind of switching."""
    names = MarketMakingParameters.__dataclass_fields__
    return market_making_game(**{name: getattr(config, name) for name in names} | changes, switching=switching)


def solution_memory(config: MarketMakingParameters, steps: int) -> float:
    """Bytes of θ, U, both quotes and efforts at all times, in every regime and at every inventory."""
    return 8.0 * (4 + 2 * len(config.sizes)) * steps * len(config.generator) * (2 * config.inventory_max + 1)


def unit_warnings(game: MarketMakingGame) -> list[str]:
    """What looks like a slip in the units: scales that should be comparable and are not."""
    k, sigma, horizon = np.asarray(game.k), np.asarray(game.sigma), float(game.horizon)
    width = 1.0 / k
    moves = sigma * np.sqrt(horizon)
    fills = np.asarray(game.ask_flow + game.bid_flow).sum(axis=1) * horizon
    found = []
    for i in range(game.regimes):
        ratio = moves[i] / width[i]
        if moves[i] > 0 and not 0.01 <= ratio <= 100:
            found.append(
                f"regime {i}: the price moves by sigma·√T = {moves[i]:.3g}, {ratio:.3g} times the offset "
                f"1/k = {width[i]:.3g} over which fills decay; are sigma, T and k in the same units?"
            )
        if fills[i] < 1 or fills[i] > 1e7:
            found.append(f"regime {i}: {fills[i]:.3g} fills at the mid over T are implausible; is A per unit of T?")
        if float(game.gamma) * width[i] > 100:
            found.append(f"regime {i}: gamma/k = {float(game.gamma) * width[i]:.3g} is implausible; see gamma's unit")
    return found
