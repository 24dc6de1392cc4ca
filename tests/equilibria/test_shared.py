"""Shared equilibria: gradients by enumeration, exact bounds, and a counterexample to every statement corrected."""

import itertools
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.equilibria import shared
from diffgames.equilibria.shared import exploitability, iteration_bound, mismatch, shared_gradient, shared_payoff
from diffgames.errors import InvalidInput
from diffgames.games.tabular import TabularGame, decision, matrix_game, skill_game, values
from diffgames.verification.shared_equilibrium import certify_shared

MOVES = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])  # state 1 is entered by action 1 and kept
PAYS = np.array([[0.1, 0.0], [0.0, 1.0]])


def random_game(seed, *, agents=2, types=2, states=2, actions=2, horizon=1):
    """A game without any symmetry."""
    r = np.random.default_rng(seed)
    joint = [size**agents for size in (types, states, actions)]
    kernel, start, laws = (
        r.dirichlet(np.ones(size), shape) for size, shape in ((joint[1], joint), (states, types), (types, agents))
    )
    arrays = (r.normal(size=(agents, *joint)), kernel, start, laws)
    return TabularGame(*map(jnp.asarray, arrays), discount=0.8, horizon=horizon)


def random_policy(seed, game):
    drawn = np.random.default_rng(seed).dirichlet(np.ones(game.actions), (game.states, game.types))
    return jnp.asarray(drawn)


def per_agent_score_gradients(game, theta):
    """(10) with B = ∞: every agent's score-function gradient, a sum over all trajectories of two steps."""
    n, policy = game.agents, np.asarray(jax.nn.softmax(theta))
    game = jax.tree.map(np.asarray, game)
    found = np.zeros((n, *policy.shape))
    spaces = [list(itertools.product(range(size), repeat=n)) for size in (game.types, game.states, game.actions)]
    for (k, types), (s0, first), (a0, act0), (s1, then), (a1, act1) in itertools.product(
        *(list(enumerate(space)) for space in (*spaces, *spaces[1:]))
    ):
        drawn = prod(float(game.supertypes[j, v] * game.start[v, first[j]]) for j, v in enumerate(types))
        steps = ((first, act0), (then, act1))
        played = prod(policy[s[j], types[j], a[j]] for s, a in steps for j in range(n))
        chance = drawn * played * float(game.kernel[k, s0, a0, s1])
        for i in range(n):
            paid = (float(game.reward[i, k, s0, a0]), game.discount * float(game.reward[i, k, s1, a1]))
            for (s, a), weight in zip(steps, (sum(paid), paid[1]), strict=True):
                found[i, s[i], types[i]] -= chance * weight * policy[s[i], types[i]]
                found[i, s[i], types[i], a[i]] += chance * weight
    return found


def test_the_shared_gradient_is_that_of_the_first_argument_however_many_agents_are_sampled():
    game = random_game(0)
    theta = jax.random.normal(jax.random.key(0), (2, 2, 2), jnp.float64)
    each = per_agent_score_gradients(game, theta)
    policy = jax.nn.softmax(theta)
    found = jax.grad(lambda first: shared_payoff(game, jax.nn.softmax(first), policy))(theta)
    for sampled in (1, 2):
        subsets = list(itertools.combinations(range(2), sampled))
        expected = np.mean([each[list(chosen)].mean(axis=0) for chosen in subsets], axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_it_is_not_the_total_derivative():
    """A stag hunt at (.4, .6): everybody together would gain from the stag, nobody alone."""
    game, theta = matrix_game(np.array([[4.0, 1.0], [3.0, 3.0]])), jnp.log(jnp.array([[[0.4, 0.6]]]))

    def payoff(first, second):
        return shared_payoff(game, jax.nn.softmax(first), jax.nn.softmax(second))

    own, total = jax.grad(payoff)(theta, theta), jax.grad(lambda both: payoff(both, both))(theta)
    expected = 0.24 * (np.array([4.0, 3.0]) @ [0.4, -0.4] + np.array([1.0, 3.0]) @ [0.6, -0.6])
    np.testing.assert_allclose(own.reshape(-1), [expected, -expected], atol=1e-8)
    assert float(jnp.max(jnp.abs(own - total))) == pytest.approx(0.29, abs=5e-3) and own[0, 0, 0] * total[0, 0, 0] < 0


def test_values_agree_with_their_twin_and_the_best_pure_reply_with_enumeration():
    for horizon in (None, 2):
        game = random_game(1, horizon=horizon)
        policy = random_policy(2, game)
        entry = certify_shared(game, policy)
        assert float(shared_payoff(game, policy, policy)) == pytest.approx(entry.value, abs=1e-11)
        assert float(exploitability(game, policy[None])[0]) == pytest.approx(entry.gain, abs=1e-11)


def test_equilibria_of_the_abstract_game_are_nash_equilibria_where_types_are_the_agents():
    """ε of the abstract game is the mean of the agents' own gains: at most nε for each, and 0 for all where ε = 0."""
    game = random_game(3, horizon=0, states=1)
    game = TabularGame(game.reward, game.kernel, game.start, jnp.eye(2), discount=0.8, horizon=0)
    for seed in range(5):
        policy = random_policy(seed, game)
        gains = []
        for i in range(2):
            replies = [policy.at[0, i].set(jnp.eye(2)[a]) for a in range(2)]
            profiles = [jnp.stack([reply if j == i else policy for j in range(2)]) for reply in replies]
            base = values(game, jnp.stack([policy, policy]))[i]
            gains.append(max(float(values(game, profile)[i] - base) for profile in profiles))
        assert float(exploitability(game, policy[None])[0]) == pytest.approx(np.mean(gains), abs=1e-12)


def test_a_bad_profile_is_found():
    game = decision(np.array([0.0, 0.5, 1.0]))
    assert certify_shared(game, np.array([[[1.0, 0, 0]]])).gain == pytest.approx(2.0, abs=1e-10)
    assert certify_shared(game, np.array([[[0.0, 0, 1]]])).gain == pytest.approx(0.0, abs=1e-10)
    with pytest.raises(InvalidInput, match="probabilities of the actions"):
        certify_shared(game, np.array([[[0.5, 0, 1]]]))


def test_exact_bounds():
    known = {"epsilon": 0.1, "actions": 3, "diameter": 2.0}
    projected, softmax = iteration_bound(**known), iteration_bound("softmax", **known)
    assert projected.smoothness == pytest.approx(24) and projected.step == pytest.approx(1 / 24)
    assert round(projected.printed) == round(projected.corrected) == 345_600
    assert (softmax.barrier, softmax.smoothness) == pytest.approx((0.025, 64.05))
    assert softmax.step == pytest.approx(0.0156128, abs=5e-8)
    assert (round(softmax.printed), round(softmax.corrected)) == (230_400, 14_757_120)
    assert iteration_bound(horizon=1, discount=1.0, **known).smoothness == pytest.approx(2 * 3 * 2**3)
    assert iteration_bound(mismatch=np.inf, **known).corrected == np.inf


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": 1.0}, "2/β"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"discount": 1.0}, "below 1 without end"),
        ({"method": "natural"}, "projected or softmax"),
        ({"method": "softmax", "noise": (-1.0, 1.0)}, "noise above −1"),
    ],
)
def test_bad_input_is_told_in_words(change, words):
    with pytest.raises(InvalidInput, match=words):
        iteration_bound(**{"epsilon": 0.1, "actions": 3, "diameter": 2.0} | change)


def test_a_gain_in_lemma_3_12_has_the_factor_alpha():
    """f = −x² at 1 gains 1, not 2; of random quadratics many fail as printed, none with α."""
    r, failed = np.random.default_rng(0), np.zeros(2)
    for _ in range(500):
        half = r.normal(size=(5, 5))
        curve, x = (half + half.T) / 2, r.normal(size=5)
        beta, low, high = np.abs(np.linalg.eigvalsh(curve)).max(), -0.5, 0.5
        slope, alpha = curve @ x, 2 * 0.5 / (beta * 1.5)
        y = x + alpha * slope * (1 + r.uniform(low, high, 5))
        claimed = (1 + low) * 0.5 * slope @ slope
        gain = (y @ curve @ y - x @ curve @ x) / 2
        failed += [gain < claimed - 1e-12, gain < alpha * claimed - 1e-12]
    assert failed[0] > 100 and failed[1] == 0
    step, x = 0.5, 1.0  # η = ½, β = 2, no noise: α = 2(1 − η)/β
    gained = x**2 - (x - step * 2 * x) ** 2
    assert gained == step * 0.5 * (2 * x) ** 2 == 1.0 < 0.5 * (2 * x) ** 2


def test_the_variance_of_lemma_3_12_has_a_third_moment():
    values_, chances = np.array([-0.5, 1.0]), np.array([2 / 3, 1 / 3])
    moments = tuple(float(chances @ values_**k) for k in (2, 3, 4))
    drawn = 0.4 * values_ - 0.3 * values_**2
    true = chances @ drawn**2 - (chances @ drawn) ** 2
    assert shared.noise_variance(0.6, moments) == pytest.approx(true, abs=1e-12) == pytest.approx(0.03125)
    assert shared.noise_variance(0.6, (moments[0], 0.0, moments[2])) == pytest.approx(0.09125)


def test_the_probability_of_an_improvement_is_a_lower_bound():
    r, noise, alpha_beta = np.random.default_rng(1), np.array([-0.5, 1.0]), 0.6
    drawn = r.choice(noise, (4000, 400), p=[2 / 3, 1 / 3])
    eta = 1 - alpha_beta / 2 * 1.5  # E Y = η, as α = 2(1 − η)/(β(1 + σ₂)) has it
    gained = np.mean(1 - alpha_beta / 2 - alpha_beta / 2 * drawn**2 + (1 - alpha_beta) * drawn, axis=1)
    least = shared.improvement_probability((-0.5, 1.0), (2 / 3, 1 / 3), np.ones(400), alpha_beta, eta, 0.9 * eta)
    assert 0.9 < least <= np.mean(gained > 0.9 * eta) + 3 * np.sqrt(0.25 / 4000)
    assert shared.reaching_probability(10, 10.0, 0.9) == pytest.approx(0.9**10)


def test_the_barrier_does_not_scale_with_rewards():
    """Half of ν is curvature of ν · mean ln π whatever R_max; the printed β_ν falls below it for small rewards."""

    def barrier(theta):
        return jnp.mean(jax.nn.log_softmax(theta))

    curve = jax.hessian(barrier)(jnp.array([8.0, 8.0, -8.0]))
    size, nu, reward = np.abs(np.linalg.eigvalsh(curve)).max(), 0.025, 1e-4
    assert size == pytest.approx(0.5, abs=1e-3)
    printed = 8 * reward / 0.5**3 + 2 * nu * reward
    assert nu * size > printed
    bound = iteration_bound("softmax", epsilon=0.1, actions=3, diameter=1.0, reward_bound=reward)
    assert nu * size < bound.smoothness


def test_lemma_3_6_bounds_how_fast_payoffs_move():
    for seed in range(4):
        game = random_game(seed, horizon=None)
        one, two, three, four = (random_policy(10 * seed + k, game) for k in range(4))
        distance = max(float(jnp.max(jnp.sum(jnp.abs(a - b), -1))) / 2 for a, b in ((one, three), (two, four)))
        moved = abs(float(shared_payoff(game, one, two) - shared_payoff(game, three, four)))
        assert 0 < moved <= shared.lipschitz_constant(game) * distance


def test_mismatch_over_equilibria_alone_does_not_bound_the_ascent():
    """At 'never go' the gradient points nowhere, the gain is .8, D over all policies infinite, over equilibria 8/7."""
    game = skill_game(PAYS[None], MOVES[None], np.array([[1.0, 0.0]]), np.ones((1, 1)))
    stay = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]]])
    slope = shared_gradient(game, stay)
    assert slope[0, 0, 0] > slope[0, 0, 1] and not jnp.any(slope[1])
    assert exploitability(game, stay[None])[0] == pytest.approx(0.8)
    assert mismatch(game, stay) == shared.mismatch_bound(game) == np.inf
    edge = jnp.array([[[2 / 9, 7 / 9]], [[0.0, 1.0]]])
    assert exploitability(game, edge[None])[0] == pytest.approx(0.1, abs=1e-12)
    assert mismatch(game, edge, types_summed=True) == pytest.approx(8 / 7)


def test_mismatch_with_types_summed_out_bounds_nothing():
    """Type 0 starts in state 0, type 1 in state 1: all states are visited, but not by type 0."""
    game = skill_game(np.stack([PAYS] * 2), np.stack([MOVES] * 2), np.eye(2), np.full((2, 2), 0.5))
    policy = jnp.array([[[1.0, 0], [1, 0]], [[1, 0], [0, 1]]])
    slope, gain = shared_gradient(game, policy), exploitability(game, policy[None])[0]
    best = float(jnp.sum(jnp.max(slope, -1) - jnp.sum(policy * slope, -1)))
    assert best == pytest.approx(0.0, abs=1e-12) and gain == pytest.approx(0.4)
    printed = mismatch(game, policy, types_summed=True)
    assert printed == pytest.approx(1.5) and gain > printed * best and mismatch(game, policy) == np.inf


def test_gradient_domination_holds_with_the_mismatch_over_states_and_types():
    r = np.random.default_rng(5)
    game = skill_game(
        r.uniform(size=(2, 2, 2)), r.dirichlet(np.ones(2), (2, 2, 2)), r.dirichlet(np.ones(2) * 4, 2), np.eye(2)
    )
    for seed in range(5):
        policy = random_policy(seed, game)
        slope = shared_gradient(game, policy)
        best = float(jnp.sum(jnp.max(slope, -1) - jnp.sum(policy * slope, -1)))
        gain = float(exploitability(game, policy[None])[0])
        assert 0 < gain <= mismatch(game, policy) * best + 1e-12
        assert 1 <= mismatch(game, policy) <= shared.mismatch_bound(game)
