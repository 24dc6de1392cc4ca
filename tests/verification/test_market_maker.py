"""The market maker's certificate: next to nothing at the equilibrium, and it finds what is wrong elsewhere."""

import numpy as np
import pytest

from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of
from diffgames.verification.market_maker import TOLERANCE, certify_market_maker, profile_value
from market_units import in_units

RICH = MarketMakingParameters(
    predator="ce",
    xi=0.05,
    stress="inventory",
    jump_rate=2.0,
    jump_mean=-0.5,
    jump_deviation=0.3,
    sizes=(1, 3),
    size_shares=(0.7, 0.3),
    flow_imbalance=0.2,
    terminal_penalty=0.1,
    running_penalty=0.01,
)


@pytest.fixture(scope="module")
def reference():
    game = game_of(MarketMakingParameters(), "strategic")
    return game, profile_of(game, solve_market_maker(game))


def integrators(profile) -> float:
    """What the integrators of two values leave undecided: a hundred times LSODA's relative tolerance."""
    return 100 * TOLERANCE * max(np.abs(profile[name]).max() for name in ("theta", "stress"))


def test_nobody_gains_at_the_equilibrium(reference):
    certificate = certify_market_maker(*reference)
    assert [entry.label for entry in certificate.entries] == ["market maker", "predator", "attacker", "stabilizer"]
    assert certificate.gap < integrators(reference[1]) and not certificate.significant
    assert np.abs(profile_value(*reference) - reference[1]["theta"][0]).max() < 1e-5


@pytest.mark.parametrize("changes", [{"effort_attack": 0.0, "effort_stabilize": 0.0}], ids=["bang-bang"])
def test_nobody_gains_where_efforts_are_free(changes):
    game = game_of(MarketMakingParameters(**changes), "strategic")
    profile = profile_of(game, solve_market_maker(game))
    assert set(np.unique(profile["attack_effort"])) == {0.0, 1.0}
    assert certify_market_maker(game, profile).gap < integrators(profile)


def test_nobody_gains_with_everything_at_once():
    game = game_of(RICH, "strategic")
    profile = profile_of(game, solve_market_maker(game))
    assert certify_market_maker(game, profile).gap < integrators(profile)


@pytest.mark.parametrize(("price", "time"), [(1e-12, 1.0), (1e9, 31_536_000.0)])
def test_gaps_are_those_of_the_same_game_in_other_units(reference, price, time):
    """What halved efforts and quotes moved by 5% of a spread cost, to the integrators' errors."""
    game, profile = reference
    width = 0.05 * float(np.nanmax(profile["ask"]))
    wrong = profile | {"ask": profile["ask"] + width, "attack_effort": 0.5 * profile["attack_effort"]}
    units = {"time": time, "predator": price / time, "stress": price * time}
    units |= dict.fromkeys(("theta", "ask", "bid"), price)
    other = {name: np.asarray(table) * units.get(name, 1.0) for name, table in wrong.items()}
    found = certify_market_maker(in_units(game, price, time), other)
    for entry in certify_market_maker(game, wrong).entries:
        unit = price if entry.label in ("market maker", "predator") else price * time
        slack = integrators(profile)
        np.testing.assert_allclose(found[entry.label].gain / unit, entry.gain, rtol=1e-6, atol=slack)
        if entry.gain > slack:  # elsewhere no starting state is the worst
            np.testing.assert_allclose(found[entry.label].value / unit, entry.value, atol=slack)


@pytest.mark.parametrize(
    ("label", "name", "change"),
    [
        ("market maker", "ask", lambda table: table + 0.05),
        ("predator", "predator", lambda table: 0.5 * table),
        ("attacker", "attack_effort", lambda table: 0.5 * table),
        ("stabilizer", "stabilize_effort", lambda table: table + 0.2),
    ],
)
def test_a_player_that_errs_is_found(reference, label, name, change):
    game, profile = reference
    certificate = certify_market_maker(game, profile | {name: change(profile[name])})
    assert max(certificate.entries, key=lambda entry: entry.gap).label == label
    assert certificate[label].gain > 1e-3
    assert label in certificate.significant  # though the stored values are those of the equilibrium
    assert certificate[label].lower > 0.9 * certificate[label].gain


def test_what_half_a_push_costs_the_predator():
    """With no trading θ is explicit: pushing by w = −aξγq instead of −ξγq gives up ½ξγ(1−a)²q²T."""
    game = game_of(MarketMakingParameters(A=1e-12), "none")
    profile = profile_of(game, solve_market_maker(game))
    certificate = certify_market_maker(game, profile | {"predator": 0.5 * profile["predator"]})
    assert certificate["predator"].gain == pytest.approx(0.5 * 0.5 * 0.1 * 0.25 * 100, rel=1e-6)
