"""What one agent could still gain against a policy that all share: every pure policy is tried, in NumPy.

Nothing of the learner's is used: per joint type the chain of the joint states is built agent by agent, and values are
power sums, Σ_t ζ^t, until what is left is below rounding. The gain is max_π' V̂(π', π) − V̂(π, π) over pure π'; it is
exact with one state, or where an agent's chain is moved by itself alone, and else a lower bound: where the state of the
others counts and is not seen, a mixed reply may gain more.
"""

import itertools
import math

import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.tabular import TabularGame
from diffgames.verification.certificate import Gap, exact_gap

MOST = 20_000
LEFT = 1e-14


def certify_shared(game: TabularGame, policy: Float[Array | np.ndarray, "S L A"], label: str = "") -> Gap:
    """The entry of a shared policy: what an agent drawn at random gains by its best pure policy."""
    played = np.asarray(policy, float)
    shape = (game.states, game.types, game.actions)
    if played.shape != shape or (played < 0).any() or np.abs(played.sum(-1) - 1).max() > 1e-6:
        raise InvalidInput("policy", list(played.shape), f"probabilities of the actions, {list(shape)}")
    places = game.states * game.types
    if game.actions**places > MOST:
        raise InvalidInput("game", f"{game.actions}^{places} pure policies", f"at most {MOST}")
    value = _shared_value(game, played, played)
    best = max(
        _shared_value(game, np.eye(game.actions)[list(choice)].reshape(shape), played)
        for choice in itertools.product(range(game.actions), repeat=places)
    )
    scale = game.reward_bound * game.normalizer
    return exact_gap(
        label or game.name, value, best - value, 1e-12 * scale, selected="best of all pure policies", scale=scale
    )


def _shared_value(game: TabularGame, first: np.ndarray, second: np.ndarray) -> float:
    """V̂(first, second), from the numbers of the game alone."""
    n, discount = game.agents, float(game.discount)
    reward, kernel = np.asarray(game.reward), np.asarray(game.kernel)
    start, supertypes = np.asarray(game.start), np.asarray(game.supertypes)
    steps = game.horizon + 1 if game.horizon is not None else 1
    if game.horizon is None and discount > 0:
        steps = math.ceil(math.log(LEFT) / math.log(discount)) + 1
    total = 0.0
    for number, types in enumerate(itertools.product(range(game.types), repeat=n)):
        chance = math.prod(float(supertypes[j, k]) for j, k in enumerate(types))
        if chance == 0:
            continue
        for i in range(n):
            law, played = np.ones(1), np.ones((1, 1))
            for j, k in enumerate(types):
                law = np.kron(law, start[k])
                played = np.kron(played, (first if j == i else second)[:, k])
            for t in range(steps):
                flow = law[:, None] * played
                total += chance * discount**t * float(np.sum(flow * reward[i, number])) / n
                law = np.tensordot(flow, kernel[number], axes=2)
    return total
