"""The steps of the study `energy-market`: forecast, crowds, bids, clearing, attack, payments; and its parameters."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax
import numpy as np

from diffgames.energy import scores
from diffgames.energy.baselines import baseline_welfare, unplanned
from diffgames.energy.bidding import best_bid, bid_costs
from diffgames.energy.clearing import clear
from diffgames.energy.exact_clearing import linear_optimum
from diffgames.energy.forecast import YEAR, Forecast, back, by_day, covariates_of, first_known, fit_head, fit_location
from diffgames.energy.hours import Hours
from diffgames.energy.linear_program import quantities
from diffgames.energy.liquidity import draw_balances
from diffgames.energy.market import Market, check
from diffgames.energy.negotiation import negotiate
from diffgames.energy.payment_flows import flow_delivers
from diffgames.energy.payment_graph import PaymentGraph, read_payment_graph, scale_free_graph
from diffgames.energy.payments import Payer, Payment, pay
from diffgames.energy.plan import Plan, carried_out, drawn, worth
from diffgames.energy.prosumer_profiles import Supply, day_of
from diffgames.energy.prosumers import Choice, Prosumers
from diffgames.energy.settlement import best_responses, settle
from diffgames.errors import InvalidInput, RunFailed
from diffgames.risk import cvar
from diffgames.studies.prosumers import ProsumersConfig, crowd_from, supply_of
from diffgames.studies.study import Parameter

DAYS = 7
SHARES = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, kw_only=True)
class EnergyMarketConfig(ProsumersConfig):
    """The crowd of `prosumers`, and what the week adds."""

    day: Annotated[str | None, Parameter("first day of the week; null: the sunniest of the last year")] = None
    operator: Annotated[str | None, Parameter("series of the operator's forecast that is used; null: none")] = None
    trees: Annotated[int, Parameter("of the forecast, by each of two losses", "trees", minimum=1)] = 60
    updates: Annotated[int, Parameter("of each head of the forecast", "updates", minimum=1)] = 200
    scenarios: Annotated[int, Parameter("of every day", "scenarios", minimum=2, maximum=300)] = 40
    short: Annotated[float, Parameter("k⁺, beyond the price for what is short", "€/MWh", minimum=0.0)] = 30.0
    left: Annotated[float, Parameter("k⁻, below the price for what is left", "€/MWh", minimum=0.0)] = 10.0
    tail_mass: Annotated[float, Parameter("α, worst share of the scenarios", minimum=1e-3, maximum=1.0)] = 0.1
    gamma: Annotated[float, Parameter("γ, weight of the CVaR in bids", minimum=0.0, maximum=1.0)] = 0.5
    carbon: Annotated[float, Parameter("price of carbon on top", "€/t", minimum=0.0)] = 0.0
    intensity: Annotated[float, Parameter("carbon of the supply at the margin", "t/MWh", minimum=0.0)] = 0.4
    size: Annotated[float, Parameter("mean load of the neighborhood", "MW", minimum=1e-6)] = 2.0
    feeder: Annotated[float, Parameter("its feeder, in MW per MW of mean load", minimum=1e-6)] = 2.0
    fee: Annotated[float, Parameter("φ, of the grid each way", "€/MWh", minimum=0.0)] = 5.0
    rounds: Annotated[int, Parameter("of negotiation", "rounds", minimum=1)] = 120
    malicious: Annotated[float, Parameter("share of agents that attack", minimum=0.0, maximum=0.3)] = 0.1
    overstatement: Annotated[float, Parameter("share by which they report too much load", minimum=0.0)] = 0.5
    graph: Annotated[str | None, Parameter("CSV of a channel graph; null: a synthetic one")] = None
    nodes: Annotated[int, Parameter("of the synthetic graph", "nodes", minimum=40)] = 500
    sat_per_euro: Annotated[float, Parameter("assumed rate", "sat/€", minimum=1e-3)] = 1000.0


def forecast_week(config: EnergyMarketConfig, record: Hours, seed: int) -> tuple[dict[str, Any], int]:
    """Scores of the last year, forecast and scenarios of the week in MW, and its first day (since 1970)."""
    days, y = by_day(record, "load", "data")
    operator = None if config.operator is None else by_day(record, config.operator, "operator")[1]
    base = first_known(*([] if operator is None else [operator]), back(y, 7), back(y, 14))
    fitted = fit_location(y, base, covariates_of(days, y, operator), config.trees, seed)
    laws = [fit_head(fitted, head, updates=config.updates, seed=seed) for head in ("t", "normal")]
    held, last = y[fitted.held], [Forecast(law.location[YEAR:], law.scale[YEAR:], law.df[YEAR:]) for law in laws]
    crps = [float(np.nanmean(scores.crps_t(y[fitted.test], law.location, law.scale, law.df))) for law in last]
    above = np.where(np.isfinite(y[fitted.test]), y[fitted.test] > last[0].quantile(0.95), np.nan)
    sun, wind = (by_day(record, name, "data")[1] for name in ("solar", "wind"))
    whole = np.asarray(np.isfinite((sun + wind + y)[fitted.test] + last[0].location).all(axis=1))
    runs = np.flatnonzero(np.convolve(whole, np.ones(DAYS), "valid") == DAYS)
    first = days[fitted.test].astype("datetime64[D]").astype(int)
    if not runs.size:
        raise InvalidInput("data", "gaps in every week", "seven days in the last year without gaps")
    light = np.nan_to_num(sun[fitted.test].sum(axis=1))
    place = int(runs[np.convolve(light, np.ones(DAYS), "valid")[runs].argmax()])
    if config.day is not None:
        asked = [n for n in runs if str(days[fitted.test][n]) == config.day]
        if not asked:
            allowed = (
                f"a first day of a week without gaps from {days[fitted.test][runs[0]]} to {days[fitted.test][runs[-1]]}"
            )
            raise InvalidInput("day", config.day, allowed)
        place = int(asked[0])
    chosen = slice(place, place + DAYS)
    standard = (held - laws[0].location[:YEAR]) / laws[0].scale[:YEAR]
    past = standard[np.isfinite(standard).all(axis=1)]
    template = np.random.default_rng(seed).choice(past, config.scenarios, replace=False)
    law = Forecast(last[0].location[chosen], last[0].scale[chosen], last[0].df[chosen])
    return {
        "crps": crps[0],
        "crps_gaussian": crps[1],
        "violations": float(np.nanmean(above)),
        "violations_week": float(np.nanmean(above[chosen])),
        "load": law.quantile(0.5),
        "scenarios": law.scenarios(template),
    }, int(first[place])


def crowds_of_week(
    config: EnergyMarketConfig, profile: dict[str, Any], record: Hours, seed: int
) -> list[tuple[Prosumers, Prosumers, np.ndarray]]:
    """The crowd of the forecast, that which came, and the record's price, for every day."""
    supply = supply_of(config, record)
    supply = Supply(supply.intercept + config.carbon * config.intensity, supply.slope)
    found = []
    for n, load in enumerate(np.asarray(profile["load"])):
        real = day_of(record, str(np.datetime64(int(np.asarray(profile["first"])[0]) + n, "D")))
        ahead = replace(real, load=load / real.mean_load)
        observed = np.full(24, np.nan) if real.price is None else real.price
        found.append((crowd_from(config, ahead, supply, seed), crowd_from(config, real, supply, seed), observed))
    return found


def bids_of_day(
    config: EnergyMarketConfig, crowd: Prosumers, choice: Choice, real: Prosumers, factor: np.ndarray
) -> np.ndarray:
    """CVaR under the scenarios and cost as it came, € per MW: of the bids, then of the median; both of the crowd."""
    price, flow = crowd.price(choice), crowd.drawn(choice)
    totals = [np.zeros(len(factor)), np.zeros(len(factor))]
    came = np.zeros(2)
    for k, share in enumerate(config.share):
        own = crowd.kind == k
        load, rest = crowd.load[:, own].mean(1), (flow - crowd.load)[:, own].mean(1)
        need, actual = load * factor + rest, real.load[:, own].mean(1) + rest
        bid = best_bid(need, price, config.short, config.left, config.tail_mass, config.gamma)
        for n, one in enumerate((bid, np.median(need, axis=0))):
            totals[n] += share * bid_costs(need, price, one, config.short, config.left)
            came[n] += share * float(bid_costs(actual[None], price, one, config.short, config.left)[0])
    return np.array([*(float(cvar(total, config.tail_mass)) for total in totals), *came])


def neighborhood(
    config: EnergyMarketConfig, crowd: Prosumers, price: np.ndarray, stored: np.ndarray | None = None
) -> Market:
    """The crowd's agents behind one feeder, `size` MW of mean load in all, its batteries holding `stored` MWh."""
    scale, none = config.size * crowd.weight, np.zeros_like(crowd.load)
    hours, agents = crowd.load.shape
    return check(
        Market(
            price=price,
            feeder=np.full(hours, config.feeder * config.size),
            fee=config.fee,
            load=scale * crowd.load,
            solar=scale * crowd.solar,
            elastic=none,
            elastic_value=none,
            capacity=scale * crowd.capacity,
            start=scale * crowd.start if stored is None else stored,
            charge=scale * crowd.power,
            discharge=scale * crowd.power,
            charge_efficiency=np.full(agents, crowd.efficiency),
            discharge_efficiency=np.full(agents, crowd.efficiency),
            appliance=np.zeros(agents),
            startable=np.zeros((1, agents)),
            appliance_hours=hours,
        )
    )


def cleared_day(config: EnergyMarketConfig, market: Market, key: jax.Array) -> dict[str, Any]:
    """One day cleared, negotiated and settled; welfare by way, money by agent."""
    cleared = clear(market)
    plan = Plan._make(np.asarray(part) for part in cleared.plan)
    prices, capacity = np.asarray(cleared.prices), np.where(market.capacity > 0, market.capacity, 1.0)
    talk, rounds = negotiate(market, key, config.rounds)
    with jax.enable_x64(True):
        agreed = carried_out(market, Plan._make(np.asarray(part) for part in quantities(market, talk.x)))
    settled = settle(market, plan, prices)
    alone = drawn(market, carried_out(market, unplanned(market, battery=False)))
    buy, sell = ((market.price + sign * market.fee)[:, None] for sign in (1.0, -1.0))
    tariff = (buy * np.maximum(alone, 0.0) - sell * np.maximum(-alone, 0.0)).sum(0)
    owed = settled.energy + settled.uplift_share - settled.uplift
    return {
        "welfare": baseline_welfare(market) | {"negotiated": worth(market, agreed)},
        "best": linear_optimum(market).welfare,
        "prices": prices,
        "messages": float(np.asarray(rounds.messages).sum()) / market.agents,
        "seconds": float(np.asarray(rounds.milliseconds).sum()) / 1e3,
        "owed": owed,
        "gain": tariff - owed,
        "grid": settled.grid,
        "rent": settled.rent,
        "sum": settled.payments_sum,
        "net": plan.imports - plan.exports,
        "batteries": (plan.charge - plan.discharge).sum(1),
        "solar": plan.solar.sum(1),
        "load": market.load.sum(1),
        "profile": {
            **plan._asdict(),
            "stored_price": np.asarray(cleared.multipliers.stored) / capacity,
            "start_price": np.asarray(cleared.multipliers.start),
            "prices": prices,
        },
    }


def attacked_day(config: EnergyMarketConfig, market: Market, prices: np.ndarray, seed: int) -> dict[str, Any]:
    """What attackers cost others and gain, € of the day, for the configured share and for each of `SHARES`."""
    order = np.random.default_rng([seed, 2]).permutation(market.agents)
    honest = best_responses(market, prices)

    def changed(share: float) -> tuple[float, float]:
        liars = np.isin(np.arange(market.agents), order[: round(share * market.agents)])
        invented = config.overstatement * market.load * liars
        try:
            told = clear(replace(market, load=market.load + invented))
        except RunFailed as error:
            raise RunFailed(f"with {share:.0%} of the agents attacking, {error}", "raise feeder") from error
        moved = np.asarray(told.prices)
        lost = float(((moved - market.price + market.fee)[:, None] * invented).sum())
        load = np.asarray(market.load).sum(0)
        loss = honest - best_responses(market, moved) + lost * load / load.sum()
        return float(loss[~liars].sum()), -float(loss[liars].sum())

    by_share = {share: changed(share) if share > 0 else (0.0, 0.0) for share in {*SHARES, config.malicious}}
    return {"attack": by_share[config.malicious], "attacks": [by_share[share][0] for share in SHARES]}


def paid_week(
    config: EnergyMarketConfig, graph: PaymentGraph, owed: np.ndarray, seed: int
) -> list[tuple[Payment, int, bool]]:
    """Every agent's payment of every day, to or from the best connected node, from or to a node drawn for the agent.

    Each meets balances of its own: what became of it, msat, and whether a flow through them delivers it.
    """
    random, channels = np.random.default_rng([seed, 3]), np.bincount(graph.source, minlength=len(graph.nodes))
    hub, found = int(channels.argmax()), []
    others = np.setdiff1d(np.arange(len(graph.nodes)), hub)
    place = random.choice(others, owed.shape[1], replace=False)
    for day in owed:
        for agent, euros in enumerate(day.tolist()):
            ends = (int(place[agent]), hub) if euros > 0 else (hub, int(place[agent]))
            amount = max(round(abs(euros) * config.sat_per_euro), 1)
            balance = draw_balances(graph, random)
            made = pay(graph, balance, *ends, 1000 * amount, Payer(), random)
            found.append((made, 1000 * amount, flow_delivers(graph, balance, *ends, amount)))
    return found


def graph_of(config: EnergyMarketConfig, agents: int, seed: int) -> PaymentGraph:
    """The file's graph or the synthetic one; `InvalidInput` where it has fewer nodes than are needed."""
    drawn = config.graph is None
    graph = scale_free_graph(config.nodes, 4, seed) if config.graph is None else read_payment_graph(config.graph)
    if len(graph.nodes) <= agents:
        allowed = f"more than {agents} nodes: one for each agent and the operator"
        raise InvalidInput("nodes" if drawn else "graph", len(graph.nodes), allowed)
    return graph
