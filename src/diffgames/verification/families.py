"""Which route certifies a game that is neither linear-quadratic nor given as a `DifferentialGame`.

| game | profile | route |
|---|---|---|
| `MarketMakingGame` | table of quotes, push and efforts | `market_maker`: best responses by LSODA |
| `PortfolioGame` | `PortfolioEquilibrium` | `portfolio_deviator`: strategies trained on simulated markets |
| `DistributedGame` | policy, with its `grid` and `patience` | `player_deviator`: all players at once on common noise |
| `TypedMeanFieldGame` | `FrozenCrowd` | `mean_field_response`: finer grids, or trained by a `deviator` |
| `DiscreteMeanFieldGame` | `PlayedPolicy`, or a policy | `mean_field_discrete`: best response by linear programming |
| a Markov game | policy per role, with `agents`, `config`, `updates` | `best_response`: deviators trained by PPO |

Options are those of the route, `budget` among them. Any other profile is judged on the game's `as_differential()`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

from jaxtyping import PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.distributed import DistributedGame
from diffgames.games.market_making import MarketMakingGame
from diffgames.games.markov import AbstractMarkovGame
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame, played_policy
from diffgames.games.mean_field_frozen import FrozenCrowd
from diffgames.games.mean_field_grid import TypedMeanFieldGame
from diffgames.games.portfolio import PortfolioEquilibrium, PortfolioGame
from diffgames.verification.best_response import exploitability
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_maker import certify_market_maker
from diffgames.verification.mean_field_discrete import certify_mean_field
from diffgames.verification.mean_field_response import CrowdSearch, response_gaps, trained_gaps
from diffgames.verification.player_deviator import certify_players
from diffgames.verification.portfolio_deviator import PortfolioBudget, certify_portfolio

Door = Callable[..., Certificate]


@singledispatch
def family_door(game: Any, profile: Any, options: Mapping[str, Any]) -> Door | None:
    """The route of the game's own family, a function of game, profile and options; None where there is none."""
    return None


@family_door.register
def _(game: MarketMakingGame, profile: Any, options: Mapping[str, Any]) -> Door | None:
    return certify_market_maker if isinstance(profile, Mapping) else None


@family_door.register
def _(game: PortfolioGame, profile: Any, options: Mapping[str, Any]) -> Door | None:
    if not isinstance(profile, PortfolioEquilibrium):
        raise InvalidInput("profile", type(profile).__name__, "a PortfolioEquilibrium, as solve(game) returns it")
    return _certify_portfolio


@family_door.register
def _(game: DistributedGame, profile: Any, options: Mapping[str, Any]) -> Door | None:
    return certify_players if "grid" in options else None


@family_door.register
def _(game: TypedMeanFieldGame, profile: Any, options: Mapping[str, Any]) -> Door | None:
    if not isinstance(profile, FrozenCrowd):
        raise InvalidInput(
            "profile", type(profile).__name__, "a solution of solve_mean_field, or frozen(…) of its arrays"
        )
    return _certify_crowd


@family_door.register
def _(game: DiscreteMeanFieldGame, profile: Any, options: Mapping[str, Any]) -> Door | None:
    return _certify_policy


@family_door.register
def _(game: AbstractMarkovGame, profile: Any, options: Mapping[str, Any]) -> Door | None:
    return exploitability


def certified(door: Door, game: Any, profile: Any, key: PRNGKeyArray, options: Mapping[str, Any]) -> Certificate:
    """The route's certificate; `InvalidInput` names an option that it does not know, or one that it lacks."""
    known = inspect.signature(door).parameters
    first, second, *others = known
    allowed = [name for name in others if name != "key"]
    for name, value in options.items():
        if name not in allowed:
            words = f"one of {', '.join(allowed)}" if allowed else "left out"
            raise InvalidInput(name, value, f"{words}, for a certificate of a {type(game).__name__}")
    for name in allowed:
        if known[name].default is inspect.Parameter.empty and name not in options:
            raise InvalidInput(name, None, f"a value: a certificate of a {type(game).__name__} needs it")
    keyed = {"key": key} if "key" in others else {}
    return door(**{first: game, second: profile}, **keyed, **options)


def _certify_portfolio(
    game: PortfolioGame, profile: PortfolioEquilibrium, key: PRNGKeyArray, budget: PortfolioBudget | None = None
) -> Certificate:
    return certify_portfolio(PortfolioEquilibrium(game, profile.z), key, budget)


def _certify_crowd(
    game: TypedMeanFieldGame, profile: FrozenCrowd, key: PRNGKeyArray, deviator: CrowdSearch | None = None
) -> Certificate:
    crowd = profile.within(game)
    return response_gaps(crowd) if deviator is None else trained_gaps(crowd, key, deviator)


def _certify_policy(game: DiscreteMeanFieldGame, profile: Any) -> Certificate:
    told = played_policy(game, profile)
    return certify_mean_field(game, told.policy, told.law)
