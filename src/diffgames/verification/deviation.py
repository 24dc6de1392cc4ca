"""A game in which one agent may deviate: `Deviation(game, role, index)`.

The agent leaves its role and becomes the role "deviator" (or `alias`), of one agent with the same spaces, playing in
the same stage: neither sees what the other does in it, and it observes exactly what it observed before. Everything
else is the game's.
`index` is an array, so that the deviations of all agents of a role share one compiled program and can be mapped over.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame, Actions, Role

DEVIATOR = "deviator"


class Deviation(AbstractMarkovGame):
    """The game with agent `index` of `target` playing by itself, in a role called `alias`."""

    game: AbstractMarkovGame
    target: str
    index: Int[Array, "*deviations"]
    alias: str = eqx.field(static=True)

    def __init__(
        self, game: AbstractMarkovGame, target: str, index: int | Int[Array, "*deviations"], alias: str = DEVIATOR
    ):
        names = [role.name for role in game.roles]
        if target not in names or alias in names:
            raise InvalidInput("role", target, f"one of {', '.join(n for n in names if n != alias)}")
        count = game.role(target).count
        if isinstance(index, int) and not 0 <= index < count:
            raise InvalidInput(f"index of the deviating {target}", index, f"0 to {count - 1}")
        self.game, self.target, self.index, self.alias = game, target, jnp.asarray(index, jnp.int32), alias

    @property
    def roles(self) -> tuple[Role, ...]:
        listed = []
        for role in self.game.roles:
            parts = [(role.name, role.count)]
            if role.name == self.target:
                parts = [(role.name, role.count - 1), (self.alias, 1)]
            listed += [
                Role(name=name, count=count, observation_names=role.observation_names, action=role.action)
                for name, count in parts
                if count > 0
            ]
        return tuple(listed)

    @property
    def horizon(self) -> int:
        return self.game.horizon

    def reset(self, key: PRNGKeyArray) -> Any:
        return self.game.reset(key)

    def observe(self, state: Any, actions: Actions, role: str) -> Float[Array, "agents features"]:
        names = [known.name for known in self.game.roles]
        asked = self.target if role == self.alias else role
        before = names[: names.index(asked)]
        seen = {name: action for name, action in actions.items() if name in before}
        if self.target in before:
            seen[self.target] = self._join(actions)
        return self._split(self.game.observe(state, seen, asked), role)

    def step(self, state: Any, actions: Actions, key: PRNGKeyArray) -> tuple[Any, dict[str, Array], Any]:
        joined = {role.name: actions[role.name] for role in self.game.roles if role.name != self.target}
        state, rewards, info = self.game.step(state, {**joined, self.target: self._join(actions)}, key)
        shared = rewards[self.target]
        return state, {role.name: self._split(rewards.get(role.name, shared), role.name) for role in self.roles}, info

    def _join(self, actions: Actions) -> Array:
        """Actions of all agents of the target role in their order: the deviator's is put back at its place."""
        own = actions[self.alias]
        if self.target not in actions:
            return own
        count = self.game.role(self.target).count
        place = jnp.arange(count, dtype=jnp.int32)
        source = jnp.where(place == self.index, count - 1, place - (place > self.index).astype(jnp.int32))
        return jnp.concatenate([actions[self.target], own], axis=0)[source]

    def _split(self, rows: Array, role: str) -> Array:
        """The rows of an inner role's array that belong to one role of this game."""
        if role == self.alias:
            return jax.lax.dynamic_slice_in_dim(rows, self.index, 1, axis=0)
        if role != self.target:
            return rows
        place = jnp.arange(rows.shape[0] - 1, dtype=jnp.int32)
        return rows[place + (place >= self.index).astype(jnp.int32)]
