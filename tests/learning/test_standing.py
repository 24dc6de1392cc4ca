"""Standing: the worst-off group over a window, up to what is enough; the latest of the highest is the best."""

import jax.numpy as jnp
import numpy as np

from diffgames.games.fixed_agents import fix_agents
from diffgames.learning.standing import Best, Compared, better, every_role, standing
from toy_games import Aim


def test_the_worst_off_group_decides_up_to_what_is_enough():
    rewards = {"a": jnp.asarray(np.r_[np.zeros(10), np.ones(10)][:, None] * [[1.0, -1.0]])}
    up, down = ("a", (0,)), ("a", (1,))

    def found(compared):
        return [float(standing(rewards, compared, jnp.int32(k))) for k in (8, 9, 14, 19)]

    np.testing.assert_allclose(found(Compared((up, down))), [-np.inf, 0.0, -0.5, -1.0])
    np.testing.assert_allclose(found(Compared((up,))), [-np.inf, 0.0, 0.5, 1.0])
    np.testing.assert_allclose(found(Compared((up,), enough=0.25)), [-np.inf, 0.0, 0.25, 0.25])


def test_the_latest_of_the_highest_is_the_best_and_none_yet_is_never():
    def at(reached, updates):
        return Best({}, jnp.float32(reached), jnp.int32(updates))

    first = at(-np.inf, 0)
    assert int(better(first, at(-np.inf, 1)).updates) == 0
    assert int(better(at(1.0, 3), at(1.0, 4)).updates) == 4
    assert int(better(at(1.0, 3), at(0.5, 4)).updates) == 3


def test_agents_that_functions_play_are_left_out():
    fixed = fix_agents(Aim(), {("archer", 0): lambda seen, key: (0.0,)})
    assert every_role(Aim(), ["archer"]).groups == (("archer", (0, 1)),)
    assert every_role(fixed, ["archer"]).groups == (("archer", (1,)),)
