"""One PPO update of an over-the-counter market with five agents and the paper's network: 4 and 30 passes.

An update plays 60 episodes of 100 steps with 2 providers and 3 takers and improves both policies (two hidden layers of
256 units, actor and critic) by the stated number of passes over what was played. The twin takes the same passes as one
would write them first in JAX: optax's Adam, actor and critic apart, one compiled gradient step per minibatch called
from a Python loop. Its minibatches are prepared before the clock starts and it plays no episodes, which favours it.

`share_of_peak` is the rate of floating-point operations of all matrix products of an update over that of one large
matrix product on the same device.
"""

import jax
import jax.numpy as jnp
import optax

from diffgames.benchmarks.timing import best_of, seconds_of
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.train import initial_profile, start, update
from diffgames.markets.environment import OTCMarket
from diffgames.studies.exchange_parameters import fit_from
from diffgames.studies.market_parameters import MarketParameters, build_market

ROLES, WIDTH, REPEATS = ("provider", "taker"), 256, 2
PROVIDERS, TAKERS = (1, 1), (2, 1)


def run() -> dict[str, float | str]:
    """Environment and agent steps per second, the share of the peak, and the ratio to the plain twin."""
    parameters = MarketParameters(provider_counts=PROVIDERS, taker_counts=TAKERS)
    market = build_market(parameters, fit_from(parameters, 0)[0])
    agents = sum(role.count for role in market.roles)
    peak = peak_rate()
    figures: dict[str, float | str] = {"device": jax.devices()[0].device_kind, "peak_gigaflops": peak / 1e9}
    for passes in (4, 30):
        config = PPOConfig(passes=passes)
        environment_steps = config.episodes * market.horizon
        seconds = update_seconds(market, config)
        operations = matrix_operations(market, config)
        name = f"passes_{passes}"
        figures |= {
            f"{name}_environment_steps_per_second": environment_steps / seconds,
            f"{name}_agent_steps_per_second": environment_steps * agents / seconds,
            f"{name}_share_of_peak": operations / seconds / peak,
        }
        if passes == 4:
            plain = sum(
                plain_seconds(role.observation_size, _samples(market, config, role), config) for role in market.roles
            )
            figures |= {f"{name}_plain_environment_steps_per_second": environment_steps / plain}
            figures |= {f"{name}_ratio_to_plain": plain / seconds}
    return figures


def update_seconds(market: OTCMarket, config: PPOConfig) -> float:
    """Shortest of several updates, all from the same state."""
    profile = initial_profile(market, jax.random.key(0), WIDTH)
    state = start(market, profile, config, jax.random.key(1), 1 + REPEATS, ROLES)
    return best_of(REPEATS, lambda: update(market, profile, state, config)).wall


def _samples(market: OTCMarket, config: PPOConfig, role) -> int:
    return config.episodes * market.horizon * role.count


def matrix_operations(market: OTCMarket, config: PPOConfig) -> float:
    """Floating-point operations of the matrix products of an update: a gradient costs three evaluations."""
    total = 0.0
    for role in market.roles:
        heads = 2 * role.action.size if role.name == "provider" else role.action.size
        one = 2.0 * (2 * (role.observation_size * WIDTH + WIDTH * WIDTH) + WIDTH * (heads + 1))
        total += one * _samples(market, config, role) * (1 + 3 * config.passes)
    return total


def peak_rate(size: int = 2048) -> float:
    """Operations per second of a single-precision matrix product of `size`."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    return 2.0 * size**3 / best_of(4, lambda: product(a)).wall


def plain_seconds(features: int, samples: int, config: PPOConfig) -> float:
    """Seconds of the twin's passes over `samples` samples of one role (a categorical head of three)."""
    key = jax.random.key(0)
    shapes = [(features, WIDTH), (WIDTH, WIDTH), (WIDTH, 3)], [(features, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)]
    layers = [[0.05 * jax.random.normal(key, shape, jnp.float32) for shape in tower] for tower in shapes]
    optimiser = optax.adam(config.learning_rate)
    size = min(config.minibatch, samples)
    batch = {
        "seen": jax.random.normal(key, (size, features), jnp.float32),
        "action": jax.random.randint(key, (size,), 0, 3, jnp.int32),
        "score": jnp.full((size,), -1.1, jnp.float32),
        "advantage": jax.random.normal(key, (size,), jnp.float32),
        "target": jax.random.normal(key, (size,), jnp.float32),
    }

    def tower(weights, seen):
        for layer in weights[:-1]:
            seen = jnp.tanh(seen @ layer)
        return seen @ weights[-1]

    def loss(layers, batch):
        scores = jax.nn.log_softmax(tower(layers[0], batch["seen"]))
        chosen = jnp.take_along_axis(scores, batch["action"][:, None], axis=1)[:, 0]
        ratio = jnp.exp(chosen - batch["score"])
        gain = jnp.minimum(ratio * batch["advantage"], jnp.clip(ratio, 0.7, 1.3) * batch["advantage"])
        error = (tower(layers[1], batch["seen"])[:, 0] - batch["target"]) ** 2
        return jnp.mean(error) - jnp.mean(gain)

    @jax.jit
    def descend(layers, state, batch):
        changes, state = optimiser.update(jax.grad(loss)(layers, batch), state)
        return optax.apply_updates(layers, changes), state

    with jax.enable_x64(False):
        state = optimiser.init(layers)
        layers, state = jax.block_until_ready(descend(layers, state, batch))

        def passes():
            trained, after = layers, state
            for _ in range(config.passes * max(1, round(samples / size))):
                trained, after = descend(trained, after, batch)
            return trained

        return seconds_of(passes)[0]
