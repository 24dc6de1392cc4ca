"""Playing a profile: many episodes at once, compiled over time and episodes.

Every role's policy acts on the observations of all its agents in all episodes as one batch, in the game's order of play,
so that a later role observes the actions of the earlier ones. Leaves of what is collected are [time, episodes, agents, …].
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.markov import AbstractMarkovGame, Continuous, Role
from diffgames.learning import distribution
from diffgames.learning.policy import Profile


class Experience(eqx.Module):
    """What one role lived through; raw actions are those PPO scores."""

    observation: Float[Array, "time episodes agents features"]
    action: Array
    head: Float[Array, "time episodes agents head"]
    value: Float[Array, "time episodes agents"]
    reward: Float[Array, "time episodes agents"]


def play(
    game: AbstractMarkovGame, profile: Profile, key: PRNGKeyArray, episodes: int, explore: bool = True
) -> tuple[dict[str, Experience], Any]:
    """Play `episodes` episodes; returns each role's experience and the game's records, [time, episodes, …].

    With `explore=False` every agent takes its most likely action. Equal keys give equal episodes of the game itself
    (types, connections, exogenous noise), whoever plays: deviations can be compared with common random numbers.
    """
    reset_key, play_key = jax.random.split(key)
    state = jax.vmap(game.reset)(jax.random.split(reset_key, episodes))
    carries = {role.name: profile[role.name].initial_carry(episodes * role.count) for role in game.roles}

    def body(memory, key):
        state, carries = memory
        game_key, *role_keys = jax.random.split(key, 1 + len(game.roles))
        actions, lived, carried = {}, {}, {}
        for role, role_key in zip(game.roles, role_keys, strict=True):
            seen = jax.vmap(lambda s, a, name=role.name: game.observe(s, a, name))(state, actions)
            flat = seen.reshape(episodes * role.count, -1)
            carried[role.name], head, value = profile[role.name](carries[role.name], flat)
            draw = distribution.sample(role.action, head, role_key) if explore else distribution.mode(role.action, head)
            actions[role.name] = _to_game(role, draw).reshape(episodes, role.count, *draw.shape[1:])
            lived[role.name] = (seen, draw, head, value)
        state, rewards, record = jax.vmap(game.step)(state, actions, jax.random.split(game_key, episodes))
        experience = {}
        for role in game.roles:
            seen, draw, head, value = lived[role.name]
            shape = (episodes, role.count)
            experience[role.name] = Experience(
                observation=seen,
                action=draw.reshape(*shape, *draw.shape[1:]),
                head=head.reshape(*shape, -1),
                value=value.reshape(shape),
                reward=rewards[role.name],
            )
        return (state, carried), (experience, record)

    _, collected = jax.lax.scan(body, (state, carries), jax.random.split(play_key, game.horizon))
    return collected


@eqx.filter_jit
def evaluate(
    game: AbstractMarkovGame, profile: Profile, key: PRNGKeyArray, episodes: int, explore: bool = True
) -> tuple[dict[str, Float[Array, "episodes agents"]], Any]:
    """Episode returns of every agent, and the game's records, of `episodes` episodes of the profile."""
    experience, records = play(game, profile, key, episodes, explore)
    return {name: jnp.sum(lived.reward, axis=0) for name, lived in experience.items()}, records


def _to_game(role: Role, raw: Array) -> Array:
    return role.action.from_unit(raw) if isinstance(role.action, Continuous) else raw
