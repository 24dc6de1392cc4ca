"""An over-the-counter market (Vadori et al.): book data → exchange agent → learned policies → skew → exploitability.

The study `otc-market` in forty lines and with a fraction of its training; `diffgames run otc-market` is the real thing.

Run with `python examples/over_the_counter_market.py`; writes over_the_counter_market.png.
"""

import jax
import numpy as np

from diffgames import evaluate, exploitability, train
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.train import initial_profile
from diffgames.markets.behaviour import skew_regression
from diffgames.plotting import label, new_figure
from diffgames.studies.exchange_parameters import fit_from
from diffgames.studies.market_parameters import MarketParameters, build_market

parameters = MarketParameters(provider_counts=(1, 1), taker_counts=(4, 1), steps=40)
exchange, report = fit_from(parameters, seed=0)
print(report)
market = build_market(parameters, exchange)

config = PPOConfig(episodes=30, passes=6, minibatch=2048, learning_rate=1e-3, gae_lambda=0.9)
start = initial_profile(market, jax.random.key(0), width=32)
result = train(market, start, config, jax.random.key(1), 30, learn=("provider", "taker"))
returns, record = evaluate(market, result.profile, jax.random.key(2), episodes=50)
skew = skew_regression(record)
print(f"providers earn {float(returns['provider'].mean()):.3f}, takers {float(returns['taker'].mean()):.3f}")
print(f"skew per lot of inventory: {skew.slope:.4f} ± {2 * skew.standard_error:.4f}")
agents = {"first provider": ("provider", 0)}
print(exploitability(market, result.profile, agents, config, jax.random.key(3), updates=5, episodes=100))

figure, (ax,) = new_figure()
for role, rewards in result.history["reward"].items():
    ax.plot(np.asarray(rewards).mean(axis=-1), label=f"{role}s")
label(ax, x=("update", ""), y=("mean episode reward", ""), title="Learning")
ax.legend()
figure.savefig("over_the_counter_market.png", dpi=150)
