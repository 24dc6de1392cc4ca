"""Agents of a market by supertype: who they are, and means of what each of them has."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from diffgames.markets.environment import OTCMarket


def supertypes_of(
    market: OTCMarket, role: str, among: Bool[np.ndarray, " agents"] | None = None
) -> dict[int, Bool[np.ndarray, " agents"]]:
    """Which agents of a role each supertype has, of those `among` alone; supertypes without any are left out."""
    members = np.asarray(market.provider_supertype if role == "provider" else market.taker_supertype)
    counted = np.ones(len(members), bool) if among is None else among
    return {int(supertype): (members == supertype) & counted for supertype in np.unique(members[counted])}


def by_supertype(
    market: OTCMarket, values: Mapping[str, Any], among: Mapping[str, Bool[np.ndarray, " agents"]] | None = None
) -> dict[str, Float[np.ndarray, "..."]]:
    """Means over the agents (last axis) of each supertype, labelled role_supertype; over those of `among` alone."""
    return {
        f"{role}_{supertype}": np.asarray(value, np.float64)[..., members].mean(axis=-1)
        for role, value in values.items()
        for supertype, members in supertypes_of(market, role, None if among is None else among[role]).items()
    }
