"""Agents by name and from a file in the market: quoters against the solver, takers against their schedules, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.fixed_agents import FixedAgents
from diffgames.games.market_making_input import market_making_game
from diffgames.learning.policy import FixedProbabilities
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile
from diffgames.markets import executors, quoters
from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies.otc_market import STUDY, OTCConfig
from diffgames.studies.own_agents import agent, check_sources, fixed_market, market_making, pnl_by_agent
from diffgames.studies.parameters import Text, build_config

FILE = """
class Quoter:
    def __init__(self, spread=0.5):
        self.spread = spread
    def __call__(self, observation, key):
        return self.spread, -0.1 * observation["inventory"], 0.25 * abs(observation["inventory"])
def half(observation, key):
    return 1.0, 2.0
"""


@pytest.fixture(scope="module")
def market(build_market):
    return build_market(providers=(2,), takers=(3, 3), probability=1.0, quantity=None)


def quoted(quoter, time, inventory, steps=30):
    number = lambda value: jnp.asarray(value, jnp.float32)  # noqa: E731 - shorthand in a test
    seen = {"time": number(time), "steps_left": number(steps - time), "inventory": number(inventory)}
    return [float(one) for one in quoter(seen, jax.random.key(0))]


def test_cartea_and_jaimungal_are_the_solver_without_risk_aversion(market):
    """Two routes: a matrix exponential here, the library's integration of the certainty equivalents there."""
    _, k, rate, _, size = quoters.habits(market, None, None, 0.4)
    quoter = quoters.cartea_jaimungal(market, penalty=0.01, terminal_penalty=0.02, rate=0.4)
    game = market_making_game(
        gamma=0.0, k=k, A=rate, sigma=1.0, xi=0.0, switching="none", T=float(market.steps),
        inventory_max=quoters.LARGEST, running_penalty=0.01, terminal_quadratic=0.02,
    )  # fmt: skip
    solution = solve_market_maker(game, steps=market.steps, closed_form=False)
    ask, bid = (np.asarray(one)[:, 0, :, 0] for one in (solution.ask, solution.bid))
    for time, trades in ((0, 0), (0, 3), (29, -2)):
        place = quoters.LARGEST + trades
        a, b = ask[time, place], bid[time, place]
        np.testing.assert_allclose(quoted(quoter, time, trades * size)[:2], [a + b, (a - b) / 2], atol=2e-5)


def test_gueant_is_the_solution_far_from_the_end(build_market):
    """The library's exact quotes after a long time; near q = 0 the closed approximation is a few percent off."""
    long = build_market(providers=(2,), takers=(3, 3), steps=400)
    given = {"risk_aversion": 0.05, "k": 1.5, "rate": 0.5}
    exact, approximate = quoted(market_making(long, **given), 0, 0), quoted(quoters.gueant(long, **given), 0, 0)
    np.testing.assert_allclose(exact[0], approximate[0], rtol=0.05)
    held = quoters.habits(long, None, None, None)[4]
    lean = [quoted(one(long, **given), 0, held)[1] for one in (market_making, quoters.gueant)]
    np.testing.assert_allclose(lean[0], lean[1], rtol=0.15)


def test_avellaneda_and_stoikov_by_hand(market):
    """Far from calm: γ = 0.1, σ²τ of the whole episode is the price scale squared."""
    spread, skew, hedge = quoted(quoters.avellaneda_stoikov(market, 0.1, 2.0), 0, 4.0)
    size = quoters.habits(market, None, None, None)[4]
    risk = 0.1 * float(market.price_scale) ** 2
    np.testing.assert_allclose([spread, skew, hedge], [risk + 20 * np.log(1.05), -risk * 4 / size, 0], rtol=1e-5)


def test_the_market_carries_out_what_is_answered(market, tmp_path):
    """Ticks and lots in the record; executors hold N at the end, participation its share, coin tosses both sides."""
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    takers = ["twap(share=0.4)", "vwap(share=-0.5)", "almgren-chriss(share=1.0,urgency=0.1)", "pov(rate=0.2)"]
    config = OTCConfig(
        provider={"0": f"{file}:Quoter(spread=0.4)", "1": "market-making"},
        taker={str(i): words for i, words in enumerate([*takers, "coin-toss", "momentum"])},
    )
    game = fixed_market(market, config)
    assert isinstance(game, FixedAgents)
    profile = {**initial_profile(market, jax.random.key(0), 8), "taker": FixedProbabilities.of([1.0, 1.0, 1.0])}
    _, record = evaluate(game, profile, jax.random.key(1), 16)
    direction = np.asarray(record.taker_direction)
    done = np.abs(direction).sum(axis=0)
    assert (done[:, 0] == 12).all() and (direction[..., 0] >= 0).all()
    assert (done[:, 1] == 15).all() and (direction[..., 1] <= 0).all()
    assert (done[:, 2] == 30).all()
    volume = (np.abs(direction) * np.asarray(record.taker_type.quantity)).sum(axis=-1)
    assert (np.abs(direction[..., 3]).sum(0) * 2.0 <= 0.2 * volume.sum(0) + 2.0).all() and done[:, 3].min() > 0
    coins = direction[..., 4]
    assert (np.abs(coins) == 1).all() and abs(coins.mean()) < 4 / coins.size**0.5
    change = np.diff(np.asarray(record.price), axis=0)
    np.testing.assert_array_equal(direction[1:, :, 5], np.sign(change))
    held, tweak = np.asarray(record.inventory)[..., 0], np.asarray(record.skew_tweak)[..., 0]
    x = (np.asarray(record.best_ask) - np.asarray(record.best_bid))[..., 0]
    np.testing.assert_allclose(tweak * x, -0.1 * held, atol=1e-4)
    np.testing.assert_allclose((1 + np.asarray(record.spread_tweak)[..., 0]) * x, 0.4, atol=1e-4)
    assert np.allclose(np.asarray(record.hedge_fraction)[..., 0][np.abs(held) > 0.1], 0.25)
    table = pnl_by_agent(market, record, {("taker", 0): "twap"})
    total = np.asarray(record.taker_pnl)[..., 0].sum(axis=0)
    assert table["taker_0 twap"][0] == pytest.approx(total.mean(), rel=1e-5) and table["taker_0 twap"][1] > 0
    assert set(table) == {
        "provider_0 of the profile",
        "taker_0 twap",
        "taker_0 of the profile",
        "taker_1 of the profile",
    }


def test_almgren_and_chriss_come_first_and_the_smile_at_both_ends(market):
    urgent, smile = executors.almgren_chriss(market, urgency=0.2), executors.vwap(market, share=1.0, smile=9.0)
    seen = lambda time, held: {  # noqa: E731 - shorthand in a test
        name: jnp.asarray(value, jnp.float32)
        for name, value in {"time": time, "inventory": held, "quantity": 1.0}.items()
    }
    key = jax.random.key(0)
    done = 15 * (1 - np.sinh(0.2 * 20) / np.sinh(0.2 * 30))  # after ten steps
    assert urgent(seen(9, np.floor(done - 0.5)), key)["buy"] and not urgent(seen(9, np.ceil(done)), key)["buy"]
    assert smile(seen(4, 5), key)["buy"] and not smile(seen(14, 15), key)["buy"]


def test_settings_of_one_agent(market):
    """`provider.0=…` on the command line, or the whole dictionary, which the parts extend."""
    config, _ = build_config(STUDY, "quick", {"provider.0": Text("gueant"), "provider.2": Text("f.py:Q(a=1)")})
    assert config.provider == {"0": "gueant", "2": "f.py:Q(a=1)"} and config.taker == {}
    config, _ = build_config(STUDY, "quick", {"taker": Text('{"1": "twap"}'), "taker.0": Text("pov")})
    assert config.taker == {"0": "pov", "1": "twap"}


@pytest.mark.parametrize(
    ("role", "place", "words", "said"),
    [
        ("provider", "0", "guent", "did you mean 'gueant'"),
        ("provider", "0", "twap", "FILE.py:NAME"),
        ("provider", "9", "gueant", "provider.0 to provider.1"),
        ("provider", "first", "gueant", "the number of a provider"),
        ("provider", "0", "nowhere.py:Quoter", "exists"),
        ("provider", "0", "{}:Qoter", "did you mean 'Quoter'"),
        ("provider", "0", "{}:half", "shape"),
        ("provider", "0", "{}:Quoter(width=1)", "arguments that it takes"),
        ("taker", "0", "twap(share=2)", "from -1 to 1"),
        ("taker", "0", "twap(0.5)", "by name"),
        ("taker", "0", "twap((", "with arguments"),
    ],
)
def test_what_does_not_fit_names_the_agent(role, place, words, said, market, tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    config = OTCConfig(**{role: {place: words.format(tmp_path / "mine.py")}})
    with pytest.raises(InvalidInput) as caught:
        fixed_market(market, config)
    assert f"{role}.{place}" in str(caught.value) and said in str(caught.value)


def test_a_function_of_a_file_takes_keywords(market, tmp_path):
    (tmp_path / "two.py").write_text("def flat(observation, key, spread=1.0):\n    return spread, 0.0, 0.0\n")
    act = agent(market, ("provider", 0), f"{tmp_path / 'two.py'}:flat(spread=3)")
    assert act({}, jax.random.key(0)) == (3, 0.0, 0.0)


@pytest.mark.parametrize(
    "words", ["no_such_quoter", "absent.py:Quoter", "gueant(0.5)"], ids=["name", "file", "unnamed argument"]
)
def test_a_wrong_agent_is_refused_before_a_market_is_fitted(words):
    with pytest.raises(InvalidInput, match=r"provider\.0"):
        check_sources(OTCConfig(provider={"0": words}))
