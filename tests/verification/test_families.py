"""`verify` takes a game of any family by the family's route, and names the option that it does not know or lacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.games.plain import regulator
from diffgames.games.portfolio import PortfolioGame, market_of
from diffgames.learning.ppo import PPOConfig
from diffgames.solvers import solve
from diffgames.solvers.distributed_paths import graded_grid
from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of
from diffgames.verification.best_response import exploitability
from diffgames.verification.market_maker import HOW
from diffgames.verification.player_deviator import DeviatorBudget, certify_players
from diffgames.verification.portfolio_deviator import PortfolioBudget, certify_portfolio
from diffgames.verification.verify import verify
from toy_games import Cournot, Proportional

KEY = jax.random.key(3)


def test_a_market_makers_table_goes_to_best_responses_by_another_integrator():
    game = game_of(MarketMakingParameters(), "strategic")
    profile = profile_of(game, solve_market_maker(game))
    wrong = profile | {"ask": 1.1 * profile["ask"]}
    found = verify(game, wrong)
    assert found.exact is not None and found.certificate.how == HOW
    assert [entry.label for entry in found.certificate.entries][:1] == ["market maker"]
    assert "market maker" in found.certificate.significant


def test_a_portfolio_goes_to_strategies_on_simulated_markets():
    market = market_of((0.06,), ((0.04,),), [])
    ones = np.ones(2)
    game = PortfolioGame(
        market=market, theta=0.3 * ones, phi=0.5 * ones, gamma=ones, own=ones, mean_own=ones, start=ones, horizon=1.0
    )
    equilibrium, budget = solve(game), PortfolioBudget(updates=2, paths=20, evaluation=40, steps=5)
    wanted = certify_portfolio(equilibrium, KEY, budget).to_dict()
    for found in (verify(equilibrium, key=KEY, budget=budget), verify(game, equilibrium, KEY, budget=budget)):
        assert found.trained is not None and found.to_dict() == wanted
    with pytest.raises(InvalidInput, match="PortfolioEquilibrium"):
        verify(game, lambda t, x, i: (x,), KEY)


def test_players_of_a_distributed_game_deviate_at_once():
    game = crowd_game(Quadratic(), np.zeros((2, 2)), np.asarray([[1.0, 0.0], [0.0, 1.0]]))

    def still(t, x, y):
        return 0.0 * x

    grid, budget = graded_grid(1.0, 4), DeviatorBudget(updates=2, paths=8, validation=16, evaluation=16, knots=3)
    wanted = certify_players(game, still, grid, KEY, patience=0.1, budget=budget).to_dict()
    assert verify(game, still, KEY, grid=grid, patience=0.1, budget=budget).to_dict() == wanted
    with pytest.raises(InvalidInput, match="patience"):
        verify(game, still, KEY, grid=grid)
    with pytest.raises(InvalidInput, match="horizon"):
        verify(game, still, KEY, grid=grid, patience=0.1, horizon=2.0)
    with pytest.raises(InvalidInput, match="how"):
        verify(game, still, KEY, grid=grid, patience=0.1, how="exact")


def test_agents_of_a_markov_game_are_answered_by_learners():
    game, profile = Cournot(), {"firm": Proportional(jnp.float32(0.125))}
    options = {"agents": {"first": ("firm", 0)}, "updates": 1, "evaluations": 1, "width": 4}
    options |= {"config": PPOConfig(minibatch=16, episodes=8), "validation_episodes": 8, "episodes": 8}
    wanted = exploitability(game, profile, key=KEY, **options)
    assert verify(game, profile, KEY, **options).to_dict() == wanted.to_dict()
    with pytest.raises(InvalidInput, match="agents"):
        verify(game, profile, KEY, updates=1)


def test_an_option_that_no_route_knows_is_named():
    game = regulator(A=[[0.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], horizon=1.0)
    with pytest.raises(InvalidInput, match="grid"):
        verify(game, lambda t, x, i: (-x,), grid=3)
