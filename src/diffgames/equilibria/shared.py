"""Shared equilibria: what a policy that all agents share can converge to, and in how many updates.

Where one agent drawn at random plays π₁ and all others π₂ (Vadori et al., arXiv 2210.07184, equations 9 and 11),

    V̂(π₁, π₂) = (1/n) Σ_i Ṽ_i(π₁, π₂),    gradient of the shared policy = ∇₁V̂(π, π)   (Proposition 3.1),

and π is an ε-*shared equilibrium* where max_π' V̂(π', π) − V̂(π, π) ≤ ε: a symmetric Nash equilibrium of the
abstract two-player game with payoff V̂. If every agent has a type of its own, nobody alone gains more than n ε.

The bounds need the mismatch D of visits to states (13). What is corrected here has its counterexample in
docs/games/shared_equilibria.md: the bounds of Theorems 3.13 and 3.14 lack the step α; D over ε-shared equilibria alone
does not bound the iterates; and D over states alone, types summed out, bounds nothing. `mismatch_bound` holds for all
policies, states and types.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import binom, norm

from diffgames.errors import InvalidInput
from diffgames.games.tabular import Policy, TabularGame, discounted_length, values

MOST_POLICIES = 20_000
TIE = 1e-12


@eqx.filter_jit
def agent_payoffs(game: TabularGame, first: Policy, second: Policy) -> Float[Array, " n"]:
    """Ṽ_i: the value of agent i where it plays `first` and all others `second`."""
    own = jnp.eye(game.agents, dtype=bool)[:, :, None, None, None]
    profiles = jnp.where(own, first, second)
    return jnp.diagonal(jax.vmap(lambda profile: values(game, profile))(profiles))


def shared_payoff(game: TabularGame, first: Policy, second: Policy) -> Float[Array, ""]:
    """V̂(π₁, π₂)."""
    return jnp.mean(agent_payoffs(game, first, second))


def shared_gradient(game: TabularGame, policy: Policy) -> Policy:
    """∇₁V̂(π, π), in which direction the shared policy is updated; not the gradient of V̂(π, π)."""
    return jax.grad(lambda first: shared_payoff(game, first, policy))(policy)


def pure_policies(game: TabularGame) -> Float[np.ndarray, "policies S L A"]:
    """All policies that play one action for sure in every (s, λ); `InvalidInput` above MOST_POLICIES of them."""
    places, actions = game.states * game.types, game.actions
    if actions**places > MOST_POLICIES:
        raise InvalidInput("game", f"{actions}^{places} pure policies", f"at most {MOST_POLICIES}")
    chosen = np.array(list(itertools.product(range(actions), repeat=places)))
    return np.eye(actions)[chosen].reshape(-1, game.states, game.types, actions)


@eqx.filter_jit
def payoff_matrix(
    game: TabularGame, rows: Float[Array, "m S L A"], columns: Float[Array, "k S L A"]
) -> Float[Array, "m k"]:
    """V̂(row, column) of policies against policies: checkpoints against checkpoints."""
    one = jax.vmap(lambda first, second: shared_payoff(game, first, second), (None, 0))
    return jax.lax.map(lambda first: one(first, columns), rows)


@eqx.filter_jit
def exploitability(game: TabularGame, policies: Float[Array, "m S L A"]) -> Float[Array, " m"]:
    """max_π' V̂(π', π) − V̂(π, π) over the pure π': what π leaves on the table, and ε of the ε-shared equilibrium.

    Exact where a best reply is pure: with one state, or where an agent's chain is its own; else a lower bound.
    """
    pure = jnp.asarray(pure_policies(game), policies.dtype)

    def gain(policy: Array) -> Array:
        replies = jax.vmap(lambda first: shared_payoff(game, first, policy))(pure)
        return jnp.max(replies) - shared_payoff(game, policy, policy)

    return jax.lax.map(gain, policies, batch_size=256)


def visits(game: TabularGame, agent: int, first: Policy, second: Policy) -> Float[np.ndarray, "S L"]:
    """d(s, λ): the discounted share of time that the agent spends at its state s with type λ, of sum one."""
    return np.asarray(_visits(game, jnp.asarray(agent), first, second)) / game.normalizer


@eqx.filter_jit
def _visits(game: TabularGame, agent: Array, first: Policy, second: Policy) -> Float[Array, "S L"]:
    """The gradient of the agent's value in a reward of its own for being there."""
    shapes = (game.types,) * game.agents, (game.states,) * game.agents
    types, states = (jnp.asarray(np.stack(np.unravel_index(np.arange(math.prod(s)), s))) for s in shapes)
    profile = jnp.where((jnp.arange(game.agents) == agent)[:, None, None, None], first, second)

    def value(bonus: Array) -> Array:
        paid = bonus[states[agent]][:, types[agent]].T[None, :, :, None]
        return values(eqx.tree_at(lambda g: g.reward, game, jnp.broadcast_to(paid, game.reward.shape)), profile)[agent]

    return jax.grad(value)(jnp.zeros((game.states, game.types), game.reward.dtype))


@eqx.filter_jit
def _against_pure(game: TabularGame, pure: Float[Array, "m S L A"], policy: Policy) -> Float[Array, "m n"]:
    return jax.vmap(lambda first: agent_payoffs(game, first, policy))(pure)


def mismatch(game: TabularGame, policy: Policy, *, types_summed: bool = False) -> float:
    """max_i max_π' max d^{π'}_i/d^π_i over the pure best replies π' to π, one term of (13).

    The ratio is over (s, λ); `types_summed` is the printed one, over s alone. Infinite where π never goes.
    """
    worst, pure = 0.0, jnp.asarray(pure_policies(game), policy.dtype)
    payoffs = np.asarray(_against_pure(game, pure, policy))
    for i in range(game.agents):
        there = visits(game, i, policy, policy)
        for reply in pure[payoffs[:, i] >= payoffs[:, i].max() - TIE * max(game.reward_bound, 1e-300)]:
            sought = visits(game, i, reply, policy)
            pair = (sought.sum(1), there.sum(1)) if types_summed else (sought, there)
            ratio = np.divide(*pair, out=np.full(pair[0].shape, math.inf), where=pair[1] > 0)
            worst = max(worst, float(ratio[pair[0] > 0].max()))
    return worst


def mismatch_bound(game: TabularGame) -> float:
    """T_ζ / min_{s, λ} μ_λ(s): no policy's mismatch over (s, λ) is larger; infinite where a state is no start."""
    least = float(jnp.min(game.start))
    return game.normalizer / least if least > 0 else math.inf


def lipschitz_constant(game: TabularGame) -> float:
    """2 n T_ζ² R_max: |V̂(π₁, π₂) − V̂(π₃, π₄)| is at most this times the total variation distance (Lemma 3.6).

    The distance is the larger of those of (π₁, π₃) and (π₂, π₄), each the largest over (s, λ) of ½ Σ_a |·|.
    """
    return 2 * game.agents * game.normalizer**2 * game.reward_bound


@dataclass(frozen=True)
class IterationBound:
    """Updates after which an ε-shared equilibrium has been met, as printed and as corrected, with the constants used.

    `step` is α, `smoothness` β or β_ν, `barrier` ν. Both bounds are infinite where the mismatch is.
    """

    printed: float
    corrected: float
    step: float
    smoothness: float
    barrier: float = 0.0


def iteration_bound(
    method: str = "projected",
    *,
    epsilon: float,
    actions: int,
    states: int = 1,
    types: int = 1,
    discount: float = 0.5,
    horizon: int | None = None,
    reward_bound: float = 1.0,
    mismatch: float = 1.0,
    diameter: float,
    modulus: Callable[[float], float] = lambda gain: gain,
    step: float | None = None,
    eta: float = 0.5,
    noise: tuple[float, float] = (0.0, 0.0),
    variance: float | None = None,
    eta_reached: float | None = None,
) -> IterationBound:
    """The bounds of Theorem 3.9 (`projected`) and of Theorems 3.13 and 3.14 (`softmax`, with the log barrier).

    `diameter` is that of Φ, `modulus` φ of Proposition 3.8. `projected` takes the step 1/β by default; `softmax` takes
    2(1 − η)/(β_ν (1 + φ_max)) for noise in [φ_min, φ_max], or where a `variance` σ₂ is given 2(1 − η)/(β_ν (1 + σ₂)),
    η' = `eta_reached`. The finite horizon has T_ζ for 1/(1 − ζ) (Remark 3.11), ν its largest value ε/(2 D T_ζ).
    As printed the softmax bounds lack α inside φ, and 2ν/(|S||Λ|) in β_ν is multiplied by R_max.

    >>> bound = iteration_bound(epsilon=0.1, actions=3, diameter=2.0)
    >>> round(bound.smoothness), round(bound.corrected)
    (24, 345600)
    """
    _positive(epsilon=epsilon, diameter=diameter, reward_bound=reward_bound, mismatch=mismatch)
    length, pairs = discounted_length(discount, horizon), states * types
    if method == "projected":
        shrink = discount if horizon is None else 1.0
        smoothness = 2 * shrink * reward_bound * actions * length**3
        if smoothness == 0:
            raise InvalidInput("discount", discount, "above 0: without a future the gradient is constant")
        alpha = 1 / smoothness if step is None else step
        if not 0 < alpha < 2 / smoothness:
            raise InvalidInput("step", alpha, f"a step between 0 and 2/β = {2 / smoothness:.6g}")
        change = alpha * (2 - alpha * smoothness) / (2 * (1 + 2 * alpha * smoothness) ** 2)
        updates = _updates(diameter, modulus, epsilon**2 / (4 * mismatch**2 * pairs) * change)
        return IterationBound(updates, updates, alpha, smoothness)
    if method != "softmax":
        raise InvalidInput("method", method, "projected or softmax")
    if not 0 < eta < 1 or (eta_reached is not None and not 0 < eta_reached <= eta) or noise[0] <= -1:
        raise InvalidInput("eta", [eta, eta_reached, *noise], "0 < η' ≤ η < 1, and noise above −1")
    barrier = epsilon / (2 * mismatch * length)
    spread = noise[1] if variance is None else variance
    gained = (1 + noise[0]) * eta if variance is None else (eta if eta_reached is None else eta_reached)
    smoothness = 8 * reward_bound * length**3 + 2 * barrier / pairs
    alpha = 2 * (1 - eta) / (smoothness * (1 + spread))
    climb = barrier**2 * gained / (4 * (pairs * actions) ** 2)
    printed, corrected = (_updates(diameter, modulus, climb * factor) for factor in (1.0, alpha))
    return IterationBound(printed, corrected, alpha, smoothness, barrier)


def _updates(diameter: float, modulus: Callable[[float], float], gain: float) -> float:
    climbed = float(modulus(gain))
    return diameter / climbed if climbed > 0 else math.inf


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise InvalidInput(name, number, "a number above 0")


def noise_variance(alpha_beta: float, moments: tuple[float, float, float]) -> float:
    """κ₄ of Lemma 3.12 for noise with E φ², E φ³, E φ⁴; as printed it lacks the term of E φ³.

    κ₄ = (1 − αβ)² σ₂ − αβ (1 − αβ) E φ³ + ¼ α²β² (σ₄ − σ₂²), the variance of (1 − αβ) φ − ½ αβ φ².
    """
    second, third, fourth = moments
    rest = 1 - alpha_beta
    return rest**2 * second - alpha_beta * rest * third + 0.25 * alpha_beta**2 * (fourth - second**2)


def improvement_probability(
    values: tuple[float, ...],
    chances: tuple[float, ...],
    gradient: Float[np.ndarray, " K"],
    alpha_beta: float,
    eta: float,
    eta_reached: float,
) -> float:
    """The least probability of a gain of α η' ‖∇‖² (Lemma 3.12, Berry–Esseen); at or below 0 it says nothing.

    The noise of every coordinate has the finite law `values`, `chances`; its third absolute moment is exact.
    """
    noise, chance = np.asarray(values, float), np.asarray(chances, float)

    def moment(power: int) -> float:
        return float(chance @ noise**power)

    parts = (1 - alpha_beta) * noise - 0.5 * alpha_beta * (noise**2 - chance @ noise**2)
    fourth = noise_variance(alpha_beta, (moment(2), moment(3), moment(4)))
    squares = np.asarray(gradient, float).reshape(-1) ** 2
    size = math.sqrt(float(np.sum(squares**2)))
    if fourth <= 0 or size == 0:
        return 1.0
    dispersion = float(np.sum(squares)) / size
    sixth = float(chance @ np.abs(parts) ** 3)
    falls_short = norm.cdf((eta_reached - eta) / math.sqrt(fourth) * dispersion)
    return float(1 - falls_short - 0.6 * sixth / fourth**1.5 * squares.max() / size)


def reaching_probability(budget: int, needed: float, probability: float) -> float:
    """The least probability of `needed` successful updates among `budget` (Theorem 3.14): a binomial tail."""
    return float(binom.sf(math.ceil(needed) - 1, budget, min(max(probability, 0.0), 1.0)))
