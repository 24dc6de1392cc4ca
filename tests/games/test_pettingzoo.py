"""PettingZoo's own conformance tests on the market, and the order of play they do not check."""

import warnings

import numpy as np
import pytest

pettingzoo_test = pytest.importorskip("pettingzoo.test", reason="the extra `env` is not installed")

from diffgames.errors import InvalidInput  # noqa: E402 - as below
from diffgames.games.pettingzoo import MarkovGameEnvironment  # noqa: E402 - after the check that pettingzoo exists


@pytest.fixture(scope="module")
def environment(build_market):
    return MarkovGameEnvironment(build_market(steps=6, probability=1.0))


def test_conformance(environment):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PettingZoo warns about unbounded observations, which ours are
        pettingzoo_test.api_test(environment, num_cycles=60, verbose_progress=False)


def test_seeds_reproduce_episodes(build_market):
    pettingzoo_test.seed_test(lambda: MarkovGameEnvironment(build_market(steps=4)), num_cycles=20)


def test_takers_see_the_quotes_of_the_same_step(environment):
    """Two episodes with one seed differ only in the providers' quotes; the takers notice before they act."""
    names = environment.game.role("taker").observation_names
    seen = []
    for spread in (-1.0, 0.8):
        environment.reset(seed=5)
        while environment.agent_selection.startswith("provider"):
            environment.step(np.asarray([spread, 0.0, 0.0], np.float32))
        seen.append(environment.observe("taker_0")[names.index("buying_cost")])
    assert seen[0] < seen[1]


def test_providers_do_not_see_one_another(environment):
    environment.reset(seed=6)
    before = environment.observe("provider_1").copy()
    environment.step(np.asarray([-1.0, 1.0, 1.0], np.float32))
    np.testing.assert_array_equal(environment.observe("provider_1"), before)


def test_an_episode_lasts_the_horizon_and_pays_every_step(environment):
    environment.reset(seed=7)
    turns, paid = 0, {}
    for agent in environment.agent_iter():
        _, reward, _, truncated, _ = environment.last()
        paid[agent] = paid.get(agent, 0.0) + reward
        environment.step(None if truncated else environment.action_space(agent).sample())
        turns += not truncated
    assert turns == environment.game.horizon * len(environment.possible_agents)
    assert all(np.isfinite(value) for value in paid.values()) and any(value != 0 for value in paid.values())


@pytest.mark.parametrize(
    ("agent", "action"),
    [("provider_0", [np.nan, 0.0, 0.0]), ("provider_0", None), ("provider_0", [0.0, 0.0]),
     ("provider_0", [0.0, 9.0, 0.0]), ("taker_0", 7), ("taker_0", -1), ("taker_0", 0.5),
     ("taker_0", None), ("taker_0", "buy")],
)  # fmt: skip
def test_an_action_outside_its_space_is_refused_with_the_agent(environment, agent, action):
    environment.reset(seed=8)
    while environment.agent_selection != agent:
        environment.step(environment.action_space(environment.agent_selection).sample())
    with pytest.raises(InvalidInput, match=f"action of {agent}"):
        environment.step(action)
    assert environment.agent_selection == agent
