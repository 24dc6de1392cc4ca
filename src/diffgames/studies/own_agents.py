"""Agents by name: `--set provider.0=my_file.py:Quoter`, `--set taker.3=twap`, with arguments `"twap(share=-0.25)"`.

A shipped name is one of `PROVIDERS` or `TAKERS`. From a file comes a function f(observation, key), or a class whose
instances are such functions; arguments in brackets are the class's, or keywords of the function. An argument called
`market` is the market itself. What a function observes and answers stands in `games.fixed_agents`: a provider answers
(spread, skew, hedge) in ticks and lots, a taker a word, or {"buy": condition, "sell": condition}.
"""

import ast
import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from scipy.special import stdtrit

from diffgames.errors import InvalidInput, suggestion
from diffgames.games.fixed_agents import Agent, FixedAgents, fix_agents
from diffgames.games.market_making_input import market_making_game
from diffgames.markets import executors, quoters
from diffgames.markets.environment import OTCMarket
from diffgames.markets.market_state import StepRecord
from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies.registry import load_file
from diffgames.studies.study import Parameter

SPEC = re.compile(r"(?P<name>[^()]+?)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class OwnAgents:
    """Agents that play by a function instead of learning."""

    provider: Annotated[
        dict[str, str],
        Parameter("providers that do not learn: FILE.py:NAME or a shipped quoter", shape="{index: agent}"),
    ] = field(default_factory=dict)
    taker: Annotated[
        dict[str, str], Parameter("takers that do not learn: FILE.py:NAME or a shipped taker", shape="{index: agent}")
    ] = field(default_factory=dict)


def market_making(
    market: OTCMarket, risk_aversion: float | None = None, k: float | None = None, rate: float | None = None
) -> quoters.Quoter:
    """The exact solution of this library's market-making game of one regime, without a predator (`solvers`)."""
    gamma, k, rate, sigma, size = quoters.habits(market, risk_aversion, k, rate)
    game = market_making_game(
        gamma=gamma, k=k, A=rate, sigma=sigma, xi=0.0, switching="none", T=float(market.steps),
        inventory_max=quoters.LARGEST + 1,
    )  # fmt: skip
    solution = solve_market_maker(game, steps=market.steps)
    ask, bid = (np.asarray(one)[:, 0, 1:-1, 0] for one in (solution.ask, solution.bid))
    return quoters.from_table(ask, bid, size)


Maker = Callable[..., Agent]
PROVIDERS: dict[str, Maker] = {
    "avellaneda-stoikov": quoters.avellaneda_stoikov,
    "gueant": quoters.gueant,
    "cartea-jaimungal": quoters.cartea_jaimungal,
    "market-making": market_making,
}
TAKERS: dict[str, Maker] = {
    "twap": executors.twap,
    "vwap": executors.vwap,
    "pov": executors.pov,
    "almgren-chriss": executors.almgren_chriss,
    "momentum": executors.momentum,
    "informed": executors.informed,
    "coin-toss": executors.coin_toss,
}
SHIPPED = {"provider": PROVIDERS, "taker": TAKERS}


def named(config: OwnAgents) -> dict[tuple[str, int], str]:
    """{(role, index): words} of the agents that the configuration fixes, in order."""
    found = {}
    for role in SHIPPED:
        given: Mapping[str, str] = getattr(config, role)
        for place, words in given.items():
            if not place.isdecimal():
                raise InvalidInput(f"{role}.{place}", words, f"{role}.0, {role}.1, …: the number of a {role}")
            found[role, int(place)] = words
    return dict(sorted(found.items()))


def fixed_market(market: OTCMarket, config: OwnAgents) -> OTCMarket | FixedAgents:
    """The market with those agents fixed: itself where there are none; `InvalidInput` names the agent."""
    words = named(config)
    if not words:
        return market
    counts = {"provider": len(market.provider_supertype), "taker": len(market.taker_supertype)}
    for (role, index), text in words.items():
        if index >= counts[role]:
            raise InvalidInput(f"{role}.{index}", text, f"a {role} from {role}.0 to {role}.{counts[role] - 1}")
    return fix_agents(market, {place: agent(market, place, text) for place, text in words.items()}, words)


def pnl_by_agent(market: OTCMarket, record: StepRecord, fixed: Mapping[tuple[str, int], str]) -> dict[str, list[float]]:
    """PnL per episode of an agent of every kind, fixed or learned: mean, and half-width of its 95% interval."""
    pnl = {
        "provider": sum(
            np.asarray(one, np.float64) for one in (record.pnl_spread, record.pnl_inventory, record.pnl_penalty)
        ),
        "taker": np.asarray(record.taker_pnl, np.float64),
    }
    kinds: dict[str, list[np.ndarray]] = {}
    for role, supertypes in (("provider", market.provider_supertype), ("taker", market.taker_supertype)):
        for index, supertype in enumerate(supertypes):
            words = fixed.get((role, index))
            kind = f"{role}_{supertype} {'of the profile' if words is None else words}"
            kinds.setdefault(kind, []).append(np.sum(np.asarray(pnl[role])[..., index], axis=0))
    means = {kind: np.mean(agents, axis=0) for kind, agents in kinds.items()}
    return {
        kind: [float(one.mean()), float(stdtrit(len(one) - 1, 0.975) * one.std(ddof=1) / len(one) ** 0.5)]
        for kind, one in means.items()
    }


def check_sources(config: OwnAgents) -> None:
    """Raise `InvalidInput` where an agent's words, file or name cannot be: before a market is fitted for it."""
    for place, words in named(config).items():
        _source(place, words)


def agent(market: OTCMarket, place: tuple[str, int], words: str) -> Agent:
    """The function that `words` mean for the agent at `place`, (role, index)."""
    found, keywords = _source(place, words)
    if isinstance(found, type) or ".py:" not in words:
        return _made(f"{place[0]}.{place[1]}", words, found, keywords, market)
    return functools.partial(found, **keywords) if keywords else found


def _source(place: tuple[str, int], words: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The maker, class or function that `words` name, and its arguments."""
    key, shipped = f"{place[0]}.{place[1]}", SHIPPED[place[0]]
    parts = SPEC.fullmatch(words.strip())
    if parts is None:
        raise InvalidInput(key, words, "NAME or FILE.py:NAME, with arguments as in twap(share=-0.25)")
    keywords, name = _keywords(key, words, parts["arguments"]), parts["name"]
    if ".py:" not in name:
        if name not in shipped:
            raise InvalidInput(key, words, f"{suggestion(name, shipped)}, or FILE.py:NAME")
        return shipped[name], {name: float(value) if type(value) is int else value for name, value in keywords.items()}
    path, _, member = name.rpartition(":")
    try:
        module = load_file(Path(path))
    except InvalidInput as error:
        raise InvalidInput(key, words, error.allowed) from error
    found = getattr(module, member, None)
    if not callable(found):
        own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise InvalidInput(key, words, f"a function or class of {path}; {suggestion(member, own)}")
    return found, keywords


def _made(key: str, words: str, maker: Callable[..., Any], keywords: Mapping[str, Any], market: OTCMarket) -> Agent:
    """What a shipped maker or a class of the user's gives."""
    try:
        takes = inspect.signature(maker).parameters
        if "market" in takes:
            keywords = {**keywords, "market": market}
        made = maker(**keywords)
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error.key}", error.value, error.allowed) from error
    except Exception as error:
        raise InvalidInput(
            key, words, f"arguments that it takes ({type(error).__name__}: {_first_line(error)})"
        ) from error
    if not callable(made):
        raise InvalidInput(key, words, "a class with a method __call__(self, observation, key)")
    return made


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _keywords(key: str, words: str, arguments: str | None) -> dict[str, Any]:
    try:
        call = ast.parse(f"f({arguments or ''})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (AssertionError, SyntaxError, ValueError) as error:
        raise InvalidInput(key, words, "arguments by name, as in twap(share=-0.25)") from error
