"""Providers and takers learn an over-the-counter market on a fitted exchange (Vadori et al., Section 5.2).

The exchange agent is fitted to level-2 data (a file, or synthetic data with stated parameters); both shared policies,
one per role and conditioned on the agents' types, are learned together by PPO; then the first provider's behaviour is
measured on held-out episodes and the profile is certified: for one agent of every supertype deviators are trained
against everyone else's frozen policies, and what the best gains on paired held-out episodes is reported with its
interval, its budget and its learning curve.

Agents named by `provider.0=…`, `taker.3=…` play by a function instead (`own_agents`), and the others learn beside them.
With `taker_probabilities` takers are fixed: they hold, buy and sell at random, whatever they see (Section 5.1's flow),
and only the providers learn. With `profile=RUN` nothing is trained: the profile of an earlier run plays the market that
the parameters describe, its observations scaled by that market's own units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games.fixed_agents import FixedAgents
from diffgames.input_files import input_files, other_inputs
from diffgames.learning.policy import FixedProbabilities, Profile
from diffgames.learning.rollout import evaluate
from diffgames.learning.standing import Compared
from diffgames.learning.train import TrainResult, value_clip_notes
from diffgames.learning.verdict import verdict
from diffgames.markets import behaviour
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import LEAST_GRID
from diffgames.markets.fit_report import FitReport
from diffgames.markets.market_state import StepRecord
from diffgames.markets.supertypes import by_supertype, supertypes_of
from diffgames.records import load_profile, open_run
from diffgames.studies import otc_figures
from diffgames.studies.certificate_parameters import CertificateParameters, learning_memory
from diffgames.studies.context import RunContext
from diffgames.studies.exchange_parameters import snapshots_of
from diffgames.studies.learning_parameters import Task, new_profile, ppo_configs, run_learned, run_learned_seeds, tenth
from diffgames.studies.market_desk import DRAWINGS, herding, look, unserved
from diffgames.studies.market_parameters import MarketParameters, build_market, check_walls, fit_exchanges
from diffgames.studies.otc_arrays import evaluation_of, learning_of, scores_of
from diffgames.studies.own_agents import OwnAgents, check_sources, fixed_market, named, pnl_by_agent
from diffgames.studies.parameters import text_values
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.studies.type_certificate import certify_market, gains_by_type, headline_by_type
from diffgames.verification.certificate import Certificate

ROLES = ("provider", "taker")


@dataclass(frozen=True, kw_only=True)
class OTCConfig(CertificateParameters, MarketParameters, OwnAgents):
    """The market, how it is learned, and how it is judged."""

    taker_probabilities: Annotated[
        tuple[float, float, float] | None,
        Parameter("fixed takers: probabilities to hold, buy and sell; null: they learn", shape="3", minimum=0.0),
    ] = None
    profile: Annotated[str | None, Parameter("run folder whose profile plays instead of learning")] = None


def run(config: OTCConfig, context: RunContext) -> StudyResult:
    """Fit, learn (or take the profile that is given), measure, certify."""
    task = _prepare(config, context)
    if task.roles:
        return run_learned(lambda config, context: task, _finish, config, context)
    return _finish(config, context, task, None, None)


def run_seeds(config: OTCConfig, context: RunContext, seeds: Sequence[int]) -> list[StudyResult]:
    """Several seeds, learned together; each fits its own exchange."""
    if config.profile is None and not named(config):
        return run_learned_seeds(_prepare, _finish, config, context, seeds)
    return [run(config, context.of_seed(seed)) for seed in seeds]


def _prepare(config: OTCConfig, context: RunContext) -> Task:
    check_sources(config)
    market, reports = _market(config, context)
    start_key, train_key, _, _ = jax.random.split(context.key, 4)
    fixed = _fixed_takers(config)
    start = new_profile(config, market, start_key) if config.profile is None else _loaded(config.profile, market)
    played, roles = fixed_market(market, config), tuple(role for role in ROLES if role not in fixed)
    learns = {role: _learning(config, market, role) for role in roles}
    learning = tuple(role for role in roles if config.profile is None and learns[role].any())
    groups = tuple(
        (role, tuple(np.flatnonzero(among).tolist()))
        for role in learning
        for among in supertypes_of(market, role, learns[role]).values()
    )
    return Task(played, start | fixed, train_key, learning, notes=reports, compared=Compared(groups, enough=0.0))


def _finish(
    config: OTCConfig, context: RunContext, task: Task, result: TrainResult | None, speed: float | None
) -> StudyResult:
    """Measure the profile that was learned or given, and certify it."""
    reports, keys = task.notes, jax.random.split(context.key, 4)
    market: Any = task.game.game if isinstance(task.game, FixedAgents) else task.game
    learns = {role: _learning(config, market, role) for role in ROLES}
    history = {} if result is None else result.history
    rewards = {name: np.asarray(value) for name, value in history.get("reward", {}).items()}
    curves = by_supertype(market, rewards, learns)
    judged = verdict(curves, _exchange_share(config, history)) if curves else None
    profile, through = task.start, 0
    if result is not None:
        below = judged is not None and judged.below
        profile, through = (result.best, result.best_updates) if below else (result.profile, result.updates)
    returns, record = evaluate(task.game, profile, keys[2], config.evaluation_episodes)
    check_walls(market, record)
    path = config.data if isinstance(config.data, str | None) else config.data[0]
    data = snapshots_of(path, context.seed, config)
    seen = look(record, market, data, reports[0].step)
    certificate = certify_market(config, context, task.game, profile, learns, keys[3])
    headline = {
        "converged": None if judged is None else int(judged.converged),
        "reward_slope": {name: [judged.trends[name].change, judged.trends[name].change_error] for name in curves}
        if judged
        else None,
        "reward_first": {name: tenth(curve, first=True) for name, curve in curves.items()} or None,
        "reward_last": {name: tenth(curve, first=False) for name, curve in curves.items()}
        or {name: float(value.mean()) for name, value in by_supertype(market, returns).items()},
        "updates": 0 if result is None else config.updates,
        "kept_update": None if result is None else through,
        "agent_steps_per_second": speed,
        "imbalance": float(np.abs(np.asarray(record.imbalance)).max()),
        "facts": seen.facts,
        **herding(market, record),
        "gap_by_type": headline_by_type(certificate),
        **measurements(record),
        "pnl_by_agent": pnl_by_agent(market, record, named(config)),
    }
    figures: dict[str, Any] = {
        "market_day": otc_figures.market_day(record, data),
        "skew": otc_figures.skew_against_inventory(record),
        "shares": otc_figures.market_shares(*_per_provider(record)),
        "connectivity": otc_figures.connectivity_graph(record, market.taker_supertype),
    }
    if certificate.entries:
        figures["deviators"] = otc_figures.deviation_curves(certificate)
        figures["types"] = gains_by_type(certificate)
    if curves:
        share = np.asarray(history["market_share"])
        figures = {"learning": otc_figures.learning_curves(curves, share), **figures}
    return StudyResult(
        headline=headline,
        certificate=certificate,
        warnings=[
            *([judged.words] if judged and not judged.converged else ()),
            *dict.fromkeys(note for report in reports for note in report.notes),
            *(value_clip_notes(history, ppo_configs(config, market)) if history else ()),
            *unserved(record),
            *seen.warnings,
            *(_other_data(config) if config.profile is not None else ()),
        ],
        arrays={
            "evaluation": evaluation_of(record),
            "learning": learning_of(curves, history),
            "exchange_fit": scores_of(reports),
            **seen.arrays,
        },
        profile=profile,
        figures=figures,
    )


def play(config: OTCConfig, context: RunContext) -> StepRecord:
    """The episodes in which a run evaluates the profile that `config.profile` names."""
    task = _prepare(config, context)
    record = evaluate(task.game, task.start, jax.random.split(context.key, 4)[2], config.evaluation_episodes)[1]
    check_walls(task.game, record)
    return record


def verify(config: OTCConfig, profile: Profile, context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed from its parameters and seed."""
    market, _ = _market(config, context)
    learns = {role: _learning(config, market, role) for role in ROLES}
    key = jax.random.split(context.key, 4)[3]
    return certify_market(config, context, fixed_market(market, config), profile, learns, key)


def measurements(record: StepRecord, provider: int = 0) -> dict[str, Any]:
    """The headline's measurements of one provider's behaviour, and everyone's market share."""
    skew = behaviour.skew_regression(record, provider)
    return {
        "market_share": np.asarray(record.running_share)[-1].mean(axis=0),
        "pnl_spread": float(behaviour.episode_total(record.pnl_spread, provider).mean()),
        "pnl_inventory": float(behaviour.episode_total(record.pnl_inventory, provider).mean()),
        "pnl_penalty": float(behaviour.episode_total(record.pnl_penalty, provider).mean()),
        "hedge_fraction": behaviour.hedge_fraction(record, provider),
        "skew_intensity": skew.slope if np.isfinite(skew.slope) else None,
        "skew_standard_error": skew.standard_error if np.isfinite(skew.slope) else None,
        "mean_abs_inventory": behaviour.mean_abs_inventory(record, provider),
        "holding_time": behaviour.holding_time(record, provider),
    }


def _exchange_share(config: OTCConfig, history: dict[str, Any]) -> dict[str, np.ndarray]:
    """The exchanges' share of the takers' volume at the end of the episodes of each update.

    Nothing where providers' shares are of each other's volume: they sum to one then, whatever the exchanges have.
    """
    if config.share == "providers":
        return {}
    return {"the exchange's share": 1.0 - np.asarray(history["market_share"], np.float64).sum(axis=-1)}


def _learning(config: OTCConfig, market: OTCMarket, role: str) -> np.ndarray:
    """Which agents of a role the profile plays."""
    fixed = [index for name, index in named(config) if name == role]
    return ~np.isin(np.arange(market.role(role).count), fixed)


def _market(config: OTCConfig, context: RunContext) -> tuple[OTCMarket, list[FitReport]]:
    files = [config.data] if isinstance(config.data, str) else config.data or ["synthetic data"]
    context.log(f"fitting the exchange agent to {', '.join(files)}")
    fits = fit_exchanges(config, context.seed)
    for _, report in fits:
        context.log(str(report))
    return build_market(config, [model for model, _ in fits]), [report for _, report in fits]


def _fixed_takers(config: OTCConfig) -> Profile:
    """The takers' policy where their probabilities are given, else nothing."""
    if config.taker_probabilities is None:
        return {}
    if abs(sum(config.taker_probabilities) - 1.0) > 1e-6:
        raise InvalidInput("taker_probabilities", list(config.taker_probabilities), "three probabilities that sum to 1")
    return {"taker": FixedProbabilities.of(list(config.taker_probabilities))}


def _loaded(folder: str, market: OTCMarket) -> Profile:
    """The stored profile, if it can play this market: observations must have the same length."""
    profile = load_profile(Path(folder))
    for role in market.roles:
        policy = profile.get(role.name) if isinstance(profile, dict) else None
        if policy is None:
            raise InvalidInput("profile", folder, f"a run whose profile has the roles {', '.join(ROLES)}")
        try:
            jax.eval_shape(
                policy, policy.initial_carry(1), jax.ShapeDtypeStruct((1, role.observation_size), np.float32)
            )
        except (TypeError, ValueError) as error:
            allowed = f"a profile whose {role.name} observes {role.observation_size} features (same supertype counts)"
            raise InvalidInput("profile", folder, allowed) from error
    return profile


def _other_data(config: OTCConfig) -> list[str]:
    """What the run of the given profile read and this one does not."""
    before, now = open_run(str(config.profile)).config.get("inputs", {}), input_files(text_values(config))
    before, now = ({name: file for name, file in one.items() if name != "profile"} for one in (before, now))
    return [f"the profile was learned from other data; {words}" for words in other_inputs(before, now)]


def _per_provider(record: StepRecord) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    share = np.asarray(record.running_share, np.float64)[-1]
    spread, drift = (np.asarray(v, np.float64).sum(axis=0) for v in (record.pnl_spread, record.pnl_inventory))
    return share, spread, drift


def memory(config: OTCConfig) -> dict[str, float]:
    """What learning holds, connections, and the books of all episodes."""
    agents = sum(config.provider_counts) + sum(config.taker_counts)
    orders = config.book_capacity if config.engine == "fifo" else config.grid or LEAST_GRID
    return {
        **learning_memory(config, max(agents, 1), config.steps),
        "provider_counts, taker_counts": 4.0 * sum(config.provider_counts) * sum(config.taker_counts),
        "episodes, book_capacity" if config.engine == "fifo" else "episodes, grid": 4.0 * 2 * orders * config.episodes,
    }


STUDY = Study(
    name="otc-market",
    source="Vadori et al., arXiv 2210.07184, Section 5.2",
    shows="liquidity providers learn to skew and hedge while takers learn when to trade, on a fitted exchange",
    config=OTCConfig,
    run=run,
    memory=memory,
    run_seeds=run_seeds,
    verify=verify,
    presets={
        "quick": {
            "updates": 100,
            "width": 64,
            "passes": 6,
            "learning_rate": 1e-3,
            "final_learning_rate": 1e-4,
            "gae_lambda": 0.9,
            "validation_episodes": 50,
            "certificate_episodes": 200,
            "deviator_updates": 30,
            "deviator_passes": 6,
            "deviator_learning_rate": 2e-3,
            "mark": "book",
            "clock": "private",
        },
        "paper": {"exchange": "mixture"},
    },
    minutes={"quick": 4.0, "paper": 900.0},
    headline={
        "converged": Headline(
            "1 where rewards (and the exchange's share, if counted) settled, nobody below withdrawing; else 0",
            optional=True,
        ),
        "reward_slope": Headline(
            "change of the reward over the last quarter of training, and half-width of its 95% interval",
            shape="{role_supertype: change and half-width}",
            optional=True,
        ),
        "reward_first": Headline(
            "mean episode reward, first tenth of training", shape="{role_supertype: number}", optional=True
        ),
        "reward_last": Headline(
            "mean episode reward, last tenth of training (or evaluated)", shape="{role_supertype: number}"
        ),
        "gap_by_type": Headline(
            "gain of the best rule given the agent's type, and half-width of its 95% interval",
            shape="{agent and type: gain and half-width}",
        ),
        "market_share": Headline("share of the takers' volume that `share` names", "1", shape="providers"),
        "pnl_spread": Headline("first provider's spread PnL per episode", "ticks × lots"),
        "pnl_inventory": Headline("first provider's inventory PnL per episode", "ticks × lots"),
        "pnl_penalty": Headline(
            "first provider's change of ℓ per episode: what selling out costs (mark=book)", "ticks × lots"
        ),
        "flow_variance_ratio": Headline(
            "variance of all takers' net flow a step over that of independent takers with the same frequencies",
            "1",
            optional=True,
        ),
        "flow_variance_ratio_error": Headline("half-width of its 95% interval", "1", optional=True),
        "flow_variance_ratio_10": Headline(
            "the same of flow over ten steps together, where a slow common order shows best", "1", optional=True
        ),
        "flow_variance_ratio_10_error": Headline("half-width of its 95% interval", "1", optional=True),
        "flow_variance_by_supertype": Headline(
            "the same of the takers of each supertype alone; a herd has their number, independent takers 1",
            "1",
            shape="{taker supertype: ratio and half-width}",
            optional=True,
        ),
        "hedge_fraction": Headline("first provider's mean hedge fraction while it holds inventory", "1"),
        "skew_intensity": Headline(
            "slope of the first provider's ε_skew on its inventory", "market spreads per lot", optional=True
        ),
        "skew_standard_error": Headline(
            "standard error of the slope, clustered by episode, of evaluation alone",
            "market spreads per lot",
            optional=True,
        ),
        "mean_abs_inventory": Headline("first provider's mean |inventory|", "lots"),
        "holding_time": Headline("first provider's mean time until its inventory changes sign", "steps"),
        "pnl_by_agent": Headline(
            "PnL per episode of an agent of every kind, and half-width of its 95% interval, held out",
            "ticks × lots",
            shape="{agent: mean and half-width}",
        ),
        "imbalance": Headline("largest sum over all accounts, zero up to rounding", "lots or ticks × lots"),
        "facts": Headline(
            "stylised facts of the first exchange (docs/markets/tape.md has each with its unit)",
            shape="{statistic: source}",
            optional=True,
        ),
        "updates": Headline("policy updates made", "updates"),
        "kept_update": Headline(
            "updates behind the kept profile: all, unless a supertype ends below withdrawing (docs/markets)",
            "updates",
            optional=True,
        ),
        "agent_steps_per_second": Headline(
            "agents' decisions per second of training", "1/s", timing=True, optional=True
        ),
    },
    example="diffgames run otc-market --set data=level2.csv.gz --set taker_counts=[12,4]",
    published="its results for this market as curves, without numbers",
    figures={
        "learning": "rewards rise and settle, shares with them",
        "market_day": "the provider's quotes lean against its inventory",
        "skew": "the line falls: more inventory, lower quotes",
        **DRAWINGS,
    },
)
