"""Any Markov game as a PettingZoo environment, for users of other learning libraries (extra `env`).

The agents act one after the other in the order of play: all agents of the first role, then all of the second, and so
on. An agent of a later role observes what the earlier roles just did (a taker sees the providers' current quotes);
agents of one role do not see one another's actions of the step, whatever their turn. When the last agent has acted the
game moves, and every agent collects its reward. Episodes end by truncation at the horizon.

Agents are called `role_index`, for example `provider_0`. Actions are in the space's own bounds.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame, Continuous, Role

try:
    import gymnasium
    from pettingzoo import AECEnv
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"no package {missing.name}: pip install 'diffgames[env]' has it", name=missing.name
    ) from missing


class MarkovGameEnvironment(AECEnv):
    """A `pettingzoo.AECEnv` that plays `game`.

    The game's functions are compiled once; `reset(seed)` makes an episode a function of the seed and the actions.
    """

    metadata = {"name": "diffgames_markov_game", "render_modes": [], "is_parallelizable": False}  # noqa: RUF012

    def __init__(self, game: AbstractMarkovGame):
        super().__init__()
        self.game = game
        self.render_mode = None
        self._place = {f"{role.name}_{i}": (role, i) for role in game.roles for i in range(role.count)}
        self.possible_agents = list(self._place)
        self.agents = []
        self._key = jax.random.key(0)
        self._spaces = {agent: _space(role) for agent, (role, _) in self._place.items()}
        self._seen_spaces = {
            agent: gymnasium.spaces.Box(-np.inf, np.inf, (role.observation_size,), np.float32)
            for agent, (role, _) in self._place.items()
        }

    def observation_space(self, agent: str) -> gymnasium.Space:
        """Unbounded box of the role's observation vector."""
        return self._seen_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space:
        """Box with the action's own bounds, or a discrete set."""
        return self._spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode; without a seed the random stream goes on."""
        if seed is not None:
            self._key = jax.random.key(seed)
            for index, agent in enumerate(self.possible_agents):
                self.action_space(agent).seed(seed + index)
        self._key, key = jax.random.split(self._key)
        self._state, self._time = _reset(self.game, key), 0
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self._actions = {role.name: _neutral(role) for role in self.game.roles}
        self._seen = {role.name: self._look(role) for role in self.game.roles}
        self._turn = 0
        self.agent_selection = self.agents[0]

    def observe(self, agent: str) -> np.ndarray:
        """What the agent sees: refreshed when its role's turn begins."""
        role, index = self._place[agent]
        return self._seen[role.name][index]

    def step(self, action: Any) -> None:
        """Record the selected agent's action; the game moves after the last agent's.

        Raises `InvalidInput` naming agent and action where that lies outside the agent's space.
        """
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        role, index = self._place[agent]
        action = _checked(agent, role, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self._actions[role.name][index] = action
        self._turn += 1
        if self._turn == len(self.possible_agents):
            self._move()
        else:
            following, position = self._place[self.possible_agents[self._turn]]
            if position == 0:
                self._seen[following.name] = self._look(following)
        self.agent_selection = self.possible_agents[self._turn]
        self._accumulate_rewards()

    def render(self) -> None:
        """Nothing to draw: figures belong to the studies."""

    def close(self) -> None:
        """Nothing to release."""

    def _move(self) -> None:
        self._key, key = jax.random.split(self._key)
        actions = {name: jnp.asarray(value) for name, value in self._actions.items()}
        self._state, rewards, _ = _step(self.game, self._state, actions, key)
        rewards = {name: np.asarray(value) for name, value in rewards.items()}
        self._time += 1
        over = self._time >= self.game.horizon
        for agent, (role, index) in self._place.items():
            self.rewards[agent] = float(rewards[role.name][index])
            self.truncations[agent] = over
        self._turn = 0
        self._seen = {role.name: self._look(role) for role in self.game.roles}

    def _look(self, role: Role) -> np.ndarray:
        names = [other.name for other in self.game.roles]
        earlier = {name: jnp.asarray(self._actions[name]) for name in names[: names.index(role.name)]}
        return np.asarray(_observe(self.game, self._state, earlier, role.name), np.float32)


@eqx.filter_jit
def _reset(game: AbstractMarkovGame, key):
    return game.reset(key)


@eqx.filter_jit
def _step(game: AbstractMarkovGame, state, actions, key):
    return game.step(state, actions, key)


@eqx.filter_jit
def _observe(game: AbstractMarkovGame, state, actions, role: str):
    return game.observe(state, actions, role)


def _space(role: Role) -> gymnasium.Space:
    if isinstance(role.action, Continuous):
        low, high = np.asarray(role.action.low, np.float32), np.asarray(role.action.high, np.float32)
        return gymnasium.spaces.Box(low, high, dtype=np.float32)
    return gymnasium.spaces.Discrete(role.action.size)


def _checked(agent: str, role: Role, action: Any) -> np.ndarray:
    """The action as the game takes it; bounds are held to what float32 tells apart."""
    if isinstance(role.action, Continuous):
        low, high = np.asarray(role.action.low, np.float32), np.asarray(role.action.high, np.float32)
        allowed = f"{low.size} finite numbers from {low.tolist()} to {high.tolist()}"
    else:
        low, high = np.int32(0), np.int32(role.action.size - 1)
        allowed = f"an integer from 0 to {high}"
    try:
        given = np.asarray(action, float)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"action of {agent}", action, allowed) from error
    slack = 1e-6 * (high - low) if isinstance(role.action, Continuous) else 0
    inside = given.shape == low.shape and bool(np.all((given >= low - slack) & (given <= high + slack)))
    if not inside or (not isinstance(role.action, Continuous) and given != np.floor(given)):
        raise InvalidInput(f"action of {agent}", action, allowed)
    return given.astype(np.float32 if isinstance(role.action, Continuous) else np.int32)


def _neutral(role: Role) -> np.ndarray:
    if isinstance(role.action, Continuous):
        middle = (np.asarray(role.action.low) + np.asarray(role.action.high)) / 2
        return np.tile(middle.astype(np.float32), (role.count, 1))
    return np.zeros((role.count,), np.int32)
