"""Figure 6 of Vadori et al.: Hamiltonian weights between the agents of small over-the-counter markets, over training.

One provider, or two alike, and one taker trade without an exchange: they earn PnL alone (ω = 1), or the taker follows
trading targets of one half a side (ω = 0). Policies are learned by PPO; at checkpoints score functions of fresh
episodes, in which all explore, give ω_A between the named agents with an interval (`verification.game_weights`).
Values are means over independent trainings, bands the means of the trainings' intervals.

Two numbers need no learning. Without risk aversion one provider and one PnL taker of the same η play a zero-sum game,
ω_A = 1. Where the taker's value does not depend on the provider, one of the two cross blocks is zero, ‖AᵀG‖ = ‖SG‖ and
ω_A = ½: so it is, up to what the taker makes of the quotes it sees, with a flow taker.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes

from diffgames.learning.policy import Profile
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.train import initial_profile, train_seeds
from diffgames.markets.environment import OTCMarket
from diffgames.plotting import COLOURS, axes_or_new, band, label
from diffgames.studies.context import RunContext
from diffgames.studies.exchange_parameters import fit_from
from diffgames.studies.market_parameters import MarketParameters, build_market
from diffgames.studies.study import Parameter
from diffgames.verification.game_weights import WeightEstimate, scored_weight


class Situation(NamedTuple):
    """Providers, the taker's ω, the two players between whom the weight is taken, and the figure's value."""

    providers: int
    taker_weight: float
    players: tuple[tuple[str, int], ...]
    published: float


FIRST, TAKER = ("provider", 0), ("taker", 0)
SITUATIONS = {
    "1 provider, PnL taker": Situation(1, 1.0, (FIRST, TAKER), 0.6),
    "2 providers, provider and taker": Situation(2, 1.0, (FIRST, TAKER), 0.2),
    "2 providers, between them": Situation(2, 1.0, (FIRST, ("provider", 1)), 0.6),
    "1 provider, flow taker": Situation(1, 0.0, (FIRST, TAKER), 1.0),
}


@dataclass(frozen=True, kw_only=True)
class MarketTraining:
    """Sizes of the markets, of the trainings, and of the samples behind a weight."""

    groups: Annotated[int, Parameter("groups of episodes behind every interval", "groups", minimum=5)] = 16
    trainings: Annotated[
        int, Parameter("independent trainings of every small market; 0: no markets", "trainings", minimum=0)
    ] = 2
    market_updates: Annotated[int, Parameter("policy updates of a training", "updates", minimum=1)] = 20
    checkpoints: Annotated[int, Parameter("weights after the first", "checkpoints", minimum=1)] = 1
    market_episodes: Annotated[int, Parameter("episodes behind a weight of a market", "episodes", minimum=32)] = 8_192
    market_steps: Annotated[int, Parameter("episode length of the markets", "steps", minimum=1)] = 5
    width: Annotated[int, Parameter("units per hidden layer (two, tanh)", "units", minimum=1)] = 8
    risk_aversion: Annotated[float, Parameter("γ of the providers", minimum=0.0)] = 0.5
    learning_rate: Annotated[
        float, Parameter("Adam's learning rate in the markets", minimum=1e-9, plausible=(1e-6, 1e-2))
    ] = 5e-4
    data: Annotated[str | None, Parameter("level-2 file behind the reference price; null: synthetic")] = None


class Kept:
    """The policies after every `save_every` updates, as `train_seeds` hands them to its checkpoint."""

    def __init__(self, profiles: list[Profile]):
        self.runs = len(profiles)
        self.profiles: list[list[Profile]] = [[profile] for profile in profiles]

    def load(self, like: Any) -> None:
        """Nothing: trainings this short start anew."""

    def save(self, tree: Any) -> None:
        """Every run's policies."""
        for run in range(self.runs):
            learned = {name: learner.policy for name, learner in tree.learners.items()}
            self.profiles[run].append(jax.tree.map(lambda leaf, at=run: leaf[at], learned))


def market_weights(sizes: MarketTraining, context: RunContext) -> dict[str, list[list[WeightEstimate]]]:
    """For every situation, training and checkpoint (the first before any update) ω_A."""
    exchange = fit_from(MarketParameters(exchange="mixture", components=2, data=sizes.data), context.seed)[0]
    found: dict[str, list[list[WeightEstimate]]] = {}
    for providers in (1, 2):
        chosen = {name: one for name, one in SITUATIONS.items() if one.providers == providers}
        weights = sorted({one.taker_weight for one in chosen.values()})
        markets = {own: small_market(sizes, exchange, providers, own) for own in weights}
        train_key, score_key = jax.random.split(jax.random.fold_in(context.key, providers))
        learned = _learned(sizes, list(markets.values()), train_key, context)
        for name, one in chosen.items():
            runs = learned[weights.index(one.taker_weight)]
            context.progress.update(f"weights: {name}", 0.0)
            found[name] = [
                [
                    scored_weight(
                        markets[one.taker_weight],
                        profile,
                        one.players,
                        jax.random.fold_in(score_key, 1000 * run + at),
                        episodes=sizes.market_episodes,
                        groups=sizes.groups,
                    )
                    for at, profile in enumerate(profiles)
                ]
                for run, profiles in enumerate(runs)
            ]
    return {name: found[name] for name in SITUATIONS}


def small_market(sizes: MarketTraining, exchange: Any, providers: int, taker_weight: float) -> OTCMarket:
    """Alike providers who earn PnL, one taker of stated ω, nobody connected to the exchange."""
    parameters = MarketParameters(
        steps=sizes.market_steps,
        provider_counts=(providers,),
        provider_risk_aversion=(sizes.risk_aversion,),
        provider_pnl_weight=(1.0,),
        provider_share_target=(1.0,),
        taker_counts=(1,),
        taker_risk_aversion=(0.0,),
        taker_pnl_weight=(taker_weight,),
        taker_buy_target=(0.5,),
        taker_sell_target=(0.5,),
        taker_quantity=(1.0,),
        connectivity=((1.0,),),
        provider_exchange=((0.0,),),
        taker_exchange=((0.0,),),
    )
    return build_market(parameters, exchange)


def _learned(
    sizes: MarketTraining, markets: list[OTCMarket], key: PRNGKeyArray, context: RunContext
) -> list[list[list[Profile]]]:
    """Per market and training the profiles at the checkpoints; all trainings are one mapped computation."""
    played = [market for market in markets for _ in range(sizes.trainings)]
    start_keys, keys = (list(jax.random.split(own, len(played))) for own in jax.random.split(key))
    starts = [initial_profile(game, own, sizes.width) for game, own in zip(played, start_keys, strict=True)]
    kept = Kept(starts)
    context.progress.update(f"learning {len(played)} markets", 0.0)
    ppo = PPOConfig(episodes=64, passes=8, minibatch=640, learning_rate=sizes.learning_rate, kl_target=0.03)
    every = max(1, sizes.market_updates // sizes.checkpoints)
    length = every * sizes.checkpoints
    train_seeds(played, starts, ppo, keys, length, learn=("provider", "taker"), checkpoint=kept, save_every=every)
    count = sizes.trainings
    return [kept.profiles[at * count : (at + 1) * count] for at in range(len(markets))]


def market_dataset(sizes: MarketTraining, found: dict[str, list[list[WeightEstimate]]]) -> xr.Dataset:
    """Means over trainings of ω_A and of its intervals' ends, per situation and update; and the figure's values."""
    columns = {}
    for field in ("weight", "lower", "upper"):
        values = np.asarray([[[getattr(one, field) for one in run] for run in found[name]] for name in found])
        known = np.isfinite(values)
        total, count = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
        columns[field] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    every = max(1, sizes.market_updates // sizes.checkpoints)
    return xr.Dataset(
        {name: (("situation", "update"), values) for name, values in columns.items()}
        | {"published": ("situation", np.asarray([SITUATIONS[name].published for name in found]))},
        coords={"situation": list(found), "update": every * np.arange(columns["weight"].shape[1])},
    )


def over_training(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Weights against updates with their bands, the figure's values as dashed lines of the same colors."""
    ax = axes_or_new(ax)
    for colour, name in zip(COLOURS, data.situation.values, strict=False):
        one = data.sel(situation=name)
        band(ax, data["update"], one.lower, one.upper, colour=colour)
        ax.plot(data["update"], one.weight, "o-", color=colour, label=str(name))
        ax.axhline(float(one.published), ls="--", lw=1, color=colour)
    ax.plot([], [], "--", lw=1, color="0.4", label="the paper's")
    ax.set_ylim(-0.03, 1.03)
    return label(ax, x=("update", ""), y=("Hamiltonian weight ω_A", ""))
