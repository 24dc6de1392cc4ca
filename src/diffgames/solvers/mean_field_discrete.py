"""Equilibria of discrete mean-field games: Newton on proximal steps, online mirror descent, fictitious play.

With y the logits of a policy π = softmax(y) and Q^π its action values against its own law μ^π
(`games.mean_field_discrete`):

- online mirror descent (Pérolat et al. 2021):      y ← y + α Q^π;
- fictitious play (Perrin et al. 2020), step n:     μπ ← (1 − w) μπ + w μ'π', w = 1/(n + 2), π' greedy against μ^π;
- Newton: the implicit step of the same descent,    y ← y + Q/τ, the values taken at the policy that the *new* logits
  stand for and against its law. Each is the equilibrium of a game with reward −τ KL(π | π_old), smooth
  whatever the supports: with V(s) = τ log Σ_a π_old(s, a) exp(Q(s, a)/τ), Newton's method solves the flow of the law
  (finite horizon: in μ alone, V by backward recursion; stationary: in V and μ). The fixed points of the steps are the
  equilibria of the game itself, so nothing is left of the smoothing, and no set of active actions is guessed.

τ falls tenfold after a step that was solved and rises where Newton's method fails; its linear systems are dense, up to
some 1,000 unknowns. Every method runs in one compiled loop whose stop test is the exact exploitability: what the best
policy gains, by dynamic programming. Games that are not monotone may have several equilibria: this is the one found
from the uniform policy.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.errors import InvalidInput, suggestion
from diffgames.games.mean_field_discrete import (
    DiscreteMeanFieldGame,
    Law,
    PlayedPolicy,
    Policy,
    action_values,
    best_action_values,
    checked,
    exploitability,
    law_of,
)
from diffgames.numerics.precision import in_double

Method = Literal["newton", "mirror", "fictitious"]
FLOOR = -60.0  # of centered logits: an action of probability 1e-26 is as good as none and can still return
INNER, SHRINK, SMALLEST = 12, 0.1, 1e-3


class MeanFieldSolution(eqx.Module):
    """Policy, its law, exact exploitability and iterations; `history` is the exploitability before every iteration."""

    game: DiscreteMeanFieldGame
    policy: Policy
    law: Law
    exploitability: Float[Array, ""]
    iterations: Int[Array, ""]
    tolerance: float = eqx.field(static=True)
    history: Float[Array, " counts"]

    @property
    def profile(self) -> PlayedPolicy:
        """The policy and its law, as `simulate` and `verify` take them."""
        return PlayedPolicy(self.policy, self.law)

    @property
    def converged(self) -> bool:
        """Whether the exploitability is within the tolerance; the policy is not an equilibrium otherwise."""
        return bool(self.exploitability <= self.tolerance)

    def __repr__(self) -> str:
        words = "equilibrium" if self.converged else f"not an equilibrium (tolerance {self.tolerance:g})"
        found = f"exploitability {float(self.exploitability):.3g} after {int(self.iterations)} iterations"
        return f"MeanFieldSolution of {self.game.name}: {words}, {found}"


@in_double
def solve_mean_field(
    game: DiscreteMeanFieldGame,
    method: Method = "newton",
    *,
    tolerance: float = 1e-10,
    iterations: int = 1000,
    rate: float = 1.0,
) -> MeanFieldSolution:
    """The policy found from the uniform one; `rate` is α of mirror descent. `InvalidInput` for a game that is none."""
    if method not in METHODS:
        raise InvalidInput("method", method, suggestion(method, METHODS))
    if iterations < 1 or not tolerance > 0 or not rate > 0:
        raise InvalidInput("iterations, tolerance, rate", (iterations, tolerance, rate), "positive numbers")
    return _solve(checked(game), method, tolerance, iterations, jnp.asarray(rate))


@eqx.filter_jit
def _solve(game: DiscreteMeanFieldGame, method: str, tolerance: float, most: int, rate: Array) -> MeanFieldSolution:
    start, step = METHODS[method](game, rate)

    def advance(carry: tuple) -> tuple:
        state, _, history, count, _ = carry
        found = exploitability(game, state[0], state[1])
        return step(state, count), state[:2], history.at[count].set(found), count + 1, found

    def goes_on(carry: tuple) -> Array:
        return (carry[4] > tolerance) & (carry[3] <= most)

    first = (start, start[:2], jnp.full(most + 1, jnp.nan), jnp.zeros((), int), jnp.asarray(jnp.inf))
    _, (policy, guess), history, count, found = jax.lax.while_loop(goes_on, advance, first)
    return MeanFieldSolution(
        game=game,
        policy=policy,
        law=law_of(game, policy, guess),
        exploitability=found,
        iterations=count - 1,
        tolerance=tolerance,
        history=history,
    )


def _uniform(game: DiscreteMeanFieldGame) -> tuple[Policy, Law]:
    shape = jax.eval_shape(game.at, jnp.zeros((game.times, len(game.initial))))[1].shape
    policy = jnp.full(shape, 1.0 / shape[-1])
    return policy, law_of(game, policy)


def _centered(logits: Array) -> Array:
    return jnp.maximum(logits - jnp.max(logits, axis=-1, keepdims=True), FLOOR)


def _mirror(game: DiscreteMeanFieldGame, rate: Array) -> tuple[tuple, Callable]:
    policy, law = _uniform(game)

    def step(state: tuple, _: Array) -> tuple:
        policy, law, logits = state
        logits = logits + rate * action_values(game, law, policy)
        policy = jax.nn.softmax(logits)
        return policy, law_of(game, policy, law), logits - jnp.max(logits, axis=-1, keepdims=True)

    return (policy, law, jnp.zeros_like(policy)), step


def _fictitious(game: DiscreteMeanFieldGame, _: Array) -> tuple[tuple, Callable]:
    def step(state: tuple, count: Array) -> tuple:
        policy, law = state
        q = best_action_values(game, law)
        best = (q == jnp.max(q, axis=-1, keepdims=True)).astype(q.dtype)  # ties are split, as in MFGLib
        best = best / jnp.sum(best, axis=-1, keepdims=True)
        share = 1.0 / (count + 2).astype(law.dtype)
        mixed = (1 - share) * law[..., None] * policy + share * law_of(game, best, law)[..., None] * best
        total = jnp.sum(mixed, axis=-1, keepdims=True)
        policy = jnp.where(total > 0, mixed / jnp.where(total > 0, total, 1.0), policy)
        return policy, law_of(game, policy, law)

    return _uniform(game), step


def _newton(game: DiscreteMeanFieldGame, _: Array) -> tuple[tuple, Callable]:
    """State: policy, law, the logits of the last step solved, unknowns, τ and the iterations spent on this step."""
    policy, law = _uniform(game)
    q = action_values(game, law, policy)
    scale = jnp.maximum(jnp.max(jnp.abs(q - jnp.mean(q, axis=-1, keepdims=True))), 1e-12)
    value = jnp.sum(policy * q, axis=-1) / scale

    def step(state: tuple, _: Array) -> tuple:
        policy, law, logits, x, tau, spent = state

        def residual(x: Array) -> tuple[Array, tuple[Array, Array]]:
            return _proximal(game, logits, tau, scale, x)

        moved, fine, size = _newton_step(residual, x)
        _, (trial, reached) = residual(moved)
        solved, stuck = fine & (size < 1e-11), ~fine | (spent >= INNER)
        ahead = jnp.log(jnp.maximum(trial, jnp.exp(FLOOR)))
        old = _packed(game, state[1], jnp.sum(policy * action_values(game, law, policy), -1) / scale)
        tau = jnp.where(solved, jnp.maximum(tau * SHRINK, SMALLEST * scale), jnp.where(stuck, tau * 8, tau))
        x = jnp.where(stuck & ~solved, old, moved)
        spent = jnp.where(solved | stuck, 0, spent + 1)
        before, after = (policy, law, logits), (trial, reached, _centered(ahead))
        return (*(jnp.where(solved, yes, no) for yes, no in zip(after, before, strict=True)), x, tau, spent)

    return (policy, law, jnp.zeros_like(q), _packed(game, law, value), scale, jnp.zeros((), int)), step


def _packed(game: DiscreteMeanFieldGame, law: Law, value: Array) -> Array:
    return law.reshape(-1) if game.horizon is not None else jnp.concatenate([law[0], value[0]])


def _newton_step(residual: Callable, x: Array) -> tuple[Array, Array, Array]:
    """One damped step, whether it made the residual smaller, and the residual's size there."""
    now, slope = jax.linearize(lambda x: residual(x)[0], x)
    direction = jnp.linalg.solve(jax.vmap(slope, out_axes=1)(jnp.eye(x.size)), -now)

    def size(length: Array) -> Array:
        there = jnp.max(jnp.abs(residual(x + length * direction)[0]))
        return jnp.where(jnp.isfinite(there), there, jnp.inf)

    lengths = 0.5 ** jnp.arange(8.0)
    sizes = jax.lax.map(size, lengths)
    before = jnp.max(jnp.abs(now))
    best = jnp.argmax(sizes < (1 - 0.1 * lengths) * before)
    fine = (sizes[best] < before) | (sizes[best] < 1e-12)
    return jnp.where(fine, x + lengths[best] * direction, x), fine, sizes[best]


def _proximal(
    game: DiscreteMeanFieldGame, logits: Array, tau: Array, scale: Array, x: Array
) -> tuple[Array, tuple[Array, Array]]:
    """Residual of the proximal step's law (and values) at the unknowns; the policy there and the law it was held to."""
    size = len(game.initial)
    law = x.reshape(-1, size) if game.horizon is not None else x[None, :size]
    floored = jnp.maximum(law, 0.0)
    kernel, reward = game.at(floored)

    def regularized(now: tuple, ahead: Array) -> tuple[Array, Array]:
        moves, earned, old = now
        tilted = old + (earned + game.discount * (moves @ ahead)) / tau
        return tau * (jax.nn.logsumexp(tilted, -1) - jax.nn.logsumexp(old, -1)), jax.nn.softmax(tilted)

    if game.horizon is not None:
        rows = (kernel, reward, logits)
        policy = jax.lax.scan(lambda v, row: regularized(row, v), jnp.zeros(size), rows, reverse=True)[1]
        reached = jnp.einsum("ts,tsa,tsax->tx", law, policy, kernel)
        gap = law - jnp.concatenate([game.initial[None], reached[:-1]])
        return gap.reshape(-1), (policy, floored)
    value, chosen = regularized((kernel[0], reward[0], logits[0]), scale * x[size:])
    flow = jnp.einsum("s,sa,sax->x", law[0], chosen, kernel[0]) - law[0]
    gaps = (flow.at[-1].set(jnp.sum(law) - 1), value / scale - x[size:])
    return jnp.concatenate(gaps), (chosen[None], floored)


METHODS: dict[str, Callable] = {"newton": _newton, "mirror": _mirror, "fictitious": _fictitious}
"""Name → the method's start and step."""
