"""The exchange agent with a memory learned by a network: Vadori et al., Section 2.3.2, its correlations corrected.

A mixture of n Gaussians for the next variation S_{t+1} ∈ R^p, p = 2m + 2, whose parameters depend on what came before:

    h = LSTM(S_{t−k+1}, …, S_t),   y = tanh layers of width 32, 64, 64 on (h, S_t, V_t),   (π, a, μ, σ, C) = head(y),
    S_{t+1} ~ Σ_c π_c N(μ_c, D_c C_c C_cᵀ D_c + φ I) behind hurdles a_c,   D = diag σ,   φ the variance floor,

all standardised. *Hurdles* are for a level that does not change, a spread that stays, a mid that stays: component c
puts the probability a_ci on that, and its Gaussian gives the density of the other coordinates alone, its marginal. The
rows of the lower triangular C have length one, so that C Cᵀ is a correlation matrix whatever the head says. (The
paper's tanh on every correlation is not one: of 1,000 random draws at p = 12 all were indefinite.) C is `full`, one for
each component; `shared` by all of them; or `fixed`, that of the training data. Hurdles and V_t, the logarithms of the
volumes and the spread, are our additions: half of an hour's changes are none, which no density has, and without V_t the
network does not see what stands in the book.

The law is symmetric by drawing: with probability ½ bid and ask are exchanged in what the network sees, and back in what
it draws. The carry is the history of S_t in the book as it is, agents' orders included, cut to ±`OUTLIER` deviations.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from diffgames.markets.depth_book import DepthBook, best_ask, best_bid, top_levels
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.exchange import AbstractExchange, Variation
from diffgames.markets.mixture_fit import MixtureFit

CORRELATIONS = ("fixed", "shared", "full")
WINDOW, LATENT, WIDTHS = 20, 32, (32, 64, 64)
OUTLIER = 6.0


class MixtureDensityNetwork(eqx.Module):
    """From a standardised history to a Gaussian mixture; `fixed` is C where the network does not give it."""

    encoder: eqx.nn.LSTMCell
    layers: tuple[eqx.nn.Linear, ...]
    head: eqx.nn.Linear
    fixed: Float[Array, "p p"]
    floor: float = eqx.field(static=True)
    components: int = eqx.field(static=True)
    correlation: str = eqx.field(static=True)

    @staticmethod
    def start(
        fit: MixtureFit, atoms: np.ndarray, floor: float, correlation: str, key: PRNGKeyArray
    ) -> "MixtureDensityNetwork":
        """A network that says what a fitted mixture says, nearly, whatever it is shown; weights Glorot uniform.

        `atoms` [p] are the probabilities of the hurdles.
        """
        count, p = fit.means.shape
        keys = jax.random.split(key, len(WIDTHS) + 2)
        sizes = (LATENT + p + p - 1, *WIDTHS)
        layers = tuple(
            _glorot(eqx.nn.Linear(a, b, key=k, dtype=jnp.float32), k)
            for a, b, k in zip(sizes, sizes[1:], keys[2:], strict=False)
        )
        covariance = np.einsum("cij,ckj->cik", fit.cholesky, fit.cholesky) - floor * np.eye(p)
        deviation = np.sqrt(np.maximum(np.einsum("cii->ci", covariance), 1e-4))
        mean = fit.weights @ fit.means
        whole = np.einsum(
            "c,cij->ij", fit.weights, covariance + (fit.means - mean)[:, :, None] * (fit.means - mean)[:, None]
        )
        factors = {"full": covariance, "shared": whole[None], "fixed": np.zeros((0, p, p))}[correlation]
        below = np.tril_indices(p, -1)
        rows = [_unit_rows(one)[below] for one in factors]
        hurdles = np.tile(np.log(atoms / (1.0 - atoms)), count)
        bias = np.concatenate([np.log(fit.weights), hurdles, fit.means.ravel(), np.log(deviation).ravel(), *rows])
        head = eqx.nn.Linear(WIDTHS[-1], len(bias), key=keys[1], dtype=jnp.float32)
        head = eqx.tree_at(
            lambda one: (one.weight, one.bias), head, (0.01 * head.weight, jnp.asarray(bias, jnp.float32))
        )
        fixed = np.linalg.cholesky(_correlation(whole))
        return MixtureDensityNetwork(
            encoder=eqx.nn.LSTMCell(p, LATENT, key=keys[0], dtype=jnp.float32),
            layers=layers,
            head=head,
            fixed=jnp.asarray(fixed, jnp.float32),
            floor=floor,
            components=count,
            correlation=correlation,
        )

    @property
    def outputs(self) -> int:
        """Numbers that the head gives: n(1 + 3p), np of them hurdles, and p(p − 1)/2 for every learned correlation."""
        return self.head.out_features  # type: ignore[return-value]

    def __call__(
        self, history: Float[Array, "k p"], state: Float[Array, " levels_and_spread"]
    ) -> tuple[Float[Array, " n"], Float[Array, "n p"], Float[Array, "n p"], Float[Array, "n p p"]]:
        """Logarithms of weights, logits of hurdles, means and D C of every component, given a history and V_t."""
        zero = jnp.zeros(LATENT, history.dtype)
        (hidden, _), _ = jax.lax.scan(lambda carry, s: (self.encoder(s, carry), None), (zero, zero), history)
        y = jnp.concatenate([hidden, history[-1], state])
        for layer in self.layers:
            y = jnp.tanh(layer(y))
        n, p = self.components, history.shape[-1]
        weights, hurdles, means, deviations, raw = jnp.split(self.head(y), [n + k * n * p for k in range(4)])
        below = np.tril_indices(p, -1)
        if self.correlation == "fixed":
            factor = jnp.broadcast_to(jax.lax.stop_gradient(self.fixed), (n, p, p))
        else:
            raw = jnp.broadcast_to(raw.reshape(-1, p * (p - 1) // 2), (n, p * (p - 1) // 2))
            lower = jnp.broadcast_to(jnp.eye(p, dtype=y.dtype), (n, p, p)).at[:, below[0], below[1]].set(raw)
            factor = lower / jnp.sqrt(jnp.sum(lower**2, axis=-1, keepdims=True))
        scale = jnp.exp(jnp.clip(deviations.reshape(n, p), -12.0, 4.0))
        return jax.nn.log_softmax(weights), hurdles.reshape(n, p), means.reshape(n, p), scale[:, :, None] * factor

    def log_likelihood(
        self, history: Array, state: Array, target: Float[Array, " p"], moved: Float[Array, " p"]
    ) -> Float[Array, ""]:
        """ln of the probability of the hurdles (`moved` 0) and of the density of the other coordinates (`moved` 1)."""
        weights, hurdles, means, factor = self(history, state)
        still = 1.0 - moved
        stays = jax.nn.log_sigmoid(-hurdles) @ moved + jax.nn.log_sigmoid(hurdles) @ still
        covariance = jnp.einsum("cij,ckj->cik", factor, factor)
        marginal = jnp.outer(moved, moved)[None] * covariance + jnp.diag(self.floor * moved + still)[None]
        lower = jnp.linalg.cholesky(marginal)
        away = moved[None] * (target[None] - means)
        residual = jax.scipy.linalg.solve_triangular(lower, away[:, :, None], lower=True)[:, :, 0]
        constant = float(0.5 * np.log(2 * np.pi)) * jnp.sum(moved)
        logs = jnp.sum(jnp.log(jnp.diagonal(lower, axis1=1, axis2=2)), axis=1)
        return jax.nn.logsumexp(weights + stays - 0.5 * jnp.sum(residual**2, axis=1) - logs - constant)

    def draw(self, history: Array, state: Array, key: PRNGKeyArray) -> tuple[Float[Array, " p"], Bool[Array, " p"]]:
        """One standardised draw, D C z + √φ z' of the component that is drawn, and which coordinates stay."""
        which, hurdle, normal = jax.random.split(key, 3)
        weights, hurdles, means, factor = self(history, state)
        chosen = jax.random.categorical(which, weights)
        stays = jax.random.bernoulli(hurdle, jax.nn.sigmoid(hurdles[chosen]))
        z = jax.random.normal(normal, (2, means.shape[-1]), jnp.float32)
        return means[chosen] + factor[chosen] @ z[0] + float(np.sqrt(self.floor)) * z[1], stays


def _glorot(layer: eqx.nn.Linear, key: PRNGKeyArray) -> eqx.nn.Linear:
    """Weights uniform with the variance of Glorot and Bengio (2010), biases zero."""
    weight = jax.nn.initializers.glorot_uniform()(key, layer.weight.shape, jnp.float32)
    return eqx.tree_at(lambda one: (one.weight, one.bias), layer, (weight, jnp.zeros(layer.out_features, jnp.float32)))


def _correlation(covariance: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diagonal(covariance))
    return covariance / scale[:, None] / scale + 1e-6 * np.eye(len(covariance))


def _unit_rows(covariance: np.ndarray) -> np.ndarray:
    """The lower triangle, ones on its diagonal, whose rows brought to length one are the correlation's factor."""
    lower = np.linalg.cholesky(_correlation(covariance + 1e-4 * np.eye(len(covariance))))
    return lower / np.diagonal(lower)[:, None]


class Openings(eqx.Module):
    """Recorded moments to open at: volumes (lots), spread (ticks), and the standardised history before."""

    volume: Float[Array, "*batch openings levels_of_both_sides"]
    spread: Float[Array, "*batch openings"]
    history: Float[Array, "*batch openings k p"]


class Remembered(eqx.Module):
    """The carry: standardised history, volumes, spread and twice the mid (ticks of the grid) of the last own book."""

    history: Float[Array, "k p"]
    volume: Float[Array, " levels_of_both_sides"]
    spread: Float[Array, ""]
    double_mid: Float[Array, ""]


class NeuralExchange(AbstractExchange):
    """The network in the market: how draws become books is `ExchangeModel`'s, `base`.

    Attributes:
        base: the mixture, which draws nothing here but makes books of draws. Its unit is the mean volume, in which the
            network was shown what rises: that which puts the mixture's own mean right would not be the network's.
        network: the law of the next variation.
        centre, scale: of S, by which it is standardised; state_centre, state_scale: of (ln V, spread).
        openings: recorded moments that a book opens at.
    """

    base: ExchangeModel
    network: MixtureDensityNetwork
    centre: Float[Array, "*batch p"]
    scale: Float[Array, "*batch p"]
    state_centre: Float[Array, "*batch levels_and_spread"]
    state_scale: Float[Array, "*batch levels_and_spread"]
    openings: Openings
    widest: Float[Array, "*batch"]
    usual: Float[Array, "*batch"]
    order_sizes: Float[Array, "*batch sizes"]
    mean_volume: Float[Array, "*batch levels_of_both_sides"]
    volatility: Float[Array, "*batch"]
    tick: Float[Array, "*batch"]

    @staticmethod
    def of(base: ExchangeModel, **own) -> "NeuralExchange":
        """The exchange that shares what `base` knows of its market."""
        base = eqx.tree_at(lambda model: model.unit, base, base.mean_volume)
        names = ("widest", "usual", "order_sizes", "mean_volume", "volatility", "tick")
        return NeuralExchange(base=base, **own, **{name: getattr(base, name) for name in names})

    @classmethod
    def alike(cls, models: Sequence["NeuralExchange"]) -> list["NeuralExchange"]:
        """Their mixtures with equally many components, and equally many openings."""
        fewest = min(model.openings.spread.shape[0] for model in models)
        bases = ExchangeModel.alike([model.base for model in models])
        return [
            eqx.tree_at(
                lambda m: (m.base, m.openings), model, (base, jax.tree.map(lambda leaf: leaf[:fewest], model.openings))
            )
            for model, base in zip(models, bases, strict=True)
        ]

    def open(self, key: PRNGKeyArray, grid: int) -> tuple[DepthBook, Remembered]:
        """A recorded moment, or its mirror image, with the mid at the grid's centre."""
        which, side = jax.random.split(key)
        row = jax.random.randint(which, (), 0, self.openings.spread.shape[0], jnp.int32)
        flip = jax.random.bernoulli(side, self.base.mirror)
        volume = self._mirrored_volumes(self.openings.volume[row], flip)
        history = self._mirrored(self.openings.history[row], flip)
        spread = self.openings.spread[row]
        ask = float(grid // 2) + jnp.ceil(spread / 2)
        book = self.base.place(volume, ask - spread, ask, grid)
        return book, Remembered(history, volume, spread, 2.0 * ask - spread)

    def sample(
        self,
        carry: Remembered,
        key: PRNGKeyArray,
        book: DepthBook,
        mid_pull: float | Float[Array, ""] = 0.0,
        mid_weight: float = 1.0,
    ) -> tuple[Variation, Remembered]:
        """A draw of the network's law, applied to the book that agents left; the history of the book as it is."""
        grid, dtype = book.ask.shape[-1], book.ask.dtype
        ask, spread = best_ask(book).astype(dtype), (best_ask(book) - best_bid(book)).astype(dtype)
        now = top_levels(book, self.levels)
        draw = self.draw(key, carry.history, now, spread)
        volumes, next_spread, move = self.base.apply_draw(
            draw, now, spread, mid_pull, float(grid - 2 * self.levels + 1), mid_weight
        )
        next_ask = jnp.clip(ask + move, next_spread + (self.levels - 1.0), float(grid - self.levels))
        target = self.base.place(volumes, next_ask - next_spread, next_ask, grid)
        double_mid = 2.0 * next_ask - next_spread
        seen = self.standardised(carry.volume, volumes, next_spread, double_mid - carry.double_mid)
        history = jnp.concatenate([carry.history[1:], seen[None]])
        return (target.bid - book.bid, target.ask - book.ask), Remembered(history, volumes, next_spread, double_mid)

    def draw(
        self, key: PRNGKeyArray, history: Float[Array, "k p"], volume: Array, spread: Float[Array, ""]
    ) -> Float[Array, " p"]:
        """S_{t+1} in the mixture's coordinates (see `ecn`), given the standardised history and the present book."""
        side, normal = jax.random.split(key)
        flip = jax.random.bernoulli(side, self.base.mirror)
        state = jnp.concatenate([jnp.log(self._mirrored_volumes(volume, flip)), spread[None]])
        state = (state - self.state_centre) / self.state_scale
        drawn, stays = self.network.draw(self._mirrored(history, flip), state, normal)
        still = jnp.zeros_like(drawn).at[-2].set(spread)
        return self._mirrored(jnp.where(stays, still, self.centre + self.scale * drawn), flip)

    def standardised(self, before: Array, after: Array, spread: Array, mid_change: Array) -> Float[Array, " p"]:
        """What the network is shown of a step from volumes to volumes (lots), with a mid change in half-ticks."""
        change = after - before
        scaled = change / jnp.where(change < 0.0, before, self.mean_volume)
        seen = (jnp.concatenate([scaled, jnp.stack([spread, mid_change])]) - self.centre) / self.scale
        return jnp.clip(seen, -OUTLIER, OUTLIER)

    def _mirrored(self, s: Float[Array, "*k p"], flip: Array) -> Float[Array, "*k p"]:
        """Bid and ask exchanged in variations; standardised ones too, with one centre and scale for both sides."""
        both = 2 * self.levels
        other = jnp.concatenate(
            [s[..., self.levels : both], s[..., : self.levels], s[..., both : both + 1], -s[..., both + 1 :]], axis=-1
        )
        return jnp.where(flip, other, s)

    def _mirrored_volumes(self, volume: Float[Array, " levels_of_both_sides"], flip: Array) -> Array:
        return jnp.where(flip, jnp.roll(volume, self.levels), volume)
