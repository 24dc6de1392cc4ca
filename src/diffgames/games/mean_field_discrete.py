"""Mean-field games in discrete time with finitely many states s = 1, …, S and actions a = 1, …, A.

A representative player in a crowd of law μ_t is in state s, plays a with probability π_t(s, a), earns r_t(s, a; μ_t)
and moves to s' with probability P_t(s, a, s'; μ_t). Rewards are maximized. Two readings:

- finite horizon: t = 0, …, T, law μ_{t+1} = μ_t P_{π_t} from the given μ_0, value E Σ_t γ^t r_t (a decision is made and
  a reward earned at T too);
- stationary (`horizon=None`): discounted by γ < 1 without end, the law is an invariant one, μ = μ P_π(μ).

π is an equilibrium where no other policy earns more against the law that π itself makes. Its *exploitability* is

    E(π) = Σ_s μ_0(s) (max_π' V_0^{π'}(s; μ^π) − V_0^π(s; μ^π)),   stationary: the invariant law in the place of μ_0.

The law enters through that of the states alone. The benchmark games of the literature are in
`games.mean_field_benchmarks`, the solvers in `solvers.mean_field_discrete`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput

Law = Float[Array, "times S"]
Policy = Float[Array, "times S A"]
RESTART = 1e-14


class DiscreteMeanFieldGame(eqx.Module):
    """Two functions (t, law) ↦ P [S, A, S], r [S, A], the first law [S], T and γ; a pytree, the game's name static."""

    transition: Callable
    reward: Callable
    initial: Float[Array, " S"]
    discount: float | Float[Array, ""] = 1.0
    horizon: int | None = eqx.field(static=True, default=None)
    name: str = eqx.field(static=True, default="game")

    @property
    def times(self) -> int:
        """Number of times with a decision of their own: T + 1, or one if stationary."""
        return 1 if self.horizon is None else self.horizon + 1

    def at(self, law: Law) -> tuple[Array, Array]:
        """P [times, S, A, S] and r [times, S, A] along a law."""
        steps = jnp.arange(self.times)
        return jax.vmap(self.transition)(steps, law), jax.vmap(self.reward)(steps, law)


class PlayedPolicy(eqx.Module):
    """A policy with the law it is said to make: what is simulated and certified."""

    policy: Policy
    law: Law


def checked(game: DiscreteMeanFieldGame) -> DiscreteMeanFieldGame:
    """The game; `InvalidInput` where horizon, discount, laws or kernels are none, told at the first law."""
    law = np.asarray(game.initial, float)
    if law.ndim != 1 or not (law >= 0).all() or abs(law.sum() - 1) > 1e-9:
        raise InvalidInput("initial", law.tolist(), "probabilities of the states, non-negative and of sum one")
    if game.horizon is not None and not (game.horizon >= 0 and game.horizon == int(game.horizon)):
        raise InvalidInput(
            "horizon", game.horizon, "the last time T, an integer at least 0, or None for a stationary game"
        )
    if not 0 <= float(game.discount) <= 1 or (game.horizon is None and float(game.discount) == 1):
        raise InvalidInput("discount", float(game.discount), "a number in [0, 1], below 1 without end")
    kernel, reward = (np.asarray(x) for x in _first(game))
    if reward.ndim != 3 or kernel.shape != (*reward.shape, law.size) or reward.shape[1] != law.size:
        raise InvalidInput("transition", list(kernel.shape), f"P [S, A, S] and r [S, A] with S = {law.size}")
    off = np.abs(kernel.sum(axis=-1) - 1).max()
    if (kernel < -1e-12).any() or not off < 1e-9:
        raise InvalidInput("transition", float(1 + off), "probabilities: rows of sum one, none negative")
    if not np.isfinite(reward).all():
        raise InvalidInput("reward", float("nan"), "finite rewards at the first law")
    return game


@eqx.filter_jit
def _first(game: DiscreteMeanFieldGame) -> tuple[Array, Array]:
    """Kernels and rewards at the first law, at the first and the last time."""
    ends = jnp.asarray(sorted({0, game.times - 1}))
    kernel, reward = (jax.vmap(part, (0, None))(ends, game.initial) for part in (game.transition, game.reward))
    return kernel, reward


def played_policy(game: DiscreteMeanFieldGame, profile: PlayedPolicy | Array) -> PlayedPolicy:
    """A policy with the law it makes, where none was told; `InvalidInput` for a policy or a law that is none."""
    policy = profile.policy if isinstance(profile, PlayedPolicy) else profile
    shape = (game.times, len(game.initial))
    if policy.ndim != 3 or policy.shape[:2] != shape:
        raise InvalidInput("policy", list(policy.shape), f"probabilities [{shape[0]}, {shape[1]}, A]")
    off = max(float(jnp.max(jnp.abs(jnp.sum(policy, -1) - 1.0))), -float(jnp.min(policy)))
    if not off < 1e-6:
        raise InvalidInput("policy", off, "probabilities of actions: none negative, rows of sum one")
    if not isinstance(profile, PlayedPolicy):
        return PlayedPolicy(policy, law_of(game, policy))
    if profile.law.shape != shape or not float(jnp.min(profile.law)) >= -1e-9:
        raise InvalidInput("law", list(profile.law.shape), f"finite masses {list(shape)}, nowhere negative")
    return profile


def expected(kernel: Float[Array, "S A S"], value: Float[Array, " S"]) -> Float[Array, "S A"]:
    """Σ_s' P(s, a, s') V(s') as one product of a matrix and a vector."""
    return (kernel.reshape(-1, len(value)) @ value).reshape(kernel.shape[:2])


def moved(kernel: Float[Array, "S A S"], law: Float[Array, " S"], policy: Float[Array, "S A"]) -> Float[Array, " S"]:
    """The law one step later, likewise."""
    return (law[:, None] * policy).reshape(-1) @ kernel.reshape(-1, len(law))


def law_of(game: DiscreteMeanFieldGame, policy: Policy, guess: Law | None = None) -> Law:
    """The law that a policy makes; of a stationary game the invariant one that Newton's method finds from `guess`."""
    if game.horizon is None:
        return _invariant(game, policy, game.initial if guess is None else guess[0])[None]

    def forward(law: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
        t, chosen = pair
        return moved(game.transition(t, law), law, chosen), law

    return jax.lax.scan(forward, game.initial, (jnp.arange(game.times), policy))[1]


def _invariant(game: DiscreteMeanFieldGame, policy: Policy, guess: Array) -> Array:
    """The root of μ P_π(μ) − μ = 0, one equation replaced by Σ μ = 1.

    A share RESTART of the crowd begins anew from the first law: where a policy makes several recurrent classes, it
    decides how many are in each, and elsewhere changes nothing that counts.
    """

    def flow(law: Array) -> Array:
        after = moved(game.transition(jnp.zeros((), int), law), law, policy[0])
        return (after - law + RESTART * (game.initial - after)).at[-1].set(jnp.sum(law) - 1)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        law, _, count = state
        after = jnp.maximum(law - jnp.linalg.solve(jax.jacfwd(flow)(law), flow(law)), 0)
        after = after / jnp.sum(after)
        return after, jnp.max(jnp.abs(after - law)), count + 1

    start = (guess, jnp.asarray(1.0, guess.dtype), jnp.zeros((), int))
    return jax.lax.while_loop(lambda state: (state[1] > 1e-15) & (state[2] < 20), step, start)[0]


def action_values(game: DiscreteMeanFieldGame, law: Law, policy: Policy) -> Policy:
    """Q^π [times, S, A] against a law: r + γ P V^π."""
    if game.horizon is None:
        kernel, reward = (row[0] for row in game.at(law))
        return (reward + game.discount * (kernel @ _evaluated(game, kernel, reward, policy[0])))[None]

    def back(ahead: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        q = _ahead(game, now[:2], ahead)
        return jnp.sum(now[2] * q, axis=-1), q

    return jax.lax.scan(back, jnp.zeros_like(game.initial), (jnp.arange(game.times), law, policy), reverse=True)[1]


def best_action_values(game: DiscreteMeanFieldGame, law: Law) -> Policy:
    """Q* [times, S, A] against a law: backward recursion, or Howard's policy iteration if stationary."""
    if game.horizon is None:
        kernel, reward = (row[0] for row in game.at(law))
        return _howard(game, kernel, reward)[None]

    def back(ahead: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        q = _ahead(game, now, ahead)
        return jnp.max(q, axis=-1), q

    return jax.lax.scan(back, jnp.zeros_like(game.initial), (jnp.arange(game.times), law), reverse=True)[1]


def _ahead(game: DiscreteMeanFieldGame, now: tuple[Array, Array], value: Array) -> Array:
    """r + γ P V at one time and law; a kernel that is the same at all times is never copied."""
    return game.reward(*now) + game.discount * expected(game.transition(*now), value)


def _evaluated(game: DiscreteMeanFieldGame, kernel: Array, reward: Array, policy: Array) -> Array:
    moves = jnp.einsum("sa,sax->sx", policy, kernel)
    system = jnp.eye(len(moves), dtype=moves.dtype) - game.discount * moves
    return jnp.linalg.solve(system, jnp.sum(policy * reward, -1))


def _howard(game: DiscreteMeanFieldGame, kernel: Array, reward: Array) -> Array:
    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        q, _, count = state
        policy = jax.nn.one_hot(jnp.argmax(q, axis=-1), q.shape[-1], dtype=q.dtype)
        better = reward + game.discount * (kernel @ _evaluated(game, kernel, reward, policy))
        gained = jnp.max(jnp.max(better, -1) - jnp.max(q, -1)) > 1e-14 * jnp.max(jnp.abs(better))
        return better, gained | (count == 0), count + 1

    start = (reward, jnp.asarray(True), jnp.zeros((), int))
    return jax.lax.while_loop(lambda state: state[1] & (state[2] < 200), improve, start)[0]


def exploitability(game: DiscreteMeanFieldGame, policy: Policy, guess: Law | None = None) -> Float[Array, ""]:
    """What the best policy gains against the law of `policy`."""
    law = law_of(game, policy, guess)
    slack = jnp.max(best_action_values(game, law)[0], -1) - jnp.sum(policy[0] * action_values(game, law, policy)[0], -1)
    return law[0] @ slack
