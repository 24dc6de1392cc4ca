"""Discrete-time, partially observed Markov games with ordered stages.

A Markov game is a tuple (roles, S, O, A, step, reward) played for `horizon` steps. Agents of one *role* share their
observation and action spaces (the agent class κ of Vadori et al., Section 2.1), so one policy per role, conditioned on
what the agent observes of its own type, plays for all of them.

Roles are listed in the *order of play* inside a step. A role observes the state and the actions of the roles before
it: with roles (provider, taker) the takers see the providers' quotes, which is the multi-stage game of Section 2.1:

    o_κ = observe(s_t, (a_1, …, a_{κ−1}), κ),   a_κ ~ π_κ(· | o_κ),   (s_{t+1}, r_t, info_t) = step(s_t, a, key).

Everything is a pure function of arrays: a game is a frozen pytree that can be mapped, differentiated and swept.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

State = Any
Info = Any
Actions = dict[str, Array]


class Continuous(eqx.Module):
    """A box of real actions, one interval per named component.

    `low` and `high` are the bounds of the components, in the components' own units.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.names)

    def from_unit(self, raw: Float[Array, "*batch components"]) -> Float[Array, "*batch components"]:
        """Map raw policy outputs onto the box: clip to [−1, 1], then affinely onto [low, high]."""
        low, high = jnp.asarray(self.low, raw.dtype), jnp.asarray(self.high, raw.dtype)
        shape = raw.shape
        share = (jnp.clip(raw, -1.0, 1.0) + 1.0) / 2.0
        return jnp.broadcast_to(low, shape) + share * jnp.broadcast_to(high - low, shape)


class Discrete(eqx.Module):
    """A finite set of actions 0, …, size − 1, one name each."""

    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of actions."""
        return len(self.names)


class Role(eqx.Module):
    """A class of interchangeable agents: how many, what they observe, what they may do."""

    name: str = eqx.field(static=True)
    count: int = eqx.field(static=True)
    observation_names: tuple[str, ...] = eqx.field(static=True)
    action: Continuous | Discrete

    @property
    def observation_size(self) -> int:
        """Length of one agent's observation vector."""
        return len(self.observation_names)


class AbstractMarkovGame(eqx.Module):
    """What every Markov game provides. Subclasses are final: they add fields and implement the five members."""

    @property
    @abc.abstractmethod
    def roles(self) -> tuple[Role, ...]:
        """Roles in the order of play inside a step."""

    @property
    @abc.abstractmethod
    def horizon(self) -> int:
        """Number of steps T of an episode."""

    @abc.abstractmethod
    def reset(self, key: PRNGKeyArray) -> State:
        """Draw the initial state of one episode (agents' types and connections included)."""

    @abc.abstractmethod
    def observe(self, state: State, actions: Actions, role: str) -> Float[Array, "agents features"]:
        """Observation of every agent of `role`, given the actions of the roles that play before it."""

    @abc.abstractmethod
    def step(
        self, state: State, actions: Actions, key: PRNGKeyArray
    ) -> tuple[State, dict[str, Float[Array, " agents"]], Info]:
        """One step: next state, reward per agent of each role (maximised), and what is worth recording."""

    def summary(self, records: Info) -> dict[str, Array]:
        """Figures of many episodes worth following while learning, from records stacked [time, episodes, …].

        None by default; a game overrides it to have its own figures in the progress line and the history.
        """
        return {}

    def observe_by_name(self, state: State, actions: Actions, role: str) -> dict[str, Float[Array, " agents"]]:
        """What agents written by hand are told, by name: the observations here, in natural units where a game has them.

        Such agents stand in for the profile's (`games.fixed_agents`).
        """
        seen = self.observe(state, actions, role)
        return {name: seen[:, column] for column, name in enumerate(self.role(role).observation_names)}

    def action_of(self, state: State, role: str, index: int, answer: Float[Array, " components"]) -> Array:
        """The continuous action of an agent written by hand that answered with these components: cut to the box."""
        space = self.role(role).action
        assert isinstance(space, Continuous)
        return jnp.clip(answer, jnp.asarray(space.low, answer.dtype), jnp.asarray(space.high, answer.dtype))

    def role(self, name: str) -> Role:
        """The role called `name`; a `KeyError` lists the roles there are."""
        for role in self.roles:
            if role.name == name:
                return role
        raise KeyError(f"no role {name!r}; the game has {', '.join(role.name for role in self.roles)}")


ActionArray = Float[Array, "agents components"] | Int[Array, " agents"]
