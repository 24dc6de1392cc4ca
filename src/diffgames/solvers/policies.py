"""A ladder of policies for distributed games: time-varying linear gains first, then gains plus a residual network.

A policy maps (t, x, y), states and sensitivities [d, players, paths], to controls [k, players, paths].

`LinearGains`: every player reacts linearly to all states (and sensitivities, where these matter), with gains that are
piecewise linear in time on knots graded towards the horizon,

    u = (Θ_x(t) x + Θ_y(t) y + θ(t)) / (T − t + δ),

exact for linear-quadratic games as knots are added. The factor 1/(T − t + δ) is how fast a target can still be
reached; with it the learned Θ stay of order one. δ is the ratio of the weights of effort and terminal cost, over
which effort stops mattering. `LocalGains` reacts to the own state and to the network's average around the player,
O(N) for large crowds.

Along its mean path a state and a constant look alike, which makes gains and offsets nearly collinear and descent slow.
`Centred` gains therefore react to deviations from the mean over the paths of the batch, so that offsets steer the mean
and gains the deviations; once learned, `settled` puts the noise-free path, which is the mean of linear feedback on
centred noise, in the place of the batch's.

`ResidualNetworks`: one network per player on (t, x, y), as in Appendix A of Guo, Li & Zhang (arXiv 2508.01929): an
input layer, blocks act(L₁ act(L₂ z)) + z, an output layer and a learned scale times tanh. `Sum` adds policies up.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.distributed import Controls, DistributedGame, States, apply
from diffgames.solvers.distributed_paths import Grid, Noise, trajectory


class Clock(eqx.Module):
    """Where time stands between the knots t_j = T (1 − (1 − j/J)^g), and the factor 1/(T − t + δ)."""

    horizon: float
    patience: float
    grade: float
    knots: int = eqx.field(static=True)

    def between(self, t: Float[Array, ""], values: Float[Array, "knots *shape"]) -> Float[Array, "*shape"]:
        """`values` at time t, linear between knots in the graded time."""
        left = jnp.clip(1.0 - t / self.horizon, 0.0, 1.0)
        place = jnp.clip(1.0 - left ** (1.0 / self.grade), 0.0, 1.0) * (self.knots - 1)
        index = jnp.minimum(place.astype(jnp.int32), self.knots - 2)
        share = place - index.astype(place.dtype)
        pair = jax.lax.dynamic_slice_in_dim(values, index, 2, axis=0)
        return (1.0 - share) * pair[0] + share * pair[1]

    def urgency(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """1/(T − t + δ)."""
        return 1.0 / (self.horizon - t + self.patience)


class LinearGains(eqx.Module):
    """Everybody reacts to everybody; see the module's docstring. `sensitivity` is None where y does not matter."""

    state: Float[Array, "knots kn dn"]
    sensitivity: Float[Array, "knots kn dn"] | None
    offset: Float[Array, "knots kn"]
    clock: Clock

    def __call__(self, t: Float[Array, ""], x: States, y: States) -> Controls:
        """u, from all states."""
        d, n, paths = x.shape
        gain, offset = self.clock.between(t, self.state), self.clock.between(t, self.offset)
        u = gain @ x.reshape(d * n, paths)
        if self.sensitivity is not None:
            u = u + self.clock.between(t, self.sensitivity) @ y.reshape(d * n, paths)
        return (self.clock.urgency(t) * (u + offset[:, None])).reshape(-1, n, paths)


class Centred(eqx.Module):
    """Gains on deviations from the mean path: of the batch while `reference` is None, else of the stored one."""

    gains: Callable[..., Controls]
    reference: tuple[Float[Array, "times d players"], Float[Array, "times d players"]] | None
    clock: Clock

    def __call__(self, t: Float[Array, ""], x: States, y: States) -> Controls:
        """u, from deviations."""
        if self.reference is None:
            x_mean, y_mean = (jnp.mean(z, axis=2, keepdims=True) for z in (x, y))
        else:
            fixed = (jax.lax.stop_gradient(path) for path in self.reference)
            x_mean, y_mean = (self.clock.between(t, path)[:, :, None].astype(x.dtype) for path in fixed)
        return self.gains(t, x - x_mean, y - y_mean)


def centred(gains: Callable[..., Controls], game: DistributedGame, steps: int, grade: float) -> Centred:
    """`gains` on deviations from the batch's mean, to be settled on the grid of `steps` and `grade`."""
    return Centred(gains, None, Clock(float(game.horizon), 0.0, grade, steps + 1))


def settled(policy: Centred, game: DistributedGame, grid: Grid) -> Centred:
    """The policy around its own noise-free path on `grid` (as many steps, the same grade)."""
    still = Noise(jnp.zeros((grid.steps, game.state_size, game.player_count, 1), jnp.float32))
    path = trajectory(game, policy, grid, still)
    return Centred(policy.gains, (path.x[..., 0], path.y[..., 0]), policy.clock)


class LocalGains(eqx.Module):
    """The own state, the own sensitivity and a weighted average of the others: O(N)."""

    own: Float[Array, "knots players k d"]
    around: Float[Array, "knots players k d"]
    sensitivity: Float[Array, "knots players k d"]
    offset: Float[Array, "knots k players"]
    neighbours: Float[Array, "players players"] | None
    clock: Clock

    def __call__(self, t: Float[Array, ""], x: States, y: States) -> Controls:
        """u, from the own state and the average around."""
        return self.respond(t, x, y, x)

    def respond(self, t: Float[Array, ""], x: States, y: States, crowd: States) -> Controls:
        """u from own states x and sensitivities y, in a crowd that is somewhere else."""
        if self.neighbours is None:
            average = jnp.broadcast_to(jnp.mean(crowd, axis=1, keepdims=True), crowd.shape)
        else:
            average = jnp.einsum("ij,djb->dib", self.neighbours, crowd)
        u = apply(self.clock.between(t, self.own), x) + apply(self.clock.between(t, self.around), average)
        u = u + apply(self.clock.between(t, self.sensitivity), y) + self.clock.between(t, self.offset)[:, :, None]
        return self.clock.urgency(t) * u


class ResidualNetworks(eqx.Module):
    """One residual network per player, all in one array per layer; see the module's docstring."""

    first: Float[Array, "units inputs"]
    first_bias: Float[Array, " units"]
    inner: Float[Array, "blocks two players width width"]
    inner_bias: Float[Array, "blocks two players width"]
    last: Float[Array, "players k width"]
    last_bias: Float[Array, "players k"]
    scale: Float[Array, " players"]

    def __call__(self, t: Float[Array, ""], x: States, y: States) -> Controls:
        """scale · tanh(network(t, x, y))."""
        d, n, paths = x.shape
        now = jnp.broadcast_to(t, (1, paths))
        inputs = jnp.concatenate([now, x.reshape(d * n, paths), y.reshape(d * n, paths)])
        z = (self.first @ inputs + self.first_bias[:, None]).reshape(n, -1, paths)
        for weights, biases in zip(self.inner, self.inner_bias, strict=True):
            inside = jax.nn.relu(_layer(weights[0], biases[0], z))
            z = z + jax.nn.relu(_layer(weights[1], biases[1], inside))
        out = _layer(self.last, self.last_bias, z)
        return jnp.moveaxis(self.scale[:, None, None] * jnp.tanh(out), 0, 1)


def _layer(weights: Array, biases: Array, inputs: Float[Array, "players units paths"]) -> Array:
    """Every player's own linear layer."""
    return jnp.einsum("nvw,nwb->nvb", weights, inputs) + biases[:, :, None]


class Sum(eqx.Module):
    """The sum of two policies."""

    first: Callable[..., Controls]
    second: Callable[..., Controls]

    def __call__(self, t: Float[Array, ""], x: States, y: States) -> Controls:
        """The sum of their controls."""
        return self.first(t, x, y) + self.second(t, x, y)


def linear_gains(
    game: DistributedGame,
    *,
    knots: int = 21,
    patience: float,
    grade: float = 3.0,
    sensitivity: bool = False,
    key: PRNGKeyArray | None = None,
    spread: float = 0.01,
) -> LinearGains:
    """Gains that do nothing yet, or with a key offsets of deviation `spread` that tell the players apart."""
    d, n, k = game.state_size, game.player_count, game.control_size
    zero = jnp.zeros((knots, k * n, d * n), jnp.float32)
    offset = jnp.zeros((knots, k * n), jnp.float32)
    if key is not None:
        offset = offset + spread * jax.random.normal(key, (1, k * n), jnp.float32)
    return LinearGains(
        state=zero,
        sensitivity=zero if sensitivity else None,
        offset=offset,
        clock=Clock(float(game.horizon), patience, grade, knots),
    )


def local_gains(
    game: DistributedGame,
    *,
    neighbours: Array | None = None,
    knots: int = 21,
    patience: float,
    grade: float = 3.0,
) -> LocalGains:
    """Gains that do nothing yet; `neighbours` are rows of averaging weights (None: everybody alike)."""
    d, n, k = game.state_size, game.player_count, game.control_size
    zero = jnp.zeros((knots, n, k, d), jnp.float32)
    return LocalGains(
        own=zero,
        around=zero,
        sensitivity=zero,
        offset=jnp.zeros((knots, k, n), jnp.float32),
        neighbours=None if neighbours is None else jnp.asarray(neighbours, jnp.float32),
        clock=Clock(float(game.horizon), patience, grade, knots),
    )


def residual_networks(
    game: DistributedGame, key: PRNGKeyArray, *, width: int | None = None, blocks: int = 4, scale: float = 1.0
) -> ResidualNetworks:
    """Fresh networks; the paper's width is N d + 10. Weights are uniform on ±1/√inputs, as is usual for such layers."""
    d, n, k = game.state_size, game.player_count, game.control_size
    width = n * d + 10 if width is None else width
    inputs = 2 * n * d + 1
    keys = iter(jax.random.split(key, 6))

    def uniform(shape, fan):
        bound = fan**-0.5
        return jax.random.uniform(next(keys), shape, jnp.float32, -bound, bound)

    return ResidualNetworks(
        first=uniform((n * width, inputs), inputs),
        first_bias=uniform((n * width,), inputs),
        inner=uniform((blocks, 2, n, width, width), width),
        inner_bias=uniform((blocks, 2, n, width), width),
        last=uniform((n, k, width), width),
        last_bias=uniform((n, k), width),
        scale=jnp.full(n, scale, jnp.float32),
    )
