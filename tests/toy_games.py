"""Small Markov games with known optima, best responses and equilibria, and policies of stated form to play them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.markov import AbstractMarkovGame, Continuous, Discrete, Role
from diffgames.learning.policy import AbstractPolicy


class Aim(AbstractMarkovGame):
    """One agent aims at a visible target x ~ U[−½, ½]: reward −(a − x)², so a = x and the optimum is 0."""

    steps: int = eqx.field(static=True, default=4)

    @property
    def roles(self):
        return (Role("archer", 2, ("target", "time"), Continuous(("aim",), (-1.0,), (1.0,))),)

    @property
    def horizon(self):
        return self.steps

    def reset(self, key):
        return _targets(key, 2), jnp.int32(0)

    def observe(self, state, actions, role):
        target, time = state
        clock = jnp.broadcast_to(time.astype(jnp.float32) / self.steps, target.shape)
        return jnp.stack([target, clock], axis=1)

    def step(self, state, actions, key):
        target, time = state
        reward = -((actions["archer"][:, 0] - target) ** 2)
        return (_targets(key, 2), time + 1), {"archer": reward}, {}


class Door(AbstractMarkovGame):
    """Four doors, the k-th pays 1 and the rest nothing, k visible: the optimum is 1 per step. Discrete."""

    steps: int = eqx.field(static=True, default=4)

    @property
    def roles(self):
        names = ("first", "second", "third", "fourth")
        return (Role("guest", 2, names, Discrete(names)),)

    @property
    def horizon(self):
        return self.steps

    def reset(self, key):
        return jax.random.randint(key, (2,), 0, 4, jnp.int32)

    def observe(self, state, actions, role):
        return jax.nn.one_hot(state, 4, dtype=jnp.float32)

    def step(self, state, actions, key):
        reward = (actions["guest"] == state).astype(jnp.float32)
        return self.reset(key), {"guest": reward}, {}


class Recall(AbstractMarkovGame):
    """A cue shown at the first step alone, asked for at the last: 1 with memory, ½ without."""

    steps: int = eqx.field(static=True, default=4)

    @property
    def roles(self):
        return (Role("witness", 1, ("cue", "last"), Discrete(("no", "yes"))),)

    @property
    def horizon(self):
        return self.steps

    def reset(self, key):
        return jax.random.bernoulli(key, 0.5, (1,)).astype(jnp.int32), jnp.int32(0)

    def observe(self, state, actions, role):
        cue, time = state
        shown = jnp.where(time == 0, 2.0 * cue.astype(jnp.float32) - 1.0, 0.0)
        last = jnp.broadcast_to((time == self.steps - 1).astype(jnp.float32), shown.shape)
        return jnp.stack([shown, last], axis=1)

    def step(self, state, actions, key):
        cue, time = state
        right = (actions["witness"] == cue) & (time == self.steps - 1)
        return (cue, time + 1), {"witness": right.astype(jnp.float32)}, {}


class Cournot(AbstractMarkovGame):
    """n firms sell to a market of visible size s ~ U[½, 1½], drawn anew every step: reward q_i (s − Σ_j q_j).

    Firm i's best response to the others' total Q is (s − Q)/2; the symmetric equilibrium is q = s/(n + 1). Against
    others who play q = k s it is s (1 − (n − 1) k)/2 and gains s² ((1 − (n + 1) k)/2)² a step over playing k s too.
    """

    firms: int = eqx.field(static=True, default=3)
    steps: int = eqx.field(static=True, default=4)

    @property
    def roles(self):
        return (Role("firm", self.firms, ("size",), Continuous(("quantity",), (0.0,), (1.0,))),)

    @property
    def horizon(self):
        return self.steps

    def reset(self, key):
        return 1.0 + _targets(key, 1)[0]

    def observe(self, state, actions, role):
        return jnp.broadcast_to(state, (self.firms, 1))

    def step(self, state, actions, key):
        quantity = actions["firm"][:, 0]
        return self.reset(key), {"firm": quantity * (state - jnp.sum(quantity))}, {"price": state - jnp.sum(quantity)}

    def summary(self, records):
        return {"price": jnp.mean(records["price"])}

    def gain(self, k: float) -> float:
        """Expected gain in an episode of the best response to everybody playing q = k s: E s² = 13/12."""
        return self.steps * 13 / 12 * ((1 - (self.firms + 1) * k) / 2) ** 2


class Duopoly(AbstractMarkovGame):
    """Stackelberg's duopoly: the leader sets q₁, then the follower, who sees it, sets q₂; reward q_i (1 − q₁ − q₂).

    The follower's best reply is (1 − q₁)/2; against it the leader's best is ½: rewards 1/8 and 1/16 a step. (Setting
    quantities at once, both would play 1/3.)
    """

    steps: int = eqx.field(static=True, default=2)

    @property
    def roles(self):
        quantity = Continuous(("quantity",), (0.0,), (1.0,))
        return (
            Role("leader", 1, ("constant",), quantity),
            Role("follower", 1, ("quantity of the leader",), quantity),
        )

    @property
    def horizon(self):
        return self.steps

    def reset(self, key):
        return jnp.float32(0)

    def observe(self, state, actions, role):
        return jnp.ones((1, 1), jnp.float32) if role == "leader" else actions["leader"]

    def step(self, state, actions, key):
        leader, follower = actions["leader"][:, 0], actions["follower"][:, 0]
        price = 1.0 - leader - follower
        return state, {"leader": leader * price, "follower": follower * price}, {}


class Proportional(AbstractPolicy):
    """Plays k times the observation in a space of quantities [0, 1], almost without noise (σ = e⁻⁵ of a raw unit)."""

    k: Float[Array, ""]

    def initial_carry(self, batch):
        return ()

    def __call__(self, carry, observation):
        mean = 2.0 * self.k * observation - 1.0
        head = jnp.concatenate([mean, jnp.full_like(mean, -5.0)], axis=1)
        return carry, head, jnp.zeros((observation.shape[0],), jnp.float32)


def _targets(key, count):
    return jax.random.uniform(key, (count,), jnp.float32, -0.5, 0.5)
