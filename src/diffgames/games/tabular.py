"""Markov games of n interchangeable agents with finitely many types, states and actions, played by shared policies.

Agent i draws its type λ_i from its supertype p_i, starts in a state drawn from μ_λ, sees its own state s_i and type,
and plays a_i with probability π(a|s, λ). With z_i = (s_i, a_i, λ_i) it earns R_i(z), the states move by T(z, ds'), and
its value is E Σ_{t ≤ T} ζ^t R_i(z_t), to be maximized; without end where `horizon` is None. *Type symmetry* (Vadori et
al., arXiv 2210.07184, Assumption 2.1): for every permutation ρ of the agents

    R_{ρ(i)}(z^ρ) = R_i(z),    T(z^ρ, s'^ρ) = T(z, s').

A joint type, state or action is a number: the agents' own numbers are its digits, the first agent's the leading one.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput

Policy = Float[Array, "S L A"]
LARGEST = 4_000_000


class TabularGame(eqx.Module):
    """Rewards, kernel, laws of first states and of types; joint numbers as in the module's docstring."""

    reward: Float[Array, "n joint_types joint_states joint_actions"]
    kernel: Float[Array, "joint_types joint_states joint_actions joint_states"]
    start: Float[Array, "L S"]
    supertypes: Float[Array, "n L"]
    discount: float = eqx.field(static=True, default=0.5)
    horizon: int | None = eqx.field(static=True, default=None)
    name: str = eqx.field(static=True, default="game")

    @property
    def agents(self) -> int:
        """n."""
        return self.supertypes.shape[0]

    @property
    def states(self) -> int:
        """|S|."""
        return self.start.shape[1]

    @property
    def types(self) -> int:
        """|Λ|."""
        return self.start.shape[0]

    @property
    def actions(self) -> int:
        """|A|."""
        return round(self.reward.shape[3] ** (1 / self.agents))

    @property
    def reward_bound(self) -> float:
        """R_max."""
        return float(jnp.max(jnp.abs(self.reward)))

    @property
    def normalizer(self) -> float:
        """T_ζ = Σ_t ζ^t."""
        return discounted_length(self.discount, self.horizon)


def discounted_length(discount: float, horizon: int | None) -> float:
    """T_ζ = Σ_{t ≤ T} ζ^t; `InvalidInput` where that is infinite."""
    if not 0 <= discount <= 1 or (horizon is None and discount == 1):
        raise InvalidInput("discount", discount, "a number in [0, 1], below 1 without end")
    if horizon is not None and horizon < 0:
        raise InvalidInput("horizon", horizon, "the last time T, at least 0, or None")
    if horizon is None:
        return 1 / (1 - discount)
    return float(np.sum(float(discount) ** np.arange(horizon + 1)))


def checked(game: TabularGame) -> TabularGame:
    """The game; `InvalidInput` where its arrays do not fit together or are no probabilities."""
    n, (types, states) = game.agents, game.start.shape
    joint = (types**n, states**n, game.actions**n)
    if game.reward.shape != (n, *joint) or game.kernel.shape != (*joint, states**n):
        found = [list(game.reward.shape), list(game.kernel.shape)]
        raise InvalidInput("reward, kernel", found, f"[{n}, {joint}] and [{joint}, {states**n}], A^n actions")
    for name in ("kernel", "start", "supertypes"):
        law = np.asarray(getattr(game, name))
        if not (law >= 0).all() or not np.abs(law.sum(-1) - 1).max() < 1e-9:
            raise InvalidInput(name, float(law.sum(-1).flat[0]), "probabilities: none negative, of sum one")
    if not np.isfinite(np.asarray(game.reward)).all():
        raise InvalidInput("reward", "not finite", "finite rewards")
    if game.normalizer and game.kernel.size > LARGEST:
        raise InvalidInput("kernel", game.kernel.size, f"at most {LARGEST} entries")
    return game


def values(game: TabularGame, policies: Float[Array, "n S L A"]) -> Float[Array, " n"]:
    """Expected value of every agent where agent i plays `policies[i]`; differentiable."""
    n, shape = game.agents, (game.types,) * game.agents
    digits = jnp.asarray(np.stack(np.unravel_index(np.arange(game.types**n), shape), axis=1))

    def given(joint: Array, reward: Array, kernel: Array) -> Array:
        played = start = chance = jnp.ones((1, 1), reward.dtype)
        for i in range(n):  # unrolled: a few agents
            played = _outer(played, policies[i, :, joint[i]])
            start = _outer(start, game.start[joint[i]][None])
            chance = chance * game.supertypes[i, joint[i]]
        chain = jnp.einsum("sa,sax->sx", played, kernel)
        gain = jnp.einsum("sa,isa->si", played, reward)
        return chance[0, 0] * (start[0] @ _accrued(game, chain, gain))

    return jnp.sum(jax.vmap(given, (0, 1, 0))(digits, game.reward, game.kernel), axis=0)


def _outer(left: Array, right: Array) -> Array:
    """The Kronecker product of two matrices: rows and columns become joint numbers."""
    product = left[:, None, :, None] * right[None, :, None, :]
    return product.reshape(left.shape[0] * right.shape[0], -1)


def _accrued(game: TabularGame, chain: Array, gain: Array) -> Array:
    """V with V = gain + ζ chain V, or its T + 1 first terms."""
    if game.horizon is None:
        return jnp.linalg.solve(jnp.eye(len(chain), dtype=chain.dtype) - game.discount * chain, gain)

    def step(_: Array, value: Array) -> Array:
        return gain + game.discount * (chain @ value)

    return jax.lax.fori_loop(0, game.horizon + 1, step, jnp.zeros_like(gain))


def type_asymmetry(game: TabularGame) -> float:
    """By how much the worst permutation of the agents moves a reward or a probability; zero under Assumption 2.1."""
    n = game.agents
    sizes = [(size,) * n for size in (game.types, game.states, game.actions)]
    reward = np.asarray(game.reward).reshape(n, *sum(sizes, ()))
    kernel = np.asarray(game.kernel).reshape(*sum(sizes, ()), *sizes[1])
    worst = 0.0
    for order in itertools.permutations(range(n)):
        axes = [block * n + i for block in range(4) for i in order]
        moved = np.stack([reward[i].transpose(axes[: 3 * n]) for i in order])
        worst = max(worst, np.abs(moved - reward).max(), np.abs(kernel.transpose(axes) - kernel).max())
    return float(worst)


def matrix_game(payoff: np.ndarray, name: str = "matrix game") -> TabularGame:
    """Two agents, one decision: who plays row a against column b earns payoff[a, b].

    >>> type_asymmetry(matrix_game(np.array([[3.0, 0.0], [5.0, 1.0]])))
    0.0
    """
    table = np.asarray(payoff, float)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise InvalidInput("payoff", list(table.shape), "a square matrix")
    reward = np.stack([table, table.T]).reshape(2, 1, 1, -1)
    one, kernel = np.ones((1, 1)), np.ones((1, 1, table.size, 1))
    return _game(reward, kernel, one, np.ones((2, 1)), discount=0.0, horizon=0, name=name)


def skill_game(
    reward: np.ndarray,
    kernel: np.ndarray,
    start: np.ndarray,
    supertypes: np.ndarray,
    *,
    discount: float = 0.5,
    rivalry: float = 1.0,
    name: str = "skill",
) -> TabularGame:
    """Everybody has a chain of its own, `reward` [L, S, A], `kernel` [L, S, A, S]; others' mean reward is taken off.

    V̂(π₁, π₂) = t(π₁) − rivalry · t(π₂): the transitive games of Balduzzi et al. 2019. One agent: a decision problem.
    """
    r, p, n = np.asarray(reward, float), np.asarray(kernel, float), len(supertypes)
    types, states, actions = r.shape
    grid = np.indices((types,) * n + (states,) * n + (actions,) * n)
    own = np.stack([r[grid[i], grid[n + i], grid[2 * n + i]] for i in range(n)])
    others = (own.sum(0) - own) / max(n - 1, 1)
    joint = (types**n, states**n, actions**n)
    moved = np.ones((*joint, 1))
    for i in range(n):
        alone = p[grid[i], grid[n + i], grid[2 * n + i]].reshape(*joint, states)
        moved = (moved[..., None] * alone[..., None, :]).reshape(*joint, -1)
    return _game(
        (own - rivalry * others).reshape(n, *joint),
        moved,
        start,
        supertypes,
        discount=discount,
        horizon=None,
        name=name,
    )


def decision(reward: np.ndarray, discount: float = 0.5, name: str = "decision") -> TabularGame:
    """One agent that earns reward[a] again and again."""
    r = np.asarray(reward, float)[None, None]
    one = np.ones((1, 1))
    return skill_game(r, np.ones((*r.shape, 1)), one, one, discount=discount, name=name)


def _game(reward: np.ndarray, kernel: np.ndarray, start: np.ndarray, supertypes: np.ndarray, **rest) -> TabularGame:
    paid, moved, first, drawn = (jnp.asarray(x, float) for x in (reward, kernel, start, supertypes))
    return checked(TabularGame(paid, moved, first, drawn, **rest))
