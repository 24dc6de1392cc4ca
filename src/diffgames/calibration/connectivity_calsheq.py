"""CALSHEQ where connectivity alone decides: the calibrator without agents, against exact statistics.

The market (`connectivity_market`) gives every Λ its exact shares and percentiles, so an update of Algorithm 1 is the
calibrator's alone: move the particles, take the rewards 1/(1 + Σ_k w_k ℓ_k) of their statistics, improve π^Λ by PPO. A
target missed here is the calibrator's own doing: there is no noise of episodes, and there are no agents to adapt.

Particles scatter by what π^Λ draws to explore. A law that scatters about f* has a loss E|f − f*| > 0 though its mean
be right, and clipping at the ends of the ranges moves that mean: `explored` are the particles, `settled` what they are
after mean increments alone (`calsheq.settled`).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from diffgames.calibration import calsheq
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, Target, reward
from diffgames.learning.ppo import Learner, PPOConfig, improve


class Calibrated(eqx.Module):
    """The calibrator, its particles, the particles without exploration, and the mean reward of every update."""

    calibrator: Learner
    explored: Float[Array, "*trainings episodes components"]
    settled: Float[Array, "*trainings episodes components"]
    reward: Float[Array, "*trainings updates"]


@eqx.filter_jit
def train(
    market: ConnectivityMarket,
    targets: tuple[Target, ...],
    increments: bool,
    keys: Key[Array, " trainings"],
    config: PPOConfig,
    width: int,
    updates: int,
    settling: int,
    exploration: float | None,
) -> Calibrated:
    """Calibrate once for every key, from all probabilities one half; `increments=False` is the ablation *no state*."""
    space = SupertypeProfile(len(market.sizes))
    role = space.role(increments)

    def training(key: PRNGKeyArray) -> Calibrated:
        start_key, key = jax.random.split(key)
        begun = calsheq.new_calibrator(space, increments, start_key, width, config, exploration)
        laws = jnp.full((config.episodes, len(space.names)), 0.5, jnp.float32)

        def update(state: tuple[Learner, Array], key: PRNGKeyArray) -> tuple[tuple[Learner, Array], Array]:
            calibrator, laws = state
            move_key, improve_key = jax.random.split(key)
            moved = calsheq.move(space, increments, calibrator, laws, move_key)
            earned = reward(targets, statistics(market, moved.laws))
            calibrator, _ = improve(calibrator, role, moved.experience(earned), config, improve_key)
            return (calibrator, moved.laws), jnp.mean(earned)

        (calibrator, laws), rewards = jax.lax.scan(update, (begun, laws), jax.random.split(key, updates))
        return Calibrated(calibrator, laws, calsheq.settled(space, increments, calibrator, laws, settling), rewards)

    return jax.vmap(training)(keys)


def statistics(market: ConnectivityMarket, laws: Float[Array, "*laws components"]) -> Statistics:
    """The exact statistics of every Λ."""
    return market.expected(laws.reshape(*laws.shape[:-1], len(market.providers), len(market.sizes)))
