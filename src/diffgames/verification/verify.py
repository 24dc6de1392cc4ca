"""Verify a profile by routes that did not compute it: exact responses to linear-quadratic games, trained deviators.

    gap_p = sign_p · [ J_p(u) − opt_v J_p(v, others) ]

is computed (a) exactly, from Riccati equations read off the game's own functions, and (b) from below, by a deviator
trained on simulated paths, which needs nothing but a game that can be simulated. Where both exist they must tell the
same: the trained gain never above the exact one but for chance, and near it where the search was long enough.
Games of other families have routes of their own (`verification.families`), which the same door opens.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
from jaxtyping import PRNGKeyArray

from diffgames.equilibria import Nash, Stackelberg
from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.portfolio import PortfolioEquilibrium
from diffgames.numerics.precision import in_double, keeping_double
from diffgames.simulation.paths import as_differential, with_horizon
from diffgames.simulation.target import law_of, played, started
from diffgames.verification.certificate import LOWER_BOUND, Certificate, Gap
from diffgames.verification.consistency import ReadGains, crowd_and_reactions
from diffgames.verification.families import certified, family_door
from diffgames.verification.linear_quadratic_response import exact_gaps
from diffgames.verification.linear_response import matrix_gaps
from diffgames.verification.path_deviator import PathSearch, Progress, trained_gaps
from diffgames.verification.starts import all_starts, starting_moments

How = Literal["natural", "exact", "trained", "both"]


@dataclass(frozen=True)
class Verification:
    """The certificates of one profile, by route; at least one of them is there."""

    exact: Certificate | None
    trained: Certificate | None

    @property
    def certificate(self) -> Certificate:
        """The exact certificate where there is one, else the trained lower bounds."""
        found = self.exact if self.exact is not None else self.trained
        assert found is not None
        return found

    @property
    def gap(self) -> float:
        """The largest gap."""
        return self.certificate.gap

    @property
    def consistent(self) -> bool:
        """Whether no trained gain is above the exact one beyond chance (true where there is one route alone)."""
        if self.exact is None or self.trained is None:
            return True
        return all(self.exact[entry.label].gain >= entry.interval[0] for entry in self.trained.entries)

    @property
    def found(self) -> dict[str, float]:
        """Per player, the share of its exact gap that the trained deviator found; empty with one route alone."""
        if self.exact is None or self.trained is None:
            return {}
        pairs = [(entry, self.exact[entry.label].gain) for entry in self.trained.entries]
        return {entry.label: entry.gain / exact for entry, exact in pairs if exact > 0}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and labels (JSON): the certificate, and the trained one next to an exact one."""
        plain = self.certificate.to_dict()
        if self.exact is not None and self.trained is not None:
            plain["trained"] = {**self.trained.to_dict(), "consistent": self.consistent, "found": self.found}
        return plain

    def __repr__(self) -> str:
        lines = [repr(one) for one in (self.exact, self.trained) if one is not None]
        if self.found:
            shares = ", ".join(f"{label} {share:.1%}" for label, share in self.found.items())
            words = "never above the exact gains" if self.consistent else "ABOVE an exact gain beyond chance"
            lines.append(f"the trained deviators found {shares} of the exact gains; they are {words}")
        return "\n".join(lines)


@keeping_double
def verify(
    target: Any,
    profile: Any = None,
    key: PRNGKeyArray | None = None,
    *,
    how: How = "natural",
    concept: Nash | Stackelberg | None = None,
    players: Sequence[str | int] | None = None,
    horizon: float | int | None = None,
    initial: Any = None,
    search: PathSearch | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Verification:
    """Gaps of `profile` in a game, or of a solution that knows its `game` and `profile`.

    `target` is a `DifferentialGame`, anything with `as_differential()`, or a solution; `profile` may be one, too. `how`
    says by which route; "natural" is the exact one where the game is linear-quadratic, else the trained one. `concept`
    is Nash or, where there are tiers of play, Stackelberg. `horizon` cuts a game without end. A linear-quadratic
    solution's values are then the terminal costs; without one there are none, which leaves gaps that vanish like
    e^{−ρT} alone. `initial` is a state (a list or an array) or a law of the start (a `PointLaw`, a `GaussianLaw`, …).
    A linear-quadratic game, which is matrices alone, is judged from all starts: x standard normal, in the regime where
    a player gains most. With a crowd or tiers, affine profiles have the entries `consistency` and `reaction`
    (`verification.consistency`) by either route; elsewhere `unseen` says that nobody asked. In discrete time gaps are
    exact, from the game's matrices. Trained deviators need a `key`.

    Market-making, portfolio, distributed and Markov games go by the route of their family, with its `options`
    (`verification.families`); `certificate.how` names the route that ran.
    """
    target, profile = (target.game, target) if isinstance(target, PortfolioEquilibrium) else (target, profile)
    target, profile = played(target, profile, horizon)
    if (door := family_door(target, profile, options)) is not None:
        stated = {"concept": concept, "horizon": horizon, "initial": initial, "search": search}
        return _by_family(
            door, target, profile, key, how, stated | {"players": players, "progress": progress} | options
        )
    for name, value in options.items():
        raise InvalidInput(name, value, f"an option of the family of a {type(target).__name__}")
    if isinstance(target, LinearQuadraticGame) and target.discrete:
        found = _discrete(target, profile, how, concept, players, horizon, initial)
        return Verification(exact=found, trained=None)
    hub = with_horizon(as_differential(target), horizon)
    everywhere = initial is None and isinstance(target, LinearQuadraticGame)
    game = started(hub, all_starts(hub.state_size) if everywhere else initial)
    game.check()
    exact, trained = None, None
    if how in ("natural", "exact", "both"):
        try:
            exact = exact_gaps(game, profile, concept=concept, players=players, every_regime=everywhere)
        except InvalidInput:
            if how != "natural":
                raise
    if how in ("trained", "both") or exact is None:
        key = key if key is not None else jax.random.key(0)
        trained = trained_gaps(game, profile, key, concept=concept, players=players, search=search, progress=progress)
    beside = None
    if isinstance(target, LinearQuadraticGame):
        beside = _beside(target, profile, game, concept, everywhere)
    if exact is not None:
        exact = _with_beside(exact, beside, game)
    elif trained is not None:
        trained = _with_beside(trained, beside, game)
    return Verification(exact=exact, trained=trained)


def _by_family(door: Any, game: Any, profile: Any, key: Any, how: How, options: dict[str, Any]) -> Verification:
    """What the one route of the game's family finds, by the options that were stated."""
    if how != "natural":
        raise InvalidInput("how", how, f"natural: a {type(game).__name__} has the route of its family alone")
    given = {name: value for name, value in options.items() if value is not None}
    found = certified(door, game, profile, jax.random.key(0) if key is None else key, given)
    return Verification(None, found) if found.how == LOWER_BOUND else Verification(found, None)


def _with_beside(certificate: Certificate, beside: tuple[Gap, ...] | None, game: DifferentialGame) -> Certificate:
    """The certificate with the entries of crowds and reactions, or with words on what gaps alone cannot tell."""
    if beside is not None:
        return dataclasses.replace(certificate, entries=(*certificate.entries, *beside))
    words = [certificate.unseen] if certificate.unseen else []
    if 0 in game.signs:
        words.append("whether players without objective, a crowd, play what its members would")
    if len(game.tiers) > 1:
        words.append("whether later tiers would react to earlier ones as the profile states")
    return dataclasses.replace(certificate, unseen="; ".join(words))


@in_double
def _beside(
    target: LinearQuadraticGame, profile: Any, game: DifferentialGame, concept: Any, every_regime: bool
) -> tuple[Gap, ...] | None:
    """The crowd's and the reactions' entries of affine play, over the horizon of `game`; None of other profiles."""
    finite = dataclasses.replace(target, horizon=game.horizon)
    if not (finite.has_crowd or len(finite.tiers) > 1):
        return ()
    read = ReadGains(profile, finite)
    if not read.exact():
        return None
    starts = starting_moments(game.initial, game.regime_count, every_regime)
    return crowd_and_reactions(finite, read, starts, reactive=not isinstance(concept, Nash))


@in_double
def _discrete(
    game: LinearQuadraticGame,
    profile: Any,
    how: How,
    concept: Nash | Stackelberg | None,
    players: Any,
    horizon: float | int | None,
    initial: Any,
) -> Certificate:
    """Exact gaps of affine feedback in a game in discrete time."""
    if how not in ("natural", "exact"):
        raise InvalidInput("how", how, "natural or exact in discrete time")
    if game.endless and horizon is None:
        raise InvalidInput("horizon", None, "a whole number of steps at which to cut a game without end")
    if horizon is not None:
        if horizon != math.floor(horizon):
            raise InvalidInput("horizon", horizon, "a whole number of steps")
        game = dataclasses.replace(game, horizon=int(horizon))
    if not all(hasattr(profile, name) for name in ("gain", "crowd_gain", "reaction", "crowd_reaction")):
        profile = ReadGains(profile, game)
        if not profile.exact():
            raise InvalidInput("profile", "not affine in the state", "affine feedback, of which gains are all there is")
    size = game.size - 1
    law = all_starts(size) if initial is None else law_of(initial, size)
    starts = starting_moments(law, game.regime_count, initial is None).astype(game.terminal.dtype)
    chosen = None if players is None else tuple(map(game.player_index, players))
    return matrix_gaps(game, profile, starts, chosen, nash=isinstance(concept, Nash))
