"""The sweep changes one attribute alone, the claims are the paper's, and their verdicts are those of what is stored."""

import json

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.stats import ttest_1samp

from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile
from diffgames.markets.agents import uniform
from diffgames.markets.behaviour import statistics
from diffgames.studies.emergent_behaviour import STATISTICS
from diffgames.studies.emergent_claims import CLAIMS, WORDS
from diffgames.studies.emergent_sweep import ABSENT, ATTRIBUTES, at, base_of, points_of, sweep, with_pnl_takers
from diffgames.verification.claims import holm

TINY = ["updates=1", "episodes=4", "steps=16", "width=16", "passes=1", "evaluation_episodes=6", "taker_counts=[3,1]"]
TINY += ["levels=2", "trainings=2", "points=2", "pnl_takers=[0,2]"]


@pytest.fixture
def market(build_market):
    """One provider whose attributes are all drawn, and two; four flow and two PnL takers."""
    low, high = [[0.0, 0.0], [0.7, 0.7]], [[1.0, 1.0], [0.7, 0.7]]
    market = build_market(takers=(4, 2))
    connectivity = type(market.connectivity)(
        uniform(low, high), market.connectivity.provider_exchange, market.connectivity.taker_exchange
    )
    return type(market)(**{**vars(market), "connectivity": connectivity})


def test_all_24_claims_are_measured():
    assert len(CLAIMS) == 24
    pairs = {(claim.statistic, claim.attribute) for claim in CLAIMS.values()}
    assert len(pairs) == 24
    for claim in CLAIMS.values():
        assert claim.statistic in (*STATISTICS, "convexity") and claim.attribute in (*ATTRIBUTES, "pnl_takers")
        assert claim.statistic in WORDS and claim.attribute in WORDS and claim.sign in (-1, 1)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_point_fixes_one_attribute_of_the_first_provider_and_draws_the_rest_as_before(market, attribute):
    keys = jax.random.split(jax.random.key(0), 200)
    drawn, fixed = (jax.vmap(game.reset)(keys) for game in (market, at(market, {attribute: 0.75})))
    changed = {"risk_aversion", "pnl_weight"} & {attribute}
    for name, value in vars(drawn.provider_type).items():
        now = np.asarray(getattr(fixed.provider_type, name))
        np.testing.assert_array_equal(value[:, 1:], now[:, 1:])
        assert np.all(now[:, 0] == 0.75) if name in changed else np.array_equal(value[:, 0], now[:, 0])
    linked, before = (np.asarray(state.network.provider_taker) for state in (fixed, drawn))
    np.testing.assert_array_equal(linked[:, 1:], before[:, 1:])
    for name, whom in (("flow_connectivity", slice(0, 4)), ("pnl_connectivity", slice(4, 6))):
        share = linked[:, 0, whom].mean()
        error = np.sqrt(0.75 * 0.25 / linked[:, 0, whom].size)
        if name == attribute:
            assert abs(share - 0.75) < 4 * error
        else:
            np.testing.assert_array_equal(linked[:, 0, whom], before[:, 0, whom])


def test_points_are_middles_of_the_ranges_and_the_base_is_the_other_providers(market):
    points = points_of(market, 4)
    np.testing.assert_allclose(points["flow_connectivity"], [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(points["risk_aversion"], [0.25, 0.75, 1.25, 1.75])
    assert base_of(market) == pytest.approx(
        {"flow_connectivity": 0.7, "pnl_connectivity": 0.7, "pnl_weight": 0.5, "risk_aversion": 1.0}
    )


def test_markets_in_which_the_claims_make_no_sense_are_refused(build_market, market):
    with pytest.raises(InvalidInput, match=r"^connectivity"):
        points_of(build_market(takers=(4, 2)), 3)
    with pytest.raises(InvalidInput, match=r"^provider_counts"):
        points_of(build_market(providers=(2, 1), takers=(4, 2)), 3)
    with pytest.raises(InvalidInput, match=r"^taker_counts"):
        points_of(build_market(takers=(4,)), 3)
    with pytest.raises(InvalidInput, match=r"^provider_pnl_weight"):
        points_of(at(market, {"pnl_weight": 0.5}), 3)


def test_pnl_takers_who_are_absent_have_no_size_and_everyone_is_connected(market):
    state = jax.vmap(with_pnl_takers(market, 1, 3).reset)(jax.random.split(jax.random.key(1), 5))
    sizes = np.asarray(state.taker_type.quantity)
    np.testing.assert_allclose(sizes, np.tile([1.0] * 4 + [2.0] + [ABSENT] * 2, (5, 1)))
    assert np.all(np.asarray(state.network.provider_fraction)[:, 0] == 1.0)


@pytest.mark.slow
def test_a_sweep_is_the_statistics_of_every_point(market):
    profile = initial_profile(market, jax.random.key(0), 8)
    points = {name: np.array([0.5, 1.0]) for name in ATTRIBUTES}
    found = sweep(market, profile, points, {}, jax.random.key(2), 6)
    record = jax.tree.map(np.asarray, evaluate(at(market, {"pnl_weight": 1.0}), profile, jax.random.key(2), 6)[1])
    known = statistics(record, (4, 2))
    assert tuple(known) == STATISTICS
    np.testing.assert_allclose(found.value[:, ATTRIBUTES.index("pnl_weight"), 1], list(known.values()), rtol=1e-5)


@pytest.mark.slow
def test_a_tiny_run_judges_what_it_stores(tmp_path):
    """Slopes, p-values and verdicts of the headline are those of polyfit and SciPy on the stored arrays."""
    folder = tmp_path / "run"
    assert main(["run", "emergent-behaviour", "--out", str(folder), "--set", *TINY]) == 0
    headline = json.loads((folder / "result.json").read_text())["headline"]
    assert list(headline["claims"]) == list(headline["claims_error"]) == list(CLAIMS)
    assert headline["claims_agree"] + headline["claims_flat"] + headline["claims_reversed"] == 24
    behavior, response, claims = (
        xr.load_dataset(folder / "arrays" / f"{name}.nc") for name in ("behavior", "response", "claims")
    )
    slopes = []
    for claim in CLAIMS.values():
        if claim.statistic == "convexity":
            x, rows = response.pnl_takers.values.astype(float), response.convexity.values
        else:
            x = behavior["at"].sel(attribute=claim.attribute).values
            rows = behavior.value.sel(statistic=claim.statistic, attribute=claim.attribute).values
        slopes.append([np.polyfit(x, row, 1)[0] if np.isfinite(row).all() else np.nan for row in rows])
    slopes = np.array(slopes).T
    whole = np.isfinite(slopes).all(axis=0) & (slopes.std(axis=0) > 1e-9)
    assert whole.sum() >= 12
    told = np.array([headline["claims"][name] if headline["claims"][name] is not None else np.nan for name in CLAIMS])
    np.testing.assert_allclose(told[whole], slopes.mean(axis=0)[whole], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(claims.p_value.values[whole], ttest_1samp(slopes[:, whole], 0.0).pvalue, rtol=1e-6)
    np.testing.assert_allclose(claims.adjusted.values, holm(claims.p_value.values))
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert {"claims", "learning", "skew", "skew_distribution", "flow", "convexity"} <= drawn


def test_two_numbers_of_pnl_takers_are_needed(capsys, tmp_path):
    settings = [*TINY, "pnl_takers=[0,0]"]
    assert main(["run", "emergent-behaviour", "--out", str(tmp_path / "out"), "--set", *settings]) == 2
    assert "pnl_takers" in capsys.readouterr().err
