"""Rules of the over-the-counter market: deviators of few numbers, without training, that a profile must withstand.

A provider that quotes by a line in its inventory q (in inventory scales), with market spreads ε and a hedge fraction h,

    ε_spread = s,    ε_skew = −k q,    ε_hedge = h;     withdrawing is the widest spread without a hedge;

a taker that trades by a schedule: with f^b, f^a the fractions of steps in which it bought and sold so far and q^b, q^a
its targets, it buys where q^b − f^b is the larger of the two gaps and above a threshold c, sells where q^a − f^a is,
and holds otherwise. c = 0 keeps the fractions at their targets as nearly as whole trades can: for a taker of flow alone
(ω = 0), whose rewards sum to D₀ − D_T (equation (6)), nothing earns more than D₀. c = 2 never trades.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.markov import Continuous, Role
from diffgames.learning.policy import AbstractPolicy, Carry

FLAT = -5.0  # log σ, unread: rules take the most likely action
SURE = 50.0  # logit of the action taken


class LinearQuoter(AbstractPolicy):
    """A provider's rule: spread, skew against inventory and hedge, in the units of the role's actions.

    Attributes:
        spread, slope, hedge: s, k, h.
        low, high: bounds of the role's actions. inventory: where an observation holds q.
    """

    spread: Float[Array, ""]
    slope: Float[Array, ""]
    hedge: Float[Array, ""]
    low: Float[Array, "3"]
    high: Float[Array, "3"]
    inventory: int = eqx.field(static=True)

    def initial_carry(self, batch: int) -> Carry:
        return ()

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        q = observation[:, self.inventory]
        action = jnp.stack([jnp.full_like(q, self.spread), -self.slope * q, jnp.full_like(q, self.hedge)], axis=1)
        unit = 2.0 * (action - self.low[None, :]) / (self.high - self.low)[None, :] - 1.0
        return carry, jnp.concatenate([unit, jnp.full_like(unit, FLAT)], axis=1), jnp.zeros_like(q)


class Schedule(AbstractPolicy):
    """A taker's rule: keep the fractions of steps bought and sold at their targets, above a threshold c."""

    threshold: Float[Array, ""]
    features: tuple[int, int, int, int] = eqx.field(static=True)

    def initial_carry(self, batch: int) -> Carry:
        return ()

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        buy_target, sell_target, bought, sold = (observation[:, feature] for feature in self.features)
        scores = jnp.stack([jnp.full_like(bought, self.threshold), buy_target - bought, sell_target - sold], axis=1)
        return carry, SURE * jax.nn.one_hot(jnp.argmax(scores, axis=1), 3, dtype=jnp.float32), jnp.zeros_like(bought)


def provider_rules(role: Role) -> dict[str, AbstractPolicy]:
    """Withdrawing, and quoters at three spreads with and without a skew or a hedge."""
    assert isinstance(role.action, Continuous)
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (role.action.low, role.action.high))
    where = role.observation_names.index("inventory")

    def quoter(spread: float, slope: float, hedge: float) -> LinearQuoter:
        s, k, h = (jnp.asarray(number, jnp.float32) for number in (spread, slope, hedge))
        return LinearQuoter(s, k, h, low, high, where)

    widest, narrowest = role.action.high[0], role.action.low[0]
    quoted = [(s, k, h) for s in (narrowest / 2, 0.0, widest / 2) for k, h in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5))]
    named = {f"spread {s:+g}, skew −{k:g} q, hedge {h:g}": quoter(s, k, h) for s, k, h in quoted}
    return {"withdrawing": quoter(widest, 0.0, 0.0), **named}


def taker_rules(role: Role) -> dict[str, AbstractPolicy]:
    """Never trading, and the schedule that meets the targets."""
    names = ("buy_target", "sell_target", "bought_fraction", "sold_fraction")
    where = tuple(role.observation_names.index(name) for name in names)
    rules: Mapping[str, float] = {"never trading": 2.0, "the schedule that meets the targets": 0.0}
    return {name: Schedule(jnp.asarray(c, jnp.float32), where) for name, c in rules.items()}  # type: ignore[arg-type]


RULES = {"provider": provider_rules, "taker": taker_rules}
