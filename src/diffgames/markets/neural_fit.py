"""Training the neural exchange (Vadori et al., Section 2.3.2), and its scores beside the mixture's.

Adam on minibatches of 100, learning rate 1e-3 up to epoch 110, then 1e-4; the network of the best validation score is
kept, and training stops when that is `PATIENCE` epochs old. What moves is *dequantised* anew in every epoch
(`ecn_samples`): lots and ticks are a lattice, on which a density has no bound, and a network would find out where. What
stays is a hurdle, and what the network sees is as recorded. The data are joined by their mirror image.

Scores, of every part of the data: `log_likelihood`, a lower bound of the log-probability of the recorded lots, ticks
and half-ticks in nats per transition (higher is better), and the energy score of the exchange as a simulator (lower is
better), rounding included. Beside them stand those of the mixture (`ecn_scores`): dequantised, and as the exchange
that it is. All are taken on the transitions that have a whole history.
"""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.ecn_samples import PARTS, SPLIT, Transitions, paired, swapped, transitions
from diffgames.markets.ecn_scores import CHUNK, dequantised_log_likelihood, energy_score, energy_scores
from diffgames.markets.level2 import Level2
from diffgames.markets.mixture_fit import MixtureFit, fit_mixture
from diffgames.markets.neural_exchange import (
    CORRELATIONS,
    OUTLIER,
    WINDOW,
    MixtureDensityNetwork,
    NeuralExchange,
    Openings,
)

BATCH, PATIENCE, RATES, LATER = 100, 25, (1e-3, 1e-4), 110
NOISES = 4
OPENINGS = 256
DRAWS = 64


@dataclass(frozen=True)
class NeuralReport:
    """Scores per part of the data, of the network and of the mixture; how long it was trained."""

    correlation: str
    outputs: int
    epochs: int
    best: int
    curve: tuple[float, ...]
    log_likelihood: dict[str, float]
    mixture_log_likelihood: dict[str, float]
    energy_score: dict[str, float]
    energy_score_error: dict[str, float]
    mixture_energy_score: dict[str, float]
    mixture_energy_error: dict[str, float]
    energy_difference: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Histories:
    """Transitions with a whole history: the variations before, in the mixture's coordinates, and themselves."""

    before: Float[np.ndarray, "n k p"]
    next: Transitions

    @staticmethod
    def of(data: Level2, levels: int, unit: Float[np.ndarray, " levels_of_both_sides"]) -> "Histories":
        """All of a record; `InvalidInput` where it has too few."""
        follows, all_ = paired(data, levels), transitions(data, levels)
        place = np.cumsum(follows) - 1  # of a row among the transitions
        rows = np.arange(WINDOW, len(follows))
        whole = np.convolve(follows, np.ones(WINDOW + 1, int), mode="valid")[: len(rows)] == WINDOW + 1
        last = place[rows[whole]]
        if len(last) < 10 * BATCH:
            found = f"{len(last)} steps with {WINDOW} before them in {data.source}"
            raise InvalidInput("data", found, f"at least {10 * BATCH}")
        coordinates = all_.coordinates(unit)
        before = coordinates[last[:, None] + np.arange(-WINDOW, 0)]
        return Histories(before, Transitions(*(column[last] for column in vars(all_).values())))

    def mirrored(self) -> "Histories":
        """Bid and ask exchanged."""
        both = self.before.shape[-1] - 2
        sides = swapped(self.before[..., :both])
        return Histories(
            np.concatenate([sides, self.before[..., -2:-1], -self.before[..., -1:]], axis=-1), self.next.mirrored()
        )

    def states(self) -> Float[np.ndarray, "n levels_and_spread"]:
        """ln V and the spread of the book before the step."""
        return np.column_stack([np.log(self.next.before), self.next.spread_before])

    def moved(self) -> Float[np.ndarray, "n p"]:
        """1 where a level, the spread or the mid changed, 0 where it stayed."""
        step = self.next
        return np.column_stack(
            [step.after != step.before, step.spread != step.spread_before, step.mid_change != 0]
        ).astype(float)

    def parts(self) -> dict[str, "Histories"]:
        """70%, 15% and 15% in the order of time."""
        cuts = [int(share * len(self.before)) for share in SPLIT]
        pieces = zip(np.split(self.before, cuts), self.next.parts().values(), strict=True)
        return {name: Histories(*piece) for name, piece in zip(PARTS, pieces, strict=True)}


def fit_neural_exchange(
    data: Level2,
    base: ExchangeModel,
    *,
    correlation: str = "shared",
    components: int = 5,
    variance_floor: float = 1e-3,
    epochs: int = 300,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda epoch, score: None,
) -> tuple[NeuralExchange, NeuralReport]:
    """Train a neural exchange on a record to which `base` was fitted; its mixture is where the network starts.

    `report` is told every epoch's validation score, nats. `InvalidInput` for a record too short or an unknown
    `correlation`.
    """
    if correlation not in CORRELATIONS:
        raise InvalidInput("correlation", correlation, f"one of {', '.join(CORRELATIONS)}")
    if epochs < 1:
        raise InvalidInput("epochs", epochs, "an integer ≥ 1")
    unit = np.asarray(base.mean_volume, float)
    parts = Histories.of(data, base.levels, unit).parts()
    train = _joined(parts["train"])
    noise = np.random.default_rng(seed)
    fit = fit_mixture(train.next.dequantised(unit, noise)[0], components, variance_floor, seed)
    fit = _symmetric(fit, base.levels)
    states = train.states()
    scaling = _Scaling(fit, states.mean(axis=0), np.maximum(states.std(axis=0), 1e-3), unit)
    atoms = np.clip(1.0 - train.moved().mean(axis=0), 1e-3, 1.0 - 1e-3)
    network = MixtureDensityNetwork.start(fit, atoms, variance_floor, correlation, jax.random.key(seed))
    network, curve, best = _trained(network, scaling, parts, epochs, noise, report)
    opened = parts["train"]
    chosen = np.linspace(0, len(opened.before) - 1, OPENINGS).astype(int)
    exchange = NeuralExchange.of(
        base,
        network=network,
        centre=_single(fit.centre),
        scale=_single(fit.scale),
        state_centre=_single(scaling.state_centre),
        state_scale=_single(scaling.state_scale),
        openings=Openings(
            volume=_single(opened.next.before[chosen]),
            spread=_single(opened.next.spread_before[chosen]),
            history=_single(scaling.histories(opened)[chosen]),
        ),
    )
    energies = {name: _energies(exchange, base, scaling, part, train, seed) for name, part in parts.items()}
    apart = {name: ours - theirs for name, (ours, theirs) in energies.items()}
    return exchange, NeuralReport(
        correlation=correlation,
        outputs=network.outputs,
        epochs=len(curve),
        best=best,
        curve=tuple(curve),
        log_likelihood={name: scaling.score(network, part, noise) for name, part in parts.items()},
        mixture_log_likelihood={
            name: dequantised_log_likelihood(fit, part.next, unit, noise) for name, part in parts.items()
        },
        energy_score={name: float(ours.mean()) for name, (ours, _) in energies.items()},
        energy_score_error={name: _error(ours) for name, (ours, _) in energies.items()},
        mixture_energy_score={name: float(theirs.mean()) for name, (_, theirs) in energies.items()},
        mixture_energy_error={name: _error(theirs) for name, (_, theirs) in energies.items()},
        energy_difference={name: (float(one.mean()), _error(one)) for name, one in apart.items()},
    )


@dataclass(frozen=True)
class _Scaling:
    """How samples are standardised, and what their noise is."""

    fit: MixtureFit
    state_centre: np.ndarray
    state_scale: np.ndarray
    unit: np.ndarray

    def histories(self, part: Histories) -> np.ndarray:
        """What the network sees."""
        return np.clip((part.before - self.fit.centre) / self.fit.scale, -OUTLIER, OUTLIER)

    def seen(self, part: Histories) -> tuple[Array, Array]:
        """Histories and states, standardised, in single precision."""
        return _single(self.histories(part)), _single((part.states() - self.state_centre) / self.state_scale)

    def targets(self, part: Histories, noise: np.random.Generator) -> tuple[tuple[Array, Array], np.ndarray]:
        """Dequantised targets, standardised, what moved, and the logarithm of their lattice cells' volumes."""
        samples, log_cells = part.next.dequantised(self.unit, noise)
        moved = part.moved()
        log_cell = np.sum(moved * (log_cells - np.log(self.fit.scale)), axis=1)
        return (_single((samples - self.fit.centre) / self.fit.scale), _single(moved)), log_cell

    def score(self, network: MixtureDensityNetwork, part: Histories, noise: np.random.Generator) -> float:
        """Mean lower bound of the log-probability of a transition, nats, over `NOISES` draws of the noise."""
        seen, total = self.seen(part), 0.0
        for _ in range(NOISES):
            target, log_cell = self.targets(part, noise)
            total += float(np.mean(np.asarray(_densities(network, *seen, *target), float) + log_cell))
        return total / NOISES


def _trained(
    network: MixtureDensityNetwork,
    scaling: _Scaling,
    parts: dict[str, Histories],
    epochs: int,
    noise: np.random.Generator,
    report: Callable[[int, float], None],
) -> tuple[MixtureDensityNetwork, list[float], int]:
    """The network of the best validation score, the scores of all epochs, and the best epoch."""
    train = _joined(parts["train"])
    seen, size = scaling.seen(train), len(train.before)
    optimiser = optax.adam(optax.piecewise_constant_schedule(RATES[0], {LATER * (size // BATCH): RATES[1] / RATES[0]}))
    state = optimiser.init(eqx.filter(network, eqx.is_inexact_array))
    best, kept, curve = -np.inf, network, []
    at = 0
    for epoch in range(epochs):
        target, _ = scaling.targets(train, noise)
        order = jnp.asarray(noise.permutation(size)[: size // BATCH * BATCH].reshape(-1, BATCH), jnp.int32)
        network, state = _epoch(network, state, optimiser, (*seen, *target), order)
        curve.append(scaling.score(network, parts["validation"], np.random.default_rng(epoch)))
        report(epoch, curve[-1])
        if curve[-1] > best:
            best, kept, at = curve[-1], network, epoch
        if epoch - at >= PATIENCE:
            break
    return kept, curve, at


@eqx.filter_jit
def _epoch(network, state, optimiser, data, order):
    """One pass over the minibatches in `order` [batches, size]."""
    learned, still = eqx.partition(network, eqx.is_inexact_array)

    def step(carry, rows):
        learned, state = carry

        def loss(one):
            whole = eqx.combine(one, still)
            return -jnp.mean(jax.vmap(whole.log_likelihood)(*(column[rows] for column in data)))

        slope = jax.grad(loss)(learned)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps as a weak integer
            update, state = optimiser.update(slope, state)
        return (eqx.apply_updates(learned, update), state), None

    (learned, state), _ = jax.lax.scan(step, (learned, state), order)
    return eqx.combine(learned, still), state


@eqx.filter_jit
def _densities(network, history, state, target, moved):
    return jax.vmap(network.log_likelihood)(history, state, target, moved)


def _energies(
    exchange: NeuralExchange, base: ExchangeModel, scaling: _Scaling, part: Histories, train: Histories, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Energy scores of the neural exchange and of the mixture's, transition by transition."""
    now, scale = part.next, train.next.scale()
    columns = [scaling.histories(part), now.before, now.after, now.spread_before, now.spread, now.mid_change]
    keys = jax.random.split(jax.random.key(seed), len(now))
    ours = [
        np.asarray(_energy(exchange, _single(scale), keys[at], *(_single(column[at]) for column in columns)))
        for at in np.array_split(np.arange(len(now)), max(len(now) // CHUNK, 1))
    ]
    return np.concatenate(ours).astype(float), energy_scores(base, now, scale, jax.random.key(seed), draws=DRAWS)


@eqx.filter_jit
def _energy(exchange, scale, keys, histories, before, after, spread_before, spread, mid_change):
    def one(key, history, now, later, width, next_width, moved):
        def simulate(key):
            volumes, drawn, move = exchange.base.apply_draw(exchange.draw(key, history, now, width), now, width)
            return jnp.concatenate([volumes - now, drawn[None], (2.0 * move - (drawn - width))[None]]) / scale

        simulated = jax.vmap(simulate)(jax.random.split(key, DRAWS))
        return energy_score(simulated, jnp.concatenate([later - now, next_width[None], moved[None]]) / scale)

    return jax.vmap(one)(keys, histories, before, after, spread_before, spread, mid_change)


def _joined(part: Histories) -> Histories:
    """A part and its mirror image."""
    other = part.mirrored()
    return Histories(np.concatenate([part.before, other.before]), part.next.joined(other.next))


def _symmetric(fit: MixtureFit, levels: int) -> MixtureFit:
    """Centre and scale the same on both sides, the mid's centre zero, to the last digit."""
    centre, scale = fit.centre.copy(), fit.scale.copy()
    for one in (centre, scale):
        one[: 2 * levels] = (one[: 2 * levels] + swapped(one[: 2 * levels])) / 2
    centre[-1] = 0.0
    return MixtureFit(centre, scale, fit.weights, fit.means, fit.cholesky, fit.converged)


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _single(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.float32)
