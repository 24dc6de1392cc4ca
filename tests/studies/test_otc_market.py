"""The main job from the command line, tiny: every headline value, the certificate, reuse of a profile, bad input."""

import json
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.markets.level2 import Level2
from diffgames.markets.synthetic import synthetic_level2
from diffgames.records import load_profile
from diffgames.studies.market_parameters import MarketParameters, build_market
from diffgames.studies.otc_market import OTCConfig, _exchange_share
from toy_market import TINY_RUN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run folder of a tiny run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["run", "otc-market", "--seed", "3", "--out", str(folder), "--set", *TINY_RUN]) == 0
    return folder


def save_level2(book: Level2, path: Path) -> None:
    """Snapshots in time, as `read_level2` reads them."""
    sides = np.stack([book.ask_price, book.ask_size, book.bid_price, book.bid_size], axis=2).reshape(len(book), -1)
    np.savetxt(path, np.column_stack([np.arange(len(book)), sides]), fmt="%d", delimiter=",")


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_the_run_folder_holds_what_was_promised(folder):
    result = result_of(folder)
    headline = result["headline"]
    supertypes = {"provider_0", "provider_1", "taker_0", "taker_1"}
    assert set(headline["reward_first"]) == set(headline["reward_last"]) == supertypes
    assert len(headline["market_share"]) == 3 and 0 < sum(headline["market_share"]) <= 1
    assert headline["updates"] == 2 and headline["imbalance"] < 1e-2
    assert headline["flow_variance_ratio"] > 0 and headline["flow_variance_ratio_error"] > 0
    assert set(headline["flow_variance_by_supertype"]) == {"taker_0", "taker_1"}
    assert headline["pnl_penalty"] < 0  # quick marks to the book
    assert headline["skew_standard_error"] > 0 and headline["agent_steps_per_second"] > 0
    entries = result["certificate"]["entries"]
    trained = {name: entry for name, entry in entries.items() if entry["curves"]}
    assert len(trained) == 4 and set(entries) == set(trained) | set(headline["gap_by_type"])
    for entry in trained.values():
        assert entry["interval"][0] <= entry["gain"] <= entry["interval"][1]
        assert entry["budget"]["updates"] == 2 and entry["curves"]["fresh"]["updates"][-1] == 2
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures == {
        "learning",
        "market_day",
        "skew",
        "shares",
        "connectivity",
        "deviators",
        "types",
        "facts",
        "costs",
    }


def test_a_profile_plays_another_market_without_learning(folder, tmp_path):
    """Other counts, types, connections: same policies, no updates, other numbers."""
    changed = [
        f"profile={folder}",
        "taker_counts=[3,4]",
        "provider_risk_aversion=[1.5,0.1]",
        "connectivity=[[0.5,0.5],[1,1]]",
        "taker_exchange=[[0.5],[1]]",
    ]
    reused = tmp_path / "reused"
    assert main(["run", "otc-market", "--seed", "4", "--out", str(reused), "--set", *TINY_RUN, *changed]) == 0
    headline = result_of(reused)["headline"]
    assert not any("other data" in warning for warning in result_of(reused)["warnings"])
    assert headline["updates"] == 0 and "reward_first" not in headline
    old, new = load_profile(folder), load_profile(reused)
    assert set(old) == set(new) == {"provider", "taker"}
    np.testing.assert_array_equal(old["provider"].first, new["provider"].first)
    assert headline["market_share"] != result_of(folder)["headline"]["market_share"]


def test_a_profile_of_another_shape_is_refused(folder, tmp_path, capsys):
    words = ["run", "otc-market", "--out", str(tmp_path / "other"), "--set", *TINY_RUN, f"profile={folder}", "levels=3"]
    assert main(words) == 2
    assert "profile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("taker_counts=[5]", "taker_quantity"),
        ("connectivity=[[1,1]]", "connectivity"),
        ("provider_pnl_weight=[2,1]", "provider_pnl_weight"),
        ("spread_bounds=[-2,1]", "spread_bounds"),
        ("data=nowhere.csv", "nowhere.csv"),
        ("exchanges=0", "exchanges"),
        ("taker_exchange=[[1,1],[1,1]]", "taker_exchange"),
        ("provider_exchange=[[1],[1.5]]", "provider_exchange"),
        ("taker_normalizer=[1]", "taker_normalizer"),
        ("taker_probabilities=[0.2,0.2,0.2]", "taker_probabilities"),
        ("variance_floor=0", "variance_floor"),
        ("profile=nowhere", "nowhere"),
        ('data=["a.csv","b.csv"]', "data"),
        ("ppo.taker.width=-1", "ppo.taker.width"),
        ("ppo.tkaer.width=8", "did you mean 'taker.width'"),
        ("provider_risk_aversion=[[0,1,2,0.1],1]", "clipped normal"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_2(setting, key, tmp_path, capsys):
    assert main(["run", "otc-market", "--out", str(tmp_path / "bad"), "--set", "updates=1", setting]) == 2
    error = capsys.readouterr().err.strip()
    assert key in error and "Traceback" not in error and len(error.splitlines()) == 1


def test_the_market_is_the_one_described(exchange):
    """Connections to two exchanges and η as given; η left out makes an equal share of the flow worth one."""
    reach = {"provider_exchange": ((1.0, 0.0), (0.5, 1.0)), "taker_exchange": ((0.25, 0.0), (0.0, 1.0))}
    given = build_market(
        MarketParameters(exchanges=2, provider_normalizer=(0.01, (0.1, 0.2)), taker_normalizer=(0.3, 0.4), **reach),
        exchange,
    )
    for name, rows in reach.items():
        np.testing.assert_allclose(getattr(given.connectivity, name).mean, rows)
    np.testing.assert_allclose(given.providers.normalizer.low, [0.01, 0.1])
    np.testing.assert_allclose(given.providers.normalizer.high, [0.01, 0.2])
    np.testing.assert_allclose(given.takers.normalizer.mean, [0.3, 0.4])
    volume = 12 * 1.0 + 2 * 4.0
    for spread in (1.0, 17.0):
        wide = eqx.tree_at(lambda model: model.usual, exchange, jnp.float32(spread))
        market, earned = build_market(MarketParameters(taker_quantity=(1.0, 4.0)), wide), 100 * spread / 2
        np.testing.assert_allclose(market.spread_scale, spread)
        np.testing.assert_allclose(np.asarray(market.providers.normalizer.mean) * earned * volume / 3, 1.0, rtol=1e-6)
        np.testing.assert_allclose(
            np.asarray(market.takers.normalizer.mean) * earned * np.array([1.0, 4.0]), 1.0, rtol=1e-6
        )


def test_every_exchange_may_have_a_model_of_its_own(exchange):
    """A deep and a shallow exchange in one market; what does not go together is named."""
    deep = eqx.tree_at(lambda model: model.mean_volume, exchange, 3 * exchange.mean_volume)
    two = MarketParameters(exchanges=2)
    market = build_market(two, [exchange, deep])
    np.testing.assert_allclose(market.exchanges.mean_volume[1], 3 * np.asarray(exchange.mean_volume))
    np.testing.assert_allclose(market.volume_scale, 2 * np.asarray(exchange.mean_volume).mean(), rtol=1e-6)
    with pytest.raises(InvalidInput, match=r"^exchanges"):
        build_market(MarketParameters(exchanges=3), [exchange, deep])
    with pytest.raises(InvalidInput, match="one tick size"):
        build_market(two, [exchange, eqx.tree_at(lambda model: model.tick, exchange, jnp.float32(100))])


@pytest.mark.slow
def test_everything_at_once(tmp_path):
    """Fixed takers of three supertypes and random sizes, two exchanges not open to all, providers that remember."""
    market = ["recurrent=true", "exchanges=2", "provider_exchange=[[1,0],[0.5,1]]", "taker_counts=[4,2,3]"]
    market += ["taker_exchange=[[1,0],[0,1],[0.5,0.5]]", "taker_risk_aversion=[0,0.1,[0,1]]", "inventory_penalty=0.01"]
    market += ["taker_pnl_weight=[0,1,[0,1]]", "taker_buy_target=[0.5,0.2,[0,0.5]]", "taker_quantity=[1,5,[1,10]]"]
    market += ["taker_sell_target=[0.5,0.2,[0.1,0.5]]", "connectivity=[[[0,1],1,0.5],[1,0.3,1]]"]
    market += ["taker_probabilities=[0.2,0.5,0.3]"]
    for name, seed in (("calm", 1), ("busy", 2)):
        save_level2(synthetic_level2(900, seed), tmp_path / f"{name}.csv")
    market += [f'data=["{tmp_path / "calm.csv"}","{tmp_path / "busy.csv"}"]', "levels=3", "components=2"]
    folder = tmp_path / "all"
    assert main(["run", "otc-market", "--out", str(folder), "--set", *TINY_RUN, *market]) == 0
    headline, entries = result_of(folder)["headline"], result_of(folder)["certificate"]["entries"]
    assert headline["imbalance"] < 0.1 and sum(headline["market_share"]) <= 1 + 1e-6
    assert set(headline["reward_last"]) == {"provider_0", "provider_1", "taker_0", "taker_1", "taker_2"}
    assert len(entries) == 5 + len(headline["gap_by_type"])  # trained deviators, and rules given the type
    assert len(headline["gap_by_type"]) == 5 + 1 + 1 + 1 + 33 and all(
        np.isfinite(entry["gain"]) for entry in entries.values()
    )
    np.testing.assert_allclose(np.exp(load_profile(folder)["taker"].logits), [0.2, 0.5, 0.3], rtol=1e-5)


@pytest.mark.slow
def test_quick_learning_raises_rewards_and_skews_over_seeds_that_learn_together(tmp_path, monkeypatch, capsys):
    """Forty updates of the quick preset, two seeds in one mapped computation, each with an exchange of its own:
    everybody's reward rises and the skew's slope is negative by over two standard errors."""
    monkeypatch.chdir(tmp_path)
    short = ["updates=40", "evaluation_episodes=100", "deviator_updates=1", "deviator_passes=1"]
    short += ["validation_episodes=4", "certificate_episodes=8"]
    assert main(["run", "otc-market", "--seeds", "2", "--out", "both", "--set", *short]) == 0
    assert "learning 2 seeds" in capsys.readouterr().err
    both, *each = (result_of(Path("both", name)) for name in ("", "seed0", "seed1"))
    for headline in (run["headline"] for run in each):
        first, last = headline["reward_first"], headline["reward_last"]
        assert all(last[name] > first[name] for name in ("provider_0", "provider_1", "taker_0"))
        assert headline["skew_intensity"] + 2 * headline["skew_standard_error"] < 0
    for role, mean in both["headline"]["reward_last"].items():
        values = [run["headline"]["reward_last"][role] for run in each]
        assert values[0] != values[1] and mean == pytest.approx(sum(values) / 2)
    assert each[0]["certificate"]["entries"].keys() == each[1]["certificate"]["entries"].keys()
    assert {path.name for path in Path("both/seed1/figures").iterdir()} >= {"learning.png", "market_day.png"}


def test_shares_among_providers_say_nothing_of_the_exchange():
    """They sum to one whatever the exchange has: no curve, not one that never moves."""
    history = {"market_share": np.full((40, 3), 1 / 3)}
    assert _exchange_share(OTCConfig(share="providers"), history) == {}
    assert list(_exchange_share(OTCConfig(), history)) == ["the exchange's share"]
