"""Type symmetry by permuting agents, and games that are none."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.equilibria.shared import shared_payoff
from diffgames.errors import InvalidInput
from diffgames.games.tabular import decision, matrix_game, skill_game, type_asymmetry


def three(seed):
    r = np.random.default_rng(seed)
    return skill_game(
        r.normal(size=(2, 2, 2)), r.dirichlet(np.ones(2), (2, 2, 2)), np.eye(2), r.dirichlet(np.ones(2), 3)
    )


def test_permuting_agents_changes_nothing_unless_one_is_special():
    game = three(0)
    assert type_asymmetry(game) < 1e-15
    marked = game.reward.at[1, 3, 5, 2].add(0.25)
    object.__setattr__(game, "reward", marked)
    assert type_asymmetry(game) == pytest.approx(0.25)


def test_skill_is_earned_against_others():
    game = three(1)
    weak, strong = (jnp.asarray(np.random.default_rng(k).dirichlet(np.ones(2), (2, 2))) for k in (0, 1))
    lead = float(shared_payoff(game, strong, weak))
    assert lead == pytest.approx(-float(shared_payoff(game, weak, strong)), abs=1e-12)
    assert float(shared_payoff(game, weak, weak)) == pytest.approx(0.0, abs=1e-12)


def test_bad_games_are_told_in_words():
    with pytest.raises(InvalidInput, match="square"):
        matrix_game(np.ones((2, 3)))
    with pytest.raises(InvalidInput, match="below 1 without end"):
        decision(np.array([0.0, 1.0]), discount=1.0)
    with pytest.raises(InvalidInput, match="of sum one"):
        skill_game(np.ones((1, 1, 2)), np.full((1, 1, 2, 1), 0.5), np.ones((1, 1)), np.ones((1, 1)))
