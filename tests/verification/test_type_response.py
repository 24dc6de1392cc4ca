"""Certificates given the type: a planted bad type is caught, a flow taker's known optimum is found."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from diffgames.errors import InvalidInput
from diffgames.learning.policy import AbstractPolicy, FixedProbabilities
from diffgames.markets.agents import constant
from diffgames.markets.given_type import GivenType, complete
from diffgames.verification.market_rules import provider_rules, taker_rules
from diffgames.verification.type_response import gaps_given_types


class Careless(AbstractPolicy):
    """A planted policy: it withdraws unless it is averse to risk, where it gives the spread away and holds on."""

    risk_aversion: int

    def initial_carry(self, batch: int):
        return ()

    def __call__(self, carry, observation):
        bad = observation[:, self.risk_aversion] > 1.5
        spread = jnp.where(bad, -1.0, 1.0).astype(jnp.float32)
        unit = jnp.stack([spread, jnp.zeros_like(spread), -jnp.ones_like(spread)], axis=1)
        return carry, jnp.concatenate([unit, jnp.full_like(unit, -5.0)], axis=1), jnp.zeros_like(spread)


@pytest.fixture(scope="module")
def market(build_market):
    market = build_market(providers=(1, 1), takers=(4,), probability=1.0)
    takers = dict(vars(market.takers)) | {
        "pnl_weight": constant([0.0]),
        "sell_target": constant([0.4]),
        "buy_target": constant([0.4]),
    }
    return dataclasses.replace(market, takers=type(market.takers)(**takers))


@pytest.fixture(scope="module")
def profile(market):
    feature = market.role("provider").observation_names.index("risk_aversion")
    return {"provider": Careless(feature), "taker": FixedProbabilities(jnp.zeros(3, jnp.float32))}


def entries(market, profile, role, types, **options):
    laws, place = getattr(market, f"{role}s"), jnp.asarray(0, jnp.int32)
    games = {name: GivenType(market, role, place, complete(laws, 0, values)) for name, values in types.items()}
    rules = (provider_rules if role == "provider" else taker_rules)(market.role(role))
    chosen = {"validation_episodes": 40, "episodes": 80} | options
    found = gaps_given_types(games, profile, role, 0, rules, jax.random.key(0), **chosen)
    return {entry.label: entry for entry in found}


def test_a_planted_bad_type_is_caught_and_a_good_one_is_not(market, profile):
    types = {
        "bad": {"risk_aversion": 2.0, "pnl_weight": 1.0},
        "good": {"risk_aversion": 0.0, "pnl_weight": 1.0},
    }
    found = entries(market, profile, "provider", types)
    assert found["bad"].value < 0 and found["bad"].lower > 0
    assert found["bad"].gain > 0.9 * -found["bad"].value  # withdrawing earns nothing, and is among the rules
    assert abs(found["good"].value) < 1e-6


def test_the_optimum_of_a_taker_of_flow_is_found(market, profile):
    """Its rewards sum to D₀ − D_T ≤ D₀ = .4: never trading leaves all of it, coin tosses a part."""
    never = {**profile, "taker": FixedProbabilities(jnp.asarray([40.0, 0.0, 0.0], jnp.float32))}
    found = entries(market, never, "taker", {"flow": {}})["flow"]
    assert found.value == pytest.approx(0.0, abs=1e-6)
    assert 0.9 * 0.4 <= found.gain <= 0.4 + 1e-5
    assert found.selected == "the schedule that meets the targets"


@pytest.mark.parametrize("wrong", [{"episodes": 1}, {"validation_episodes": 1}])
def test_too_few_episodes_are_refused(market, profile, wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        entries(market, profile, "taker", {"flow": {}}, **wrong)
