"""Playing a profile: many episodes at once, compiled over time and episodes.

Every role's policy acts on the observations of all its agents in all episodes as one batch, in the game's order of
play, so that a later role observes the actions of the earlier ones. Leaves of what is collected are [time, episodes,
agents, …]; with several devices the episodes are spread over them.

Episodes play one game, or each its own (`PerEpisode`), in one compiled function.

The game's randomness and each role's have keys of their own, so that equal keys give the same types, connections and
exogenous noise whoever plays: a deviation and the profile are compared with common random numbers.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from diffgames.games.markov import AbstractMarkovGame, Continuous, Role
from diffgames.learning import devices, distribution
from diffgames.learning.policy import Profile


class Experience(eqx.Module):
    """What one role lived through; raw actions are those PPO scores."""

    observation: Float[Array, "*time episodes agents features"]
    action: Array
    head: Float[Array, "*time episodes agents head"]
    value: Float[Array, "*time episodes agents"]
    reward: Float[Array, "*time episodes agents"]


class PerEpisode(eqx.Module):
    """A game that differs by episode: episode b plays `install(game, laws[b])`, which has the shapes of `game`."""

    game: AbstractMarkovGame
    laws: Any  # arrays with a leading axis of episodes
    install: Callable[[Any, Any], Any] = eqx.field(static=True)


Explore = bool | Mapping[str, bool | Bool[Array, ""]]


def play(
    game: AbstractMarkovGame | PerEpisode,
    profile: Profile,
    key: PRNGKeyArray,
    episodes: int,
    explore: Explore = True,
    keep: Callable[[Any], Any] = lambda record: record,
) -> tuple[dict[str, Experience], Any]:
    """Play `episodes` episodes; returns each role's experience and the game's records, [time, episodes, …].

    With `explore=False` every agent takes its most likely action; a mapping says so role by role (others explore).
    `keep` takes from the record of a step what is wanted of it.
    """
    game, laws, install = (
        (game.game, game.laws, game.install) if isinstance(game, PerEpisode) else (game, None, lambda same, _: same)
    )
    reset_key, play_key = jax.random.split(key)
    reset_keys = devices.spread(jax.random.split(reset_key, episodes))
    state = jax.vmap(lambda law, k: install(game, law).reset(k))(laws, reset_keys)
    carries = {role.name: profile[role.name].initial_carry(episodes * role.count) for role in game.roles}

    def body(memory, key):
        state, carries = memory
        game_key, draw_key = jax.random.split(key)
        actions, lived, carried = {}, {}, {}
        for role in game.roles:
            seen = jax.vmap(lambda law, s, a, name=role.name: install(game, law).observe(s, a, name))(
                laws, state, actions
            )
            flat = seen.reshape(episodes * role.count, -1)
            carried[role.name], head, value = profile[role.name](carries[role.name], flat)
            draw = _draw(role, head, draw_key, explore)
            actions[role.name] = _to_game(role, draw).reshape(episodes, role.count, *draw.shape[1:])
            lived[role.name] = (seen, draw, head, value)
        state, rewards, record = jax.vmap(lambda law, s, a, k: install(game, law).step(s, a, k))(
            laws, state, actions, jax.random.split(game_key, episodes)
        )
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
        return (state, carried), (experience, keep(record))

    _, collected = jax.lax.scan(body, (state, carries), jax.random.split(play_key, game.horizon))
    return collected


@eqx.filter_jit
def evaluate(
    game: AbstractMarkovGame, profile: Profile, key: PRNGKeyArray, episodes: int, explore: Explore = True
) -> tuple[dict[str, Float[Array, "episodes agents"]], Any]:
    """Episode returns of every agent, and the game's records, of `episodes` episodes of the profile."""
    experience, records = play(game, profile, key, episodes, explore)
    return {name: jnp.sum(lived.reward, axis=0) for name, lived in experience.items()}, records


def _draw(role: Role, head: Float[Array, "batch head"], key: PRNGKeyArray, explore: Explore) -> Array:
    wanted = explore if isinstance(explore, bool) else explore.get(role.name, True)
    if wanted is False:
        return distribution.mode(role.action, head)
    draw = distribution.sample(role.action, head, jax.random.fold_in(key, zlib.crc32(role.name.encode())))
    return draw if wanted is True else jnp.where(wanted, draw, distribution.mode(role.action, head))


def _to_game(role: Role, raw: Array) -> Array:
    return role.action.from_unit(raw) if isinstance(role.action, Continuous) else raw
