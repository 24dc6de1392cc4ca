"""Does a Markov game keep its word? Checked by shapes and types alone, without playing a step.

For every role κ, in the order of play, `observe` gives Float[count, observation_size]; `step` gives a reward
Float[count] per role and the next state in the shapes and types of the present one (so that it can be scanned).
"""

from typing import Any

import jax
import jax.numpy as jnp

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame, Continuous
from diffgames.games.names import check_names


def check_markov_game(game: AbstractMarkovGame) -> None:
    """Raise `InvalidInput`, naming the member, what it gave and what it must give, if `game` breaks its contract."""
    names = [role.name for role in game.roles]
    check_names("roles", names)
    if not (isinstance(game.horizon, int) and game.horizon >= 1):
        raise InvalidInput("horizon", game.horizon, "an integer number of steps, at least 1")
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = _traced("reset", game.reset, key)
    actions: dict[str, Any] = {}
    for role in game.roles:
        seen = _traced(f"observe({role.name!r})", lambda s, a, name=role.name: game.observe(s, a, name), state, actions)
        _expect(f"observe({role.name!r})", seen, (role.count, role.observation_size))
        continuous = isinstance(role.action, Continuous)
        shape = (role.count, role.action.size) if continuous else (role.count,)
        actions[role.name] = jax.ShapeDtypeStruct(shape, jnp.float32 if continuous else jnp.int32)
    outcome = _traced("step", game.step, state, actions, key)
    if not (isinstance(outcome, tuple) and len(outcome) == 3):
        raise InvalidInput("step", type(outcome).__name__, "a tuple (next state, rewards by role, information)")
    following, rewards, _ = outcome
    if not isinstance(rewards, dict) or set(rewards) != set(names):
        given = sorted(rewards) if isinstance(rewards, dict) else type(rewards).__name__
        raise InvalidInput("step", given, f"rewards for each of {', '.join(names)}")
    for role in game.roles:
        _expect(f"step: reward of {role.name!r}", rewards[role.name], (role.count,))
    before, after = _signature(state), _signature(following)
    if before != after:
        raise InvalidInput("step", after, f"a next state like the one `reset` gives, {before}")


def _traced(name: str, function: Any, *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        what = (str(error).splitlines() or [""])[0]
        raise InvalidInput(name, type(error).__name__, f"a function that can be traced by JAX ({what})") from error


def _expect(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if getattr(array, "shape", None) != shape or not jnp.issubdtype(array.dtype, jnp.floating):
        given = f"{array.dtype}{list(array.shape)}" if hasattr(array, "shape") else type(array).__name__
        raise InvalidInput(name, given, f"floats of shape {list(shape)}")


def _signature(tree: Any) -> str:
    leaves, structure = jax.tree.flatten(tree)
    shapes = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves)
    return f"{structure.num_leaves} arrays: {shapes}"
