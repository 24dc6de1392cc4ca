"""The market given the type of one agent: `GivenType(market, target, index, values)`.

Everything is the market's, with its random numbers, but that one agent has the stated attributes of its type in every
episode: what an average over types hides can be seen type by type. `values` are arrays, so that one compiled program
serves all types.
"""

import dataclasses
import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.games.markov import AbstractMarkovGame, Actions, Role
from diffgames.markets.agents import ProviderSupertypes, TakerSupertypes
from diffgames.markets.environment import OTCMarket
from diffgames.markets.market_state import MarketState, StepRecord

Values = dict[str, Float[Array, "*agents"]]
TAIL = 2.0  # deviations from the mean at which a normal attribute is looked at


class GivenType(AbstractMarkovGame):
    """The market in which an agent's type is known.

    Attributes:
        market: the market whose types are drawn.
        target, index: the agent's role and place in it; or places of several, each with its own value.
        values: attributes of its type by name (fields of `ProviderType` or `TakerType`); others are drawn.
    """

    market: OTCMarket
    target: str = eqx.field(static=True)
    index: Int[Array, "*agents"]
    values: Values

    @property
    def roles(self) -> tuple[Role, ...]:
        return self.market.roles

    @property
    def horizon(self) -> int:
        return self.market.horizon

    def reset(self, key: PRNGKeyArray) -> MarketState:
        state = self.market.reset(key)
        name = f"{self.target}_type"
        drawn = getattr(state, name)
        own = {field: getattr(drawn, field).at[self.index].set(value) for field, value in self.values.items()}
        return self.market.with_past(dataclasses.replace(state, **{name: dataclasses.replace(drawn, **own)}), key)

    def observe(self, state: MarketState, actions: Actions, role: str) -> Float[Array, "agents features"]:
        return self.market.observe(state, actions, role)

    def observe_by_name(self, state: MarketState, actions: Actions, role: str) -> dict[str, Float[Array, " agents"]]:
        return self.market.observe_by_name(state, actions, role)

    def action_of(self, state: MarketState, role: str, index: int, answer: Float[Array, " parts"]) -> Array:
        return self.market.action_of(state, role, index, answer)

    def step(
        self, state: MarketState, actions: Actions, key: PRNGKeyArray
    ) -> tuple[MarketState, dict[str, Float[Array, " agents"]], StepRecord]:
        return self.market.step(state, actions, key)


def type_grid(supertypes: ProviderSupertypes | TakerSupertypes, supertype: int) -> list[dict[str, float]]:
    """The corners of a supertype's random attributes and their middle; one empty dictionary where nothing is random.

    A corner of a uniform attribute is an end of its range, of a normal one the mean ± two deviations, clipped.
    """
    ends: dict[str, tuple[float, float]] = {}
    for name, law in vars(supertypes).items():
        mean, std, width, low, high = (float(np.asarray(leaf)[supertype]) for leaf in vars(law).values())
        reach = TAIL * std + width / 2
        if reach > 0:
            ends[name] = (max(mean - reach, low), min(mean + reach, high))
    corners = [dict(zip(ends, corner, strict=True)) for corner in itertools.product(*ends.values())]
    return [*corners, {name: (low + high) / 2 for name, (low, high) in ends.items()}] if ends else [{}]


def complete(supertypes: ProviderSupertypes | TakerSupertypes, supertype: int, values: dict[str, float]) -> Values:
    """All attributes of a type: those stated, others at their means. All types of a role have one shape then."""
    means = {name: law.mean[supertype] for name, law in vars(supertypes).items()}
    return means | {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
