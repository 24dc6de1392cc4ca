"""The market's certificate: what the first agent of every supertype could gain.

Over its random types by deviators that are trained, and given its type by rules that cost no training: an average hides
a type that loses.
"""

import dataclasses
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
    """Trained deviators and rules for the first agent, of every supertype of both roles, that the profile plays."""
    market: Any = game.game if isinstance(game, FixedAgents) else game
    firsts = {
        (role, supertype): int(np.flatnonzero((np.asarray(members) == supertype) & learns[role])[0])
        for role, members in (("provider", market.provider_supertype), ("taker", market.taker_supertype))
        for supertype in sorted(set(members))
        if ((np.asarray(members) == supertype) & learns[role]).any()
    }
    if not firsts:
        return Certificate(entries=(), how=HOW, unseen="all agents are fixed: nobody's deviation was looked for")
    agents = {f"{role} of supertype {supertype}": (role, index) for (role, supertype), index in firsts.items()}
    trained = certify(config, context, game, profile, agents, key)
    context.progress.update("certificate: rules given the type", 0.0)
    given = _gaps_by_type(config, game, market, profile, firsts, jax.random.fold_in(key, len(agents)))
    return dataclasses.replace(trained, entries=(*trained.entries, *given), how=HOW)


def _gaps_by_type(
    config: CertificateParameters,
    game: OTCMarket | FixedAgents,
    market: OTCMarket,
    profile: Profile,
    firsts: Mapping[tuple[str, int], int],
    key: PRNGKeyArray,
) -> tuple[Gap, ...]:
    """One entry for each supertype and each corner, and the middle, of its types."""
    entries: list[Gap] = []
    for (role, supertype), index in firsts.items():
        laws = market.providers if role == "provider" else market.takers
        place = jnp.asarray(index, jnp.int32)

        def known(values, role=role, supertype=supertype, laws=laws, place=place):
            given = GivenType(market, role, place, complete(laws, supertype, values))
            return FixedAgents(given, game.acts, game.places) if isinstance(game, FixedAgents) else given

        key, own = jax.random.split(key)
        entries += gaps_given_types(
            {_label(role, supertype, values): known(values) for values in type_grid(laws, supertype)},
            profile,
            role,
            index,
            RULES[role](market.role(role)),
            own,
            validation_episodes=config.validation_episodes,
            episodes=config.certificate_episodes,
        )
    return tuple(entries)


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


def _label(role: str, supertype: int, values: dict[str, Any]) -> str:
    words = ", ".join(f"{SYMBOLS[name]}={value:g}" for name, value in values.items())
    return f"{role} {supertype}" + (f" at {words}" if words else " by rule")
