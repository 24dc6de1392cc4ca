"""Extended transitivity from payoff matrices: skills, cycles, the convex modulus of Proposition 3.8."""

import numpy as np
import pytest

from diffgames.equilibria.transitivity import extended_transitivity, modulus
from diffgames.errors import InvalidInput

SKILL = np.array([0.3, -1.0, 2.0, 0.5])


def test_games_of_skill_are_transitive_with_the_printed_modulus():
    linear = SKILL[:, None] - SKILL[None, :]
    found = extended_transitivity(linear)
    assert found.transitive and (np.argsort(found.skill) == np.argsort(SKILL)).all()
    gains, climbs = modulus(linear, SKILL)
    np.testing.assert_allclose(climbs, gains, atol=1e-12)  # δ = ε
    bent = linear + linear**3 + 0.7  # σ(t(x) − t(y)), σ(0) = .7
    gains, climbs = modulus(bent, SKILL)
    assert (np.diff(climbs) > 0).all() and (np.diff(climbs) / np.diff(gains) > 0).all()
    beaten = bent - 0.7 > 1e-12
    assert (np.interp((bent - 0.7)[beaten], gains, climbs) <= linear[beaten] + 1e-12).all()


def test_a_cycle_is_found_and_no_skill_is_accepted():
    cyclic = np.array([[0.0, -1, 1, -9], [1, 0, -1, -9], [-1, 1, 0, -9], [9, 9, 9, 0]])
    found = extended_transitivity(cyclic)
    assert not found.transitive and sorted(found.cycle) == [0, 1, 2] and found.skill is None
    for one, other in zip(found.cycle, np.roll(found.cycle, -1), strict=True):
        assert cyclic[other, one] > cyclic[one, one]
    with pytest.raises(InvalidInput, match="grows with every improvement"):
        modulus(cyclic, np.arange(4.0))
    assert extended_transitivity(cyclic, least_gain=1.5).transitive  # at ε = 1.5 only the best strategy improves


def test_a_potential_alone_is_not_enough():
    """Anti-coordination has the symmetric potential x₁y₂ + x₂y₁, and each pure strategy beats the other."""
    assert extended_transitivity(np.array([[0.0, 1.0], [1.0, 0.0]])).cycle == (0, 1)


def test_bad_input_is_told_in_words():
    with pytest.raises(InvalidInput, match="square matrix"):
        extended_transitivity(np.array([[0.0, np.nan], [0.0, 0.0]]))
