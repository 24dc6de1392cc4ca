"""A Markov game in which named agents do what a function of the user's own says, whatever the profile says.

The function of agent i of a role is called as

    f(observation, key) -> answer,

with `observation` the agent's numbers by name, in natural units (`AbstractMarkovGame.observe_by_name`), and `key` one
random key of its own per step. The answer of a `Continuous` action is one number per component, in order or by name, in
the units of `AbstractMarkovGame.action_of`. That of a `Discrete` action is a word of it, or {word: weight}: the word of
the largest weight is done, the first of the action's words where weights are equal, and a word left out weighs 0.

The function is traced by JAX: it branches by `jnp.where`. Rewards, records and the other agents' observations are those
of the game; equal keys draw equal types and noise with and without fixed agents.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput, suggestion
from diffgames.games.markov import AbstractMarkovGame, Actions, Continuous, Discrete, Role

Agent = Callable[[dict[str, Float[Array, ""]], PRNGKeyArray], Any]
Fixed = Mapping[tuple[str, int], Agent]
BRANCHING = "compiled code branches by jax.numpy.where, not by if, and or or"


class Watched(eqx.Module):
    """The game's state, and the key from which the fixed agents of this step draw."""

    state: Any
    key: PRNGKeyArray


class FixedAgents(AbstractMarkovGame):
    """The game with the agents `places` played by `acts`; made by `fix_agents`."""

    game: AbstractMarkovGame
    acts: tuple[Agent, ...]
    places: tuple[tuple[str, int], ...] = eqx.field(static=True)

    @property
    def roles(self) -> tuple[Role, ...]:
        return self.game.roles

    @property
    def horizon(self) -> int:
        return self.game.horizon

    def reset(self, key: PRNGKeyArray) -> Watched:
        return Watched(self.game.reset(key), jax.random.fold_in(key, 1))

    def observe(self, state: Watched, actions: Actions, role: str) -> Float[Array, "agents features"]:
        return self.game.observe(state.state, self._done(state, actions), role)

    def step(
        self, state: Watched, actions: Actions, key: PRNGKeyArray
    ) -> tuple[Watched, dict[str, Float[Array, " agents"]], Any]:
        following, rewards, info = self.game.step(state.state, self._done(state, actions), key)
        return Watched(following, jax.random.fold_in(key, 1)), rewards, info

    def summary(self, records: Any) -> dict[str, Array]:
        return self.game.summary(records)

    def observe_by_name(self, state: Watched, actions: Actions, role: str) -> dict[str, Float[Array, " agents"]]:
        return self.game.observe_by_name(state.state, self._done(state, actions), role)

    def action_of(self, state: Watched, role: str, index: int, answer: Float[Array, " parts"]) -> Array:
        return self.game.action_of(state.state, role, index, answer)

    def learning(self, role: str) -> Int[Array, " learning"]:
        """Indices of the agents of `role` that the profile plays."""
        return jnp.asarray([i for i in range(self.role(role).count) if (role, i) not in self.places], jnp.int32)

    def without(self, role: str, index: int) -> "FixedAgents":
        """The game in which that agent is not fixed; with equal keys the others draw what they draw here."""
        kept = [n for n, place in enumerate(self.places) if place != (role, index)]
        return FixedAgents(self.game, tuple(self.acts[n] for n in kept), tuple(self.places[n] for n in kept))

    def _done(self, state: Watched, actions: Actions) -> Actions:
        """What is done in this step: the fixed agents' answers in the place of the profile's actions."""
        done: Actions = {}
        for position, role in enumerate(self.game.roles):
            if role.name not in actions:
                continue
            mine = [(n, index) for n, (name, index) in enumerate(self.places) if name == role.name]
            chosen = actions[role.name]
            if mine:
                seen = self.game.observe_by_name(state.state, done, role.name)
                for n, index in mine:
                    key = jax.random.fold_in(jax.random.fold_in(state.key, position), index)
                    said = self.acts[n]({name: column[index] for name, column in seen.items()}, key)
                    action = self._action(state.state, role, index, said)
                    chosen = chosen.at[index].set(action.astype(chosen.dtype))
            done[role.name] = chosen
        return done

    def _action(self, state: Any, role: Role, index: int, said: Any) -> Array:
        if isinstance(role.action, Discrete):
            return jnp.argmax(weights(role.action, said)).astype(jnp.int32)
        return self.game.action_of(state, role.name, index, components(role.action, said))


def components(space: Continuous, said: Any) -> Float[Array, " components"]:
    """The numbers of an answer in order; `ValueError` says what is wrong with it."""
    if isinstance(said, Mapping):
        if set(said) != set(space.names):
            raise ValueError(f"it answered {sorted(said)}, not {', '.join(space.names)}")
        said = [said[name] for name in space.names]
    parts = [jnp.asarray(part, jnp.float32) for part in said] if isinstance(said, tuple | list) else [said]
    answer = jnp.stack(parts) if isinstance(said, tuple | list) else jnp.asarray(said, jnp.float32)
    if answer.shape != (space.size,):
        raise ValueError(f"its answer has the shape {answer.shape}, not {(space.size,)} for {', '.join(space.names)}")
    return answer


def weights(space: Discrete, said: Any) -> Float[Array, " actions"]:
    """The weight of every action in an answer; `ValueError` says what is wrong with it."""
    said = {said: 1.0} if isinstance(said, str) else said
    if not isinstance(said, Mapping):
        raise ValueError(f"it answered a {type(said).__name__}, not one of {', '.join(space.names)} or their weights")
    if unknown := set(said) - set(space.names):
        raise ValueError(f"it answered {sorted(map(str, unknown))}, not of {', '.join(space.names)}")
    parts = [jnp.asarray(said.get(name, 0.0)).astype(jnp.float32) for name in space.names]
    if any(part.shape != () for part in parts):
        raise ValueError("its weights are no single numbers")
    return jnp.stack(parts)


def fix_agents(
    game: AbstractMarkovGame, fixed: Fixed, labels: Mapping[tuple[str, int], str] | None = None
) -> FixedAgents:
    """The game with the agents {(role, index): function} fixed.

    Every function is traced once: `InvalidInput` names a role or an index that there is not, a function that raises,
    and an answer of the wrong form. `labels` are the functions' names in these lines.
    """
    known = {role.name: role for role in game.roles}
    for role, index in fixed:
        if role not in known:
            raise InvalidInput("role", role, suggestion(role, known))
        if not 0 <= index < known[role].count:
            raise InvalidInput(f"{role}.{index}", index, f"an index from 0 to {known[role].count - 1}")
    key, actions = jax.random.key(0), {}
    state = jax.eval_shape(game.reset, key)
    for role in game.roles:
        seen = eqx.filter_eval_shape(game.observe_by_name, state, actions, role.name)
        for (name, index), act in fixed.items():
            if name == role.name:
                _try(
                    act, role, index, seen, key, (labels or {}).get((name, index), getattr(act, "__name__", repr(act)))
                )
        discrete = isinstance(role.action, Discrete)
        shape = (role.count,) if discrete else (role.count, role.action.size)
        actions[role.name] = jax.ShapeDtypeStruct(shape, jnp.int32 if discrete else jnp.float32)
    places = tuple(fixed)
    return FixedAgents(game, tuple(_hashable(fixed[place]) for place in places), places)


def _hashable(act: Agent) -> Agent:
    """A module of arrays as it is; of anything else its call, which is compared by identity."""
    if isinstance(act, eqx.Module):
        return act  # pyright: ignore[reportReturnType] - a module that is called
    return lambda observation, key: act(observation, key)


def _try(act: Agent, role: Role, index: int, seen: Mapping[str, Any], key: PRNGKeyArray, label: str) -> None:
    """Trace the function once, and say in one line what is wrong with it."""
    read = components if isinstance(role.action, Continuous) else weights
    one = {name: jax.ShapeDtypeStruct((), column.dtype) for name, column in seen.items()}
    try:
        jax.eval_shape(lambda observation, key: read(role.action, act(observation, key)), one, key)  # pyright: ignore[reportArgumentType]
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else ""
        hint = f"; {BRANCHING}" if isinstance(error, jax.errors.ConcretizationTypeError) else ""
        if isinstance(error, KeyError):
            hint = f"; it observes {', '.join(seen)}"
        allowed = f"a function of (observation, key) for a {role.name}; {type(error).__name__}: {why}{hint}"
        raise InvalidInput(f"{role.name}.{index}", label, allowed) from error
