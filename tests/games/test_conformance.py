"""A game that breaks its contract is told which member does, and how."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.conformance import check_markov_game
from diffgames.games.markov import AbstractMarkovGame, Continuous, Discrete, Role


class Relay(AbstractMarkovGame):
    """Two roles, one after the other; `flaw` names the member that breaks the contract."""

    flaw: str = eqx.field(static=True, default="none")

    @property
    def roles(self):
        if self.flaw == "roles":
            return ()
        first = Role("first", 2, ("state",), Continuous(("push",), (-1.0,), (1.0,)))
        return first, Role("second", 3, ("state", "push"), Discrete(("no", "yes")))

    @property
    def horizon(self):
        return 0 if self.flaw == "horizon" else 5

    def reset(self, key):
        return jax.random.normal(key, (), jnp.float32)

    def observe(self, state, actions, role):
        if role == "first":
            return jnp.full((2, 2 if self.flaw == "size" else 1), state)
        if self.flaw == "order":
            return actions["second"]
        return jnp.broadcast_to(jnp.stack([state, actions["first"].mean()]), (3, 2))

    def step(self, state, actions, key):
        reward = {"first": jnp.zeros(2, jnp.float32), "second": jnp.zeros(3, jnp.float32)}
        if self.flaw == "reward":
            reward["second"] = jnp.zeros(2, jnp.float32)
        if self.flaw == "roles rewarded":
            del reward["second"]
        if self.flaw == "state":
            state = jnp.stack([state, state])
        return (state, reward) if self.flaw == "tuple" else (state, reward, {})


def test_a_good_game_passes():
    check_markov_game(Relay())


@pytest.mark.parametrize(
    ("flaw", "named"),
    [
        ("roles", "roles"),
        ("horizon", "horizon"),
        ("size", r"observe\('first'\): 'float32\[2, 2\]'.*\[2, 1\]"),
        ("order", r"observe\('second'\).*KeyError"),
        ("reward", r"reward of 'second': 'float32\[2\]'.*\[3\]"),
        ("roles rewarded", "step.*first, second"),
        ("state", r"step.*float32\[2\].*like the one"),
        ("tuple", "step.*tuple"),
    ],
)
def test_a_broken_game_is_told_where(flaw, named):
    with pytest.raises(InvalidInput, match=named):
        check_markov_game(Relay(flaw=flaw))
