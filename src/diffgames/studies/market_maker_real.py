"""Quotes from data: A, k, σ per volatility regime and the generator estimated from a record, then the game solved.

The record is a LOBSTER day, or quotes and trades (`market_maker_records`). Without files it is drawn from the model
itself with stated parameters (`calibration.market_maker.synthetic_record`), so that the estimates can be judged. Prices
are in the record's currency, times seconds, inventory in lots: `lot` units, or market orders of any size where it is
null. A fee per unit (negative: a rebate) is to the market maker what the impact of a fill is. The attacker of the game
can multiply every rate into a more volatile regime by 1 + `attack_scale`, the stabilizer can take the share
`stabilize_scale` of it away. What fills lose to the mid is estimated and quoted for, and the quotes are played on a
part of the record held out from the estimates (`market_maker_back_test`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from diffgames.calibration.market_maker import MarketFit, MarketRecord, fit_market, intervals
from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.market_making import MarketMakingGame
from diffgames.games.market_making_input import market_making_game
from diffgames.games.switching_graph import generator_of, spectral_gap
from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies import market_maker_figures as figures
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_back_test import (
    BackTest,
    back_test,
    disagreements,
    dwell_warnings,
    edge_panel,
    expected_impact,
    profit_panel,
    reach_table,
)
from diffgames.studies.market_maker_parameters import unit_warnings
from diffgames.studies.market_maker_real_headline import RealHeadline
from diffgames.studies.market_maker_records import (
    RecordParameters,
    fills_panel,
    mid_panel,
    orders_dataset,
    record_dataset,
    records,
    regimes_panel,
)
from diffgames.studies.study import Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_maker import certify_market_maker, profile_value


@dataclass(frozen=True, kw_only=True)
class RealConfig(RecordParameters):
    """The record, what is estimated from it, and the game that is played on the estimates."""

    regimes: Annotated[int, Parameter("volatility regimes", minimum=1, maximum=6)] = 2
    cutoff: Annotated[
        float, Parameter("quantile of the depths beyond which k is fitted", minimum=0.0, maximum=0.95)
    ] = 0.25
    adverse_selection: Annotated[bool, Parameter("quote for what fills lose to the mid")] = True
    fills: Annotated[
        Literal["reach", "queue"], Parameter("who fills at a price: the first in its queue, or the last")
    ] = "reach"
    lot: Annotated[
        float | None, Parameter("size of a lot; null: every order counts one", "shares or units", minimum=1e-12)
    ] = None
    fee: Annotated[float, Parameter("fee per unit filled; negative: a rebate", "currency/unit")] = 0.0
    pip: Annotated[float | None, Parameter("size of a pip, to print in; null: none", "currency", minimum=1e-12)] = None
    quote_grid: Annotated[
        float, Parameter("distance of prices that may be quoted; 0: any price", "tick", minimum=0.0)
    ] = 0.0
    train_share: Annotated[
        float, Parameter("share of the record that back-tested quotes come from", minimum=0.1, maximum=0.9)
    ] = 0.5
    gamma: Annotated[float, Parameter("risk aversion γ", "1/(currency·inventory)", minimum=0.0)] = 0.5
    xi: Annotated[float, Parameter("strength ξ of the predator", "currency²/s", minimum=0.0)] = 0.0005
    predator: Annotated[Literal["utility", "ce"], Parameter("units of the predator's cost")] = "utility"
    inventory_max: Annotated[int, Parameter("largest |inventory|", "inventory", minimum=1, maximum=1000)] = 10
    T: Annotated[float, Parameter("horizon", "s", minimum=1e-3, plausible=(1, 1e5))] = 300.0
    switching: Annotated[Literal["none", "exogenous", "strategic"], Parameter("what moves the regimes")] = "strategic"
    attack_scale: Annotated[
        float, Parameter("rates into worse regimes added by full attack, in multiples of their own", minimum=0.0)
    ] = 2.0
    stabilize_scale: Annotated[
        float, Parameter("share of these rates that full stabilizing takes away", minimum=0.0, maximum=1.0)
    ] = 0.5
    effort_attack: Annotated[float, Parameter("cost of attacking", "stress", minimum=0.0)] = 20.0
    effort_stabilize: Annotated[float, Parameter("cost of stabilizing", "stress", minimum=0.0)] = 20.0
    steps: Annotated[int, Parameter("intervals of the stored time grid", "steps", minimum=1)] = 300


def run(config: RealConfig, context: RunContext) -> StudyResult:
    """Read, estimate, solve, certify."""
    found, tick = records(config, context.seed)
    context.progress.update("estimating", 0.1)
    estimate = partial(fit_market, regimes=config.regimes, cutoff=config.cutoff, lot=config.lot)
    rules = by_rule(found, estimate, config)
    record, *others = [one.last_in_queue() if config.fills == "queue" else one for one in found]
    fit = estimate(record)
    between, notes = _with_other_clocks(fit, others, estimate, config)
    game = game_on(fit, config)
    context.progress.update("solving", 0.4)
    solution = solve_market_maker(game, steps=config.steps)
    profile = profile_of(game, solution) | parameters_of_fit(fit)
    certificate = certify_market_maker(game, profile)
    still = float((np.diff(record.mid) == 0).mean())
    context.progress.update("back-testing", 0.7)
    test, said = back_test(
        record,
        lambda one, adverse: _quotes(one, replace(config, adverse_selection=adverse)),
        regimes=config.regimes,
        cutoff=config.cutoff,
        share=config.train_share,
        tick=tick,
        grid=config.quote_grid,
        adverse=config.adverse_selection,
        lot=config.lot,
        fee=config.fee,
    )
    notes += said if test is None else disagreements(test.table())
    notes += dwell_warnings(fit, config.interval)
    warnings = [*record.notes, *notes, *regime_warnings(fit), *unit_warnings(game)]
    if still > 0.3:
        warnings.append(
            f"the mid price does not move in {100 * still:.0f}% of the intervals of {config.interval:g} s: volatility "
            "regimes may only tell moves from no moves; take a longer interval"
        )
    ask, bid = np.asarray(solution.ask)[0, :, :, 0], np.asarray(solution.bid)[0, :, :, 0]
    middle, cost = config.inventory_max, rounding_cost(game, profile, config.quote_grid * tick)
    spread = ask[:, middle] + bid[:, middle]
    return StudyResult(
        RealHeadline(
            sigma=fit.sigma,
            sigma_interval=between["sigma"],
            A=fit.A,
            A_interval=between["A"],
            k=fit.k,
            k_interval=between["k"],
            generator=fit.generator,
            share=fit.share,
            orders=fit.orders,
            misfit=fit.misfit,
            log_likelihood=fit.regimes.log_likelihood,
            criterion=fit.regimes.criterion,
            regimes_supported=fit.regimes.supported,
            theta0=np.asarray(solution.theta)[0],
            ask=ask,
            bid=bid,
            spread=spread / tick,
            rounding_cost=None if cost is None else cost[:, middle] / tick,
            **rules,
            spectral_gap=spectral_gap(generator_of(np.asarray(solution.rates)[0, :, :, middle])),
            impact=_known(fit.impact / tick),
            impact_interval=_known(between["impact"] / tick),
            market_spread=None if record.spread is None else float(np.median(record.spread)) / tick,
            **(tested := _tested(test)),
            in_units=in_units(record, spread, tested, tick, config),
        ),
        certificate=certificate,
        warnings=warnings,
        arrays={
            "record": record_dataset(record, fit),
            "orders": orders_dataset(record, fit),
            "reach": reach_table(record, tick),
            "solution": figures.dataset(game, solution, price="$", time="s"),
        }
        | ({} if test is None else {"back_test": test.table()}),
        profile=profile,
    )


def _quotes(fit: MarketFit, config: RealConfig) -> tuple[np.ndarray, np.ndarray]:
    """Ask and bid offsets at t = 0 of the game on these estimates."""
    solution = solve_market_maker(game_on(fit, config), steps=config.steps)
    return np.asarray(solution.ask)[0, :, :, 0], np.asarray(solution.bid)[0, :, :, 0]


def _known(values: np.ndarray) -> np.ndarray | None:
    """The values, or none where one of them could not be estimated."""
    return values if np.all(np.isfinite(values)) else None


def _tested(test: BackTest | None) -> dict[str, Any]:
    """The headline values of the back-test, null where there is none."""
    names = ("promised_edge", "realised_edge", "realised_edge_error", "held_out_fills")
    tables = ("edge_by_quoter", "profit_by_quoter", "profit_error_by_quoter")
    if test is None:
        return dict.fromkeys((*names, *tables, "model_by_regime"))
    every = test.table()
    table = every.sel(regime="all")
    model = table.sel(quoter="model")
    found: dict[str, Any] = {}
    for name, key in zip(names, ("promised", "realised", "realised_error", "fills"), strict=True):
        value = float(model[key])
        found[name] = value if np.isfinite(value) else None
    for name, key in zip(tables, ("realised", "profit", "profit_error"), strict=True):
        values = {str(one): float(table[key].sel(quoter=one)) for one in table.quoter.values}
        found[name] = {one: value if np.isfinite(value) else None for one, value in values.items()}
    alone = every.sel(quoter="model").drop_sel(regime="all")
    rows = {str(name): alone[name].values.tolist() for name in alone.data_vars}
    found["model_by_regime"] = {name: [x if np.isfinite(x) else None for x in row] for name, row in rows.items()}
    return found


def regime_warnings(fit: MarketFit) -> list[str]:
    """Cautions about the number of regimes, and about a fit that has not settled."""
    found, notes = fit.regimes, []
    if found.supported < len(found.sigma):
        words = "no regimes" if found.supported == 1 else f"{found.supported} regimes"
        shown = ", ".join(f"{one:.6g}" for one in found.criterion)
        notes.append(f"the record supports {words}, not {len(found.sigma)} (BIC with 1, 2, … regimes: {shown})")
    if not found.converged:
        notes.append(f"the regimes' fit has not converged in {found.iterations} iterations")
    return notes


def verify(config: RealConfig, profile: dict, context: RunContext) -> Certificate:
    """The certificate of a stored profile, on the parameters stored with it."""
    return certify_market_maker(_game(config, profile), profile)


def game_on(fit: MarketFit, config: RealConfig) -> MarketMakingGame:
    """The game on the estimates; regimes are in the order of rising volatility."""
    return _game(config, parameters_of_fit(fit))


def parameters_of_fit(fit: MarketFit) -> dict[str, np.ndarray]:
    """What the game takes from the estimates."""
    return {"sigma": fit.sigma, "A": fit.A, "k": fit.k, "generator": fit.generator, "impact": expected_impact(fit)}


def _game(config: RealConfig, estimates: dict) -> MarketMakingGame:
    generator = np.asarray(estimates["generator"], float)
    upward = np.triu(generator, 1)
    return market_making_game(
        gamma=config.gamma,
        k=tuple(np.asarray(estimates["k"], float).tolist()),
        A=tuple(np.asarray(estimates["A"], float).tolist()),
        sigma=tuple(np.asarray(estimates["sigma"], float).tolist()),
        impact=tuple((config.fee + config.adverse_selection * np.asarray(estimates["impact"], float)).tolist()),
        xi=config.xi,
        predator=config.predator,
        inventory_max=config.inventory_max,
        T=config.T,
        generator=generator.tolist(),
        attack=(config.attack_scale * upward).tolist(),
        stabilize=(config.stabilize_scale * upward).tolist(),
        effort_attack=config.effort_attack,
        effort_stabilize=config.effort_stabilize,
        switching=config.switching,
    )


def _with_other_clocks(
    fit: MarketFit, others: list[MarketRecord], estimate: Callable[[MarketRecord], MarketFit], config: RealConfig
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Intervals of the estimates, and what the moment at which the grid of times begins does to them, in words."""
    fits, notes = [fit], []
    for record in others:
        try:
            fits.append(estimate(record))
        except (InvalidInput, RunFailed):
            notes.append(f"with a grid of times that begins {record.wait:g} s later the regimes cannot be fitted")
    found = np.stack([one.sigma for one in fits])
    least, most = found.min(axis=0), found.max(axis=0)
    notes += [
        f"σ of regime {i} is {least[i]:.3g} to {most[i]:.3g} as the grid of {config.interval:g} s begins at other "
        "moments, more than its standard error allows: the model of a diffusion is rough here"
        for i in np.flatnonzero(most - least > 4 * fit.sigma_error)
    ]
    if not np.all(np.isfinite(fit.sigma_error)):
        notes.append("the likelihood is flat in a volatility: it has no standard error; fit fewer regimes")
    return intervals(fits), notes


def by_rule(
    found: list[MarketRecord], estimate: Callable[[MarketRecord], MarketFit], config: RealConfig
) -> dict[str, Any]:
    """A and k with their intervals by both rules of who fills, where the record tells them apart."""
    if found[0].behind is None:
        return dict.fromkeys(("A_by_fills", "k_by_fills"))
    said: dict[str, Any] = {"A_by_fills": {}, "k_by_fills": {}}
    for rule in ("reach", "queue"):
        try:
            fit = estimate(found[0] if rule == "reach" else found[0].last_in_queue())
        except (InvalidInput, RunFailed):
            fit = None
        for name in ("A", "k"):
            values = None if fit is None else np.stack([getattr(fit, name), *intervals([fit])[name].T], axis=1)
            said[f"{name}_by_fills"][rule] = values
    return said


def rounding_cost(game: MarketMakingGame, profile: dict[str, Any], grid: float) -> np.ndarray | None:
    """Certainty equivalent given up at t = 0, [regimes, inventories], by offsets rounded up to multiples of `grid`."""
    if grid <= 0:
        return None
    rounded = {side: np.ceil(np.asarray(profile[side]) / grid - 1e-9) * grid for side in ("ask", "bid")}
    return profile_value(game, profile) - profile_value(game, profile | rounded)


def in_units(
    record: MarketRecord, spread: np.ndarray, tested: dict[str, Any], tick: float, config: RealConfig
) -> dict[str, Any]:
    """Spreads and the realised edge in currency (per lot where there is one), basis points of the price, and pips."""
    price, lot = float(np.median(record.mid)), config.lot or 1.0
    units = {"currency": 1.0 / lot, "basis points": price / 1e4} | ({"pips": config.pip} if config.pip else {})
    edge = tested["realised_edge"]
    market = None if record.spread is None else float(np.median(record.spread))
    found: dict[str, Any] = {}
    for unit, size in units.items():
        found[f"spread, {unit}"] = spread / size
        found[f"market spread, {unit}"] = None if market is None else market / size
        found[f"realised edge, {unit}"] = None if edge is None else edge * tick / size
    return found


def memory(config: RealConfig) -> dict[str, float]:
    """The synthetic record's rows, and θ, U, quotes and efforts at all times."""
    rows = config.seconds / config.interval if config.messages is None and config.quotes is None else 0.0
    cells = config.regimes * (2 * config.inventory_max + 1)
    return {"seconds, interval": 8.0 * 3 * rows, "steps, inventory_max": 8.0 * 6 * config.steps * cells}


STUDY = Study(
    name="market-maker-real",
    source="Avellaneda & Stoikov 2008 and Pan & Zhu 2025 on estimated parameters",
    shows="quotes on A, k, σ per volatility regime and a generator estimated from a LOBSTER day, or quotes and trades",
    config=RealConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"seconds": 23400.0}},
    minutes={"quick": 0.5, "paper": 1},
    headline=RealHeadline,
    example="diffgames run market-maker-real --set messages=message.csv.gz orderbook=orderbook.csv.gz interval=5",
    published="other data; their numbers are not reproduced here",
    figures={
        "back_test": Drawing(
            "a quoter keeps its promise where the bars of an edge agree", "back_test", edge_panel, profit_panel
        ),
        "reach": Drawing(
            "deeper orders move the mid more: what one impact per regime leaves out",
            "reach",
            lines("markout", half_width="half_width", title="Mark-out of the orders that reach a distance"),
        ),
        "record": Drawing(
            "the price, and beside it the regime it is taken to be in", "record", mid_panel, regimes_panel
        ),
        "fills": Drawing(
            "in each regime the observed rates follow the fitted line beyond the cutoff", "orders", fills_panel
        ),
        "quotes": Drawing("spread and skew on the estimates", "solution", whole=figures.spread_and_skew),
        "regimes": Drawing("arrows are as wide as their rates", "solution", *figures.GRAPH, width=4.6, height=4.4),
    },
)
