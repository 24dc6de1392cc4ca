"""Which of the 24 claims about learned behavior hold: Vadori et al., Section 5.2, over independent trainings.

Both shared policies are learned several times from different starts, on the same exchange. Every profile then plays,
frozen, the first provider's types one attribute at a time (`emergent_sweep`); every statistic has a slope on every
attribute, and every claim (`emergent_claims`) is a sign of a slope. Trainings, not episodes, are what the signs are
tested over (`verification.claims`): a verdict is "as the paper", "flat" (no sign shown) or "reversed", with the
probability of any false one among all claims held at `level`.
"""

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from diffgames.errors import InvalidInput, RunFailed
from diffgames.learning.policy import Profile
from diffgames.learning.train import Outcome, TrainResult
from diffgames.learning.verdict import verdict
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import LEAST_GRID
from diffgames.markets.supertypes import by_supertype
from diffgames.studies.context import RunContext
from diffgames.studies.emergent_claims import CLAIMS, WORDS
from diffgames.studies.emergent_figures import FIGURES
from diffgames.studies.emergent_sweep import (
    ATTRIBUTES,
    QUANTILES,
    Sweep,
    base_of,
    convexity,
    inventory_edges,
    points_of,
    sweep,
)
from diffgames.studies.emergent_words import EmergentConfig, EmergentHeadline
from diffgames.studies.learning_parameters import learn_seeds, new_profile, tenth
from diffgames.studies.market_parameters import build_market, fit_exchanges
from diffgames.studies.otc_market import ROLES
from diffgames.studies.study import Study, StudyResult
from diffgames.verification.claims import Verdicts, first_critical, judge, slope_on

STATISTICS = tuple(name for name in WORDS if name not in (*ATTRIBUTES, "convexity", "pnl_takers"))
WORD_OF = {1: "as the paper", 0: "flat", -1: "reversed"}


def run(config: EmergentConfig, context: RunContext) -> StudyResult:
    """Learn the profiles, sweep every one, judge the claims."""
    if max(config.pnl_takers, default=0) < 1 or len(set(config.pnl_takers)) < 2:
        raise InvalidInput("pnl_takers", list(config.pnl_takers), "two or more different numbers, one of them ≥ 1")
    fits = fit_exchanges(config, context.seed)
    market = build_market(config, [model for model, _ in fits])
    points = points_of(market, config.points)
    train_key, play_key = jax.random.split(context.key)
    results, starts, notes = _learn(config, context, market, train_key)
    measured = _measure(config, context, market, points, [one.profile for one in results], play_key)
    before = _measure(config, context, market, points, starts, play_key, "behavior before learning")
    arrays = {"behavior": _behavior(market, measured[0], points), "response": _response(config, measured[1])}
    arrays["learning"] = _learning(market, results)
    signs = [claim.sign for claim in CLAIMS.values()]
    slopes = _slopes(arrays["behavior"], arrays["response"])
    judged = judge(slopes, signs, config.level)
    untrained = judge(_slopes(_behavior(market, before[0], points), _response(config, before[1])), signs, config.level)
    for name, *numbers, word in zip(CLAIMS, judged.slope, judged.error, judged.adjusted, judged.verdict, strict=True):
        context.log(
            "{}: slope {:+.3g} ± {:.2g} (standard error), Holm's p {:.2g}: ".format(name, *numbers) + WORD_OF[int(word)]
        )
    arrays["claims"] = _claims(slopes, judged, untrained, config.level)
    return StudyResult(
        _headline(config, judged, untrained, arrays["learning"]),
        warnings=[*dict.fromkeys(note for _, report in fits for note in report.notes), *notes],
        arrays=arrays,
        profile={f"training {place}": result.profile for place, result in enumerate(results)},
    )


def _measure(
    config: EmergentConfig,
    context: RunContext,
    market: OTCMarket,
    points: dict[str, Float[np.ndarray, " points"]],
    profiles: list[Profile],
    key: PRNGKeyArray,
    label: str = "behavior at every type",
) -> tuple[list[Sweep], list[Float[np.ndarray, " markets"]]]:
    """Sweep and convexity of every profile, each on episodes of its own: shared ones would be a common error."""
    held, episodes = base_of(market) if config.others == "base" else {}, config.evaluation_episodes
    swept, bent = [], []
    for place, profile in enumerate(profiles):
        context.progress.update(label, place / len(profiles))
        own, response = jax.random.split(jax.random.fold_in(key, place))
        swept.append(sweep(market, profile, points, held, own, episodes))
        bent.append(convexity(market, profile, config.pnl_takers, config.quote_deviation, response, episodes))
    return swept, bent


def _learn(
    config: EmergentConfig, context: RunContext, market: OTCMarket, key: PRNGKeyArray
) -> tuple[list[TrainResult], list[Profile], list[str]]:
    """The sound ones of all trainings, learned as one mapped computation; their starts; and what to warn of."""
    keys = jax.random.split(key, (config.trainings, 2))
    starts = [new_profile(config, market, one[0]) for one in keys]
    trained, _ = learn_seeds(config, context, [market] * len(keys), starts, [one[1] for one in keys], ROLES)
    sound = [one for one in trained if one.outcome is Outcome.COMPLETED]
    broken = [one.outcome for one in trained if one.outcome is not Outcome.COMPLETED]
    if len(sound) < 2:
        raise RunFailed(f"{len(broken)} of {len(trained)} trainings: {broken[0].value}", broken[0].remedy)
    notes = [f"{len(broken)} of {len(trained)} trainings are left out: {broken[0].value}"] if broken else []
    curves = {name: curve.mean(axis=0) for name, curve in _curves(market, sound).items()}
    settled = verdict(curves)
    begun = [start for start, one in zip(starts, trained, strict=True) if one.outcome is Outcome.COMPLETED]
    return sound, begun, [*notes, *([] if settled.converged else [settled.words])]


def _curves(market: OTCMarket, results: list[TrainResult]) -> dict[str, Float[np.ndarray, "trainings updates"]]:
    rewards = {role: np.stack([one.history["reward"][role] for one in results]) for role in ROLES}
    return by_supertype(market, rewards)


def _learning(market: OTCMarket, results: list[TrainResult]) -> xr.Dataset:
    curves = _curves(market, results)
    values = np.stack(list(curves.values()))
    coords = {"group": list(curves), "update": np.arange(1, values.shape[-1] + 1)}
    return xr.Dataset({"reward": (("group", "training", "update"), values)}, coords=coords)


def _behavior(market: OTCMarket, swept: list[Sweep], points: dict[str, Float[np.ndarray, " points"]]) -> xr.Dataset:
    """All statistics of all trainings at all points, and every statistic's slope on every attribute."""
    edges = inventory_edges(market)
    value, slope, skew, holding = (np.stack(parts) for parts in zip(*swept, strict=True))
    at = np.stack(list(points.values()))
    on = [[[slope_on(x, y) for x, y in zip(at, rows, strict=True)] for rows in one] for one in value]
    axes = ("training", "statistic", "attribute")
    return xr.Dataset(
        {
            "value": ((*axes, "point"), value),
            "slope": (axes, np.array(on)),
            "skew_slope": (("training", "attribute", "point", "quantile"), slope),
            "skew_by_inventory": (("training", "attribute", "point", "inventory"), skew),
            "holding_by_inventory": (("training", "attribute", "point", "inventory"), holding),
            "at": (("attribute", "point"), at),
        },
        coords={
            "statistic": list(STATISTICS),
            "attribute": list(points),
            "quantile": list(QUANTILES),
            "inventory": (edges[1:] + edges[:-1]) / 2,
        },
    )


def _response(config: EmergentConfig, bent: list[Float[np.ndarray, " markets"]]) -> xr.Dataset:
    """Convexity of F(ε) by the number of PnL takers."""
    coords = {"pnl_takers": list(config.pnl_takers)}
    return xr.Dataset({"convexity": (("training", "pnl_takers"), np.stack(bent))}, coords=coords)


def _slopes(behavior: xr.Dataset, response: xr.Dataset) -> Float[np.ndarray, "trainings claims"]:
    """The slope behind every claim in every training."""
    number = response.pnl_takers.values.astype(float)
    bent = np.array([slope_on(number, one) for one in response.convexity.values])
    columns = [
        bent
        if claim.statistic == "convexity"
        else behavior.slope.sel(statistic=claim.statistic, attribute=claim.attribute).values
        for claim in CLAIMS.values()
    ]
    return np.stack(columns, axis=1)


def _claims(
    slopes: Float[np.ndarray, "trainings claims"], judged: Verdicts, untrained: Verdicts, level: float
) -> xr.Dataset:
    columns = {name: ("claim", values) for name, values in judged._asdict().items() if name != "slope"}
    columns |= {"slope": (("training", "claim"), slopes), "sign": ("claim", [one.sign for one in CLAIMS.values()])}
    columns["untrained"] = ("claim", untrained.verdict)
    found = xr.Dataset(columns, coords={"claim": list(CLAIMS)})
    return found.assign_attrs(critical=first_critical(len(slopes), len(CLAIMS), level))


def _headline(config: EmergentConfig, judged: Verdicts, untrained: Verdicts, learning: xr.Dataset) -> EmergentHeadline:
    signs = np.array([claim.sign for claim in CLAIMS.values()])
    columns = (
        signs,
        np.sign(judged.slope),
        judged.t,
        judged.p_value,
        judged.adjusted,
        judged.verdict,
        untrained.verdict,
    )
    rewards = learning.reward.mean("training")
    curves = {str(name): rewards.sel(group=name).values for name in learning.group.values}
    return EmergentHeadline(
        claims_agree=int(np.sum(judged.verdict == 1)),
        claims_flat=int(np.sum(judged.verdict == 0)),
        claims_reversed=int(np.sum(judged.verdict == -1)),
        signs_agree=int(np.sum(np.sign(judged.slope) == signs)),
        hypotheses=len(CLAIMS),
        untrained_agree=int(np.sum(untrained.verdict == 1)),
        untrained_reversed=int(np.sum(untrained.verdict == -1)),
        trainings=learning.sizes["training"],
        claims=dict(zip(CLAIMS, map(_number, judged.slope), strict=True)),
        claims_error=dict(zip(CLAIMS, map(_number, judged.error), strict=True)),
        verdicts={name: list(map(_number, row)) for name, row in zip(CLAIMS, np.stack(columns, axis=1), strict=True)},
        reward_first={name: tenth(curve, first=True) for name, curve in curves.items()},
        reward_last={name: tenth(curve, first=False) for name, curve in curves.items()},
        updates=config.updates,
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def memory(config: EmergentConfig) -> dict[str, float]:
    """What learning holds, all trainings at once, and connections."""
    agents = max(sum(config.provider_counts) + sum(config.taker_counts), 1)
    decisions = 4.0 * 5 * agents * config.steps
    return {
        "trainings, episodes, steps": decisions * config.episodes * config.trainings,
        "evaluation_episodes, steps": decisions * config.evaluation_episodes,
        "trainings, width": 4.0 * 3 * config.width**2 * config.trainings,
        "trainings, updates": 4.0 * 4 * config.updates * config.trainings,
        "provider_counts, taker_counts": 4.0 * sum(config.provider_counts) * sum(config.taker_counts),
        "episodes, grid": 4.0 * 2 * (config.grid or LEAST_GRID) * config.episodes,
    }


STUDY = Study(
    name="emergent-behaviour",
    source="Vadori et al., arXiv 2210.07184, Section 5.2, Figures 3 and 9–24",
    shows="which of the paper's 24 claims about what providers learn hold over independent trainings, and which turn",
    config=EmergentConfig,
    run=run,
    memory=memory,
    presets={
        "quick": {
            "trainings": 5,
            "updates": 40,
            "episodes": 30,
            "width": 64,
            "passes": 6,
            "learning_rate": 2e-3,
            "final_learning_rate": 2e-4,
            "kl_target": 0.03,  # at 0.01 the penalty, not the updates, bounds how far the policies get
            "gae_lambda": 0.9,
            "points": 3,
            "evaluation_episodes": 50,
        },
        "paper": {"exchange": "mixture"},
    },
    minutes={"quick": 3.0, "paper": 4000.0},
    headline=EmergentHeadline,
    example="diffgames run emergent-behaviour --set trainings=8 --set updates=200",
    published="signs, as text and curves, without numbers",
    uncertified="claims are about what this procedure learns; `otc-market` certifies a profile of the same market",
    figures=FIGURES,
)
