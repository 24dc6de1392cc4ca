"""The market's certificate: what the first agent of every supertype could gain.

Over its random types by deviators that are trained, and given its type by rules that cost no training: an average hides
a type that loses.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, PRNGKeyArray
from matplotlib.figure import Figure

from diffgames.games.fixed_agents import FixedAgents
from diffgames.learning.policy import Profile
from diffgames.markets.environment import OTCMarket
from diffgames.markets.given_type import GivenType, complete, type_grid
from diffgames.markets.supertypes import supertypes_of
from diffgames.plotting import label, new_figure
from diffgames.studies.certificate_parameters import CertificateParameters, certify
from diffgames.studies.context import RunContext
from diffgames.verification.certificate import Certificate, Gap
from diffgames.verification.market_rules import RULES
from diffgames.verification.type_response import gaps_given_types

HOW = "lower bound: trained deviators over all types, and rules given the type"
SYMBOLS = {
    "risk_aversion": "γ",
    "pnl_weight": "ω",
    "normalizer": "η",
    "share_target": "m",
    "sell_target": "qᵃ",
    "buy_target": "qᵇ",
    "quantity": "q",
}


def certify_market(
    config: CertificateParameters,
    context: RunContext,
    game: OTCMarket | FixedAgents,
    profile: Profile,
    learns: Mapping[str, Bool[np.ndarray, " agents"]],
    key: PRNGKeyArray,
) -> Certificate:
    """Trained deviators and rules, for the first agent of every supertype that the profile plays and all fixed ones."""
    market: Any = game.game if isinstance(game, FixedAgents) else game
    firsts = {
        f"{role} of supertype {supertype}": (role, int(np.flatnonzero(among)[0]))
        for role in ("provider", "taker")
        for supertype, among in supertypes_of(market, role, learns[role]).items()
    }
    entries: list[Gap] = []
    if firsts:
        entries += certify(config, context, game, profile, firsts, key).entries
    fixed = {place: game.without(*place) for place in game.places} if isinstance(game, FixedAgents) else {}
    for number, ((role, index), free) in enumerate(fixed.items()):
        own = jax.random.fold_in(key, 1000 + number)
        named = {f"{role} {index}, fixed": (role, index)}
        slot = f"deviator-{role}-{index}"
        entries += certify(config, context, free, profile, named, own, played=game, slot=slot).entries
    context.progress.update("certificate: rules given the type", 0.0)
    rules_key = jax.random.fold_in(key, len(firsts))
    for words, place in firsts.items():
        rules_key, own = jax.random.split(rules_key)
        entries += _given_type(config, game, None, profile, place, f"{place[0]} {words.rpartition(' ')[2]}", own)
    for number, ((role, index), free) in enumerate(fixed.items()):
        own = jax.random.fold_in(rules_key, 1000 + number)
        entries += _given_type(config, free, game, profile, (role, index), f"{role} {index}, fixed,", own)
    return Certificate(entries=tuple(entries), how=HOW)


def _given_type(
    config: CertificateParameters,
    game: OTCMarket | FixedAgents,
    played: OTCMarket | FixedAgents | None,
    profile: Profile,
    place: tuple[str, int],
    label: str,
    key: PRNGKeyArray,
) -> list[Gap]:
    """One entry for each corner, and the middle, of the types of the agent at `place`; `played` as in `certify`."""
    market: Any = game.game if isinstance(game, FixedAgents) else game
    (role, index), laws = place, market.providers if place[0] == "provider" else market.takers
    supertype = (market.provider_supertype if role == "provider" else market.taker_supertype)[index]
    grid = {_label(label, values): values for values in type_grid(laws, supertype)}

    def known(one: OTCMarket | FixedAgents) -> dict[str, Any]:
        given = {
            words: GivenType(market, role, jnp.asarray(index, jnp.int32), complete(laws, supertype, values))
            for words, values in grid.items()
        }
        if not isinstance(one, FixedAgents):
            return given
        return {words: FixedAgents(each, one.acts, one.places) for words, each in given.items()}

    return gaps_given_types(
        known(game),
        profile,
        role,
        index,
        RULES[role](market.role(role)),
        key,
        validation_episodes=config.validation_episodes,
        episodes=config.certificate_episodes,
        played=None if played is None else known(played),
    )


def headline_by_type(certificate: Certificate) -> dict[str, list[float]]:
    """Gain and half-width of its 95% interval, by the entries' labels."""
    return {
        entry.label: [entry.gain, entry.interval[1] - entry.gain] for entry in certificate.entries if not entry.curves
    }


def gains_by_type(certificate: Certificate) -> Figure:
    """Gain of the best rule given each type with its 95% interval, and which rule it is."""
    entries = [entry for entry in certificate.entries if not entry.curves]
    figure, (axis,) = new_figure(width=7.0, height=1.2 + 0.32 * len(entries))
    rows = np.arange(len(entries))[::-1]
    gain = np.asarray([entry.gain for entry in entries])
    half = np.asarray([entry.interval[1] - entry.gain for entry in entries])
    axis.errorbar(gain, rows, xerr=half, fmt="o", ms=4, capsize=2)
    axis.axvline(0.0, color="0.4", ls="--", lw=1)
    for row, entry in zip(rows, entries, strict=True):
        axis.annotate(entry.selected, (entry.interval[1], row), (5, 0), textcoords="offset points", va="center", size=7)
    axis.set_yticks(rows, [entry.label for entry in entries])
    axis.margins(x=0.25)
    label(
        axis,
        x=("gain over the profile", "episode reward"),
        y=("agent", ""),
        title="best rule given the type, 95% intervals",
    )
    return figure


def _label(agent: str, values: dict[str, Any]) -> str:
    words = ", ".join(f"{SYMBOLS[name]}={value:g}" for name, value in values.items())
    return agent + (f" at {words}" if words else " by rule")
