"""A certificate given the type: what an agent of a known type gains by deviators that cost no training.

An average over types says that a profile is nearly an equilibrium where one type earns well and another loses. For an
agent i, conditions θ (games in which its type is known) and rules d,

    g_i(θ, d) = E[J_i(d, π₋ᵢ) − J_i(π) | θ],

on episodes that both share. The rule with the highest lower bound (one-sided 95%) on *validation* episodes, its own
policy without exploration among them, is judged on *held-out* ones. What comes out is a lower bound of the gap given θ;
over several conditions the certificate's `significant` shares its level.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import AbstractPolicy, Carry, Profile
from diffgames.learning.rollout import play
from diffgames.verification.best_response import CAUTION
from diffgames.verification.certificate import Gap, gap_of_pairs
from diffgames.verification.deviation import DEVIATOR, Deviation

OWN = "its policy without exploration"


class Either(AbstractPolicy):
    """One of two policies, by a number: so that a rule and the agent's own policy are one compiled program."""

    own: AbstractPolicy
    rule: AbstractPolicy
    ruled: Bool[Array, ""]

    def initial_carry(self, batch: int) -> Carry:
        return (self.own.initial_carry(batch), self.rule.initial_carry(batch))

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        own, head, value = self.own(carry[0], observation)
        rule, ruled, nothing = self.rule(carry[1], observation)
        return (own, rule), jnp.where(self.ruled, ruled, head), jnp.where(self.ruled, nothing, value)


def gaps_given_types(
    games: Mapping[str, AbstractMarkovGame],
    profile: Profile,
    role: str,
    index: int,
    rules: Mapping[str, AbstractPolicy],
    key: PRNGKeyArray,
    *,
    validation_episodes: int = 100,
    episodes: int = 400,
    played: Mapping[str, AbstractMarkovGame] | None = None,
) -> list[Gap]:
    """The entry of agent `index` of `role` in each of `games` {condition: game}, best of `rules` and its own policy.

    Games differ in arrays alone, rules too: all is one compiled program. `played` are the games in which the agent
    earns what the profile has it earn, where they are others (as in `best_response.best_responses`). `InvalidInput`
    where there is no game or no rule, or fewer than two episodes.
    """
    for name, found, least in (
        ("games", len(games), 1),
        ("rules", len(rules), 1),
        ("validation_episodes", validation_episodes, 2),
        ("episodes", episodes, 2),
    ):
        if found < least:
            raise InvalidInput(name, found, f"at least {least}")
    validation_key, test_key = jax.random.split(key)
    first = next(iter(rules.values()))
    own = Either(profile[role], first, jnp.asarray(False))  # whom a function plays in `played`: it has no policy
    tried = ({OWN: own} if played is None else {}) | {
        name: Either(profile[role], rule, jnp.asarray(True)) for name, rule in rules.items()
    }

    def lived(game: AbstractMarkovGame, policy: Either, explore: bool, key: PRNGKeyArray) -> np.ndarray:
        deviation = Deviation(game, role, index)
        return np.asarray(_returns(deviation, profile, policy, jnp.asarray(explore), key, validation_episodes))

    keys = [jax.random.fold_in(test_key, number) for number in range(-(-episodes // validation_episodes))]
    entries = []
    for condition, game in games.items():
        profiled = game if played is None else played[condition]
        base = lived(profiled, own, True, validation_key)
        bounds = {name: _bound(lived(game, policy, False, validation_key) - base) for name, policy in tried.items()}
        best = max(bounds, key=lambda name: bounds[name])
        pairs = [(lived(profiled, own, True, k), lived(game, tried[best], False, k)) for k in keys]
        before, after = (np.concatenate(part)[:episodes] for part in zip(*pairs, strict=True))
        entries.append(gap_of_pairs(condition, before, after, selected=best))
    return entries


def _bound(differences: Float[np.ndarray, " episodes"]) -> float:
    """One-sided 95% lower bound of a mean gain."""
    return float(differences.mean() - CAUTION * differences.std(ddof=1) / np.sqrt(differences.size))


@eqx.filter_jit
def _returns(
    deviation: Deviation,
    profile: Profile,
    policy: AbstractPolicy,
    explore: Bool[Array, ""],
    key: PRNGKeyArray,
    episodes: int,
) -> Float[Array, " episodes"]:
    """Episode returns of the deviator; equal keys share everything but its choices."""
    lived, _ = play(deviation, {**profile, DEVIATOR: policy}, key, episodes, {DEVIATOR: explore})
    return jnp.sum(lived[DEVIATOR].reward[:, :, 0], axis=0)
