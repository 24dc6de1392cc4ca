"""Fitting the exchange agent to level-2 snapshots (Vadori et al., Section 2.3.1).

Samples of S_0 and S_{n+1} (`ecn_samples`) are standardised, and a Gaussian mixture is fitted to each by scikit-learn on
the first 70% of the time (`mixture_fit`). The *variance floor* (scikit-learn's `reg_covar`, in standardised units) is
the least variance that a component has in any direction; without one the likelihood of data full of atoms, such as
unchanged volumes and one-tick spreads, has no bound.

Two things are then set so that the model does what the data say, whatever the mixture's shape:

* v_i, the lots of a unit rise: Proposition 2.3 gives the long-run mean volume μ⁺_i/μ⁻_i = v_i E[x_i⁺]/E[x_i⁻], which is
  known in closed form for a Gaussian mixture, and v_i makes it the recorded mean;
* with `mirrored` (the default), the training data are joined by their mirror image and draws are mirrored at random:
  the drift of the mid is zero and bid and ask have one law. The trend of an hour is seldom significant (the report
  gives its t-statistic), but agents that learn would find it.

α is the slope of the logarithm of the mean volume over the top m levels. Where volumes do not fall with depth it is
zero or negative, which is a book without end: it is then set to `DECAY_FLOOR`, with a note.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.ecn_samples import Transitions, order_sizes, sampled, swapped
from diffgames.markets.ecn_scores import (
    dequantised_log_likelihood,
    energy_scores,
    recorded_statistics,
    simulate_levels,
    simulated_statistics,
)
from diffgames.markets.fit_report import FitReport, by_part, cautions, of_record
from diffgames.markets.level2 import Level2
from diffgames.markets.mixture_fit import MixtureFit, fit_mixture

ORDER_SIZE_POINTS = 512
DECAY_FLOOR = 0.05
ADJACENT_SHARE = 0.95  # below it, levels are not one tick apart and the model's book is not the recorded one


class DataWarning(UserWarning):
    """The data do not satisfy an assumption of the model."""


@dataclass(frozen=True)
class _Setup:
    """The settings of a fit and the samples it uses."""

    levels: int
    components: int
    variance_floor: float
    mirrored: bool
    step: float
    seed: int
    data: Level2
    samples: Transitions

    def symmetric(self, values: np.ndarray) -> np.ndarray:
        """Per-level values, the same for bid and ask where the law is to be."""
        return (values + swapped(values)) / 2 if self.mirrored else values

    def training(self) -> Transitions:
        train = self.samples.parts()["train"]
        return train.joined(train.mirrored()) if self.mirrored else train

    def fit(self, coordinates: np.ndarray) -> MixtureFit:
        return fit_mixture(coordinates, self.components, self.variance_floor, self.seed)


def fit_exchange(
    snapshots: Level2,
    *,
    levels: int = 5,
    components: int = 5,
    variance_floor: float = 1e-3,
    mirrored: bool = True,
    step: float = 1.0,
    seed: int = 0,
) -> tuple[ExchangeModel, FitReport]:
    """Fit an exchange agent and report how well it fits.

    Args:
        snapshots: level-2 data, read or synthetic.
        levels: m, modelled levels per side.
        components: components of each Gaussian mixture.
        variance_floor: least variance of a component in any direction, in standardised units.
        mirrored: whether bid and ask are to have one law.
        step: seconds per step; data recorded more often are sampled at this interval.
        seed: of the mixtures' starting points and of the scores' simulations.

    Raises `InvalidInput` where the data have fewer levels or too few rows, or a setting makes no sense; warns with
    `DataWarning` where recorded levels are not one tick apart.
    """
    check_mixture(components, variance_floor)
    data, samples = sampled(snapshots, levels, step)
    setup = _Setup(levels, components, variance_floor, mirrored, step, seed, data, samples)
    mean_volume = setup.symmetric(samples.parts()["train"].before.mean(axis=0))
    variation = setup.fit(setup.training().coordinates(mean_volume))
    snapshot = setup.fit(setup.training().snapshot_coordinates())
    unit = mean_volume * _unit_factor(variation, setup)
    slope = decay_slope(mean_volume)
    model = ExchangeModel(
        snapshot=snapshot.mixture(),
        variation=variation.mixture(),
        unit=jnp.asarray(unit, jnp.float32),
        mirror=jnp.asarray(0.5 if mirrored else 0.0, jnp.float32),
        decay=jnp.asarray(max(slope, DECAY_FLOOR), jnp.float32),
        widest=jnp.asarray(samples.spread.max(), jnp.float32),
        usual=jnp.asarray(np.median(samples.spread), jnp.float32),
        order_sizes=jnp.asarray(order_sizes(snapshots, ORDER_SIZE_POINTS), jnp.float32),
        mean_volume=jnp.asarray(mean_volume, jnp.float32),
        volatility=jnp.asarray(samples.mid_change.std() / 2, jnp.float32),
        tick=jnp.asarray(snapshots.tick, jnp.float32),
    )
    notes = _notes(setup, slope, {"variation": variation, "snapshot": snapshot})
    return model, _report(setup, _Fits(model, variation, snapshot, mean_volume, slope, notes))


def check_mixture(components: int, variance_floor: float) -> None:
    """Raise `InvalidInput` for settings that no mixture can have."""
    if components < 1:
        raise InvalidInput("components", components, "an integer ≥ 1")
    if not 0 < variance_floor < 1:
        raise InvalidInput("variance_floor", variance_floor, "a number between 0 and 1 (standardised variance)")


def _unit_factor(variation: MixtureFit, setup: _Setup) -> np.ndarray:
    """v_i over the mean volume, such that the long-run mean volume is the mean volume: E[x⁻]/E[x⁺]."""
    both = 2 * setup.levels
    rise = setup.symmetric(variation.mean_above(0.0)[:both])
    fall = setup.symmetric((variation.mean_above(0.0, -1.0) - variation.mean_above(1.0, -1.0))[:both])
    return fall / rise


def decay_slope(mean_volume: np.ndarray) -> float:
    """Slope −d ln(mean volume)/d level over the recorded top levels, both sides together."""
    levels = len(mean_volume) // 2
    if levels == 1:
        return 0.0
    logs = np.log(mean_volume).reshape(2, levels).mean(axis=0)
    return float(-np.polyfit(np.arange(levels), logs, 1)[0])


def _notes(setup: _Setup, slope: float, fits: dict[str, MixtureFit]) -> tuple[str, ...]:
    """Cautions in words; levels that are not adjacent also draw a warning."""
    notes = []
    if (adjacent := setup.data.adjacent(setup.levels)) < ADJACENT_SHARE:
        low, high = np.percentile(setup.data.spread, [25, 75])
        notes.append(
            f"only {adjacent:.0%} of neighbouring levels are one tick apart (spread mostly {low:.0f} to {high:.0f} "
            f"ticks): the model's assumption of adjacent levels does not hold for {setup.data.source}"
        )
        warnings.warn(notes[-1], DataWarning, stacklevel=3)
    if slope < DECAY_FLOOR:
        notes.append(f"volumes do not fall with depth (log slope {-slope:+.3f} per level): α is set to {DECAY_FLOOR}")
    for name, fit in fits.items():
        if not fit.converged:
            notes.append(f"the {name} mixture did not settle: fewer components or a larger variance floor may help")
    return (*notes, *cautions(setup.data, setup.samples))


@dataclass(frozen=True)
class _Fits:
    """The fitted model, its mixtures and what calibrated it."""

    model: ExchangeModel
    variation: MixtureFit
    snapshot: MixtureFit
    mean_volume: np.ndarray
    decay_slope: float
    notes: tuple[str, ...]


def _report(setup: _Setup, fits: _Fits) -> FitReport:
    samples, parts = setup.samples, setup.samples.parts()
    train = parts["train"]
    noise = np.random.default_rng(setup.seed)
    dequantised = setup.fit(setup.training().dequantised(fits.mean_volume, noise)[0])
    energy, error, resampled = _energy_scores(setup, fits)
    return FitReport(
        **of_record(setup.data, samples),
        components=setup.components,
        variance_floor=setup.variance_floor,
        mirrored=setup.mirrored,
        step=setup.step,
        log_likelihood=_mean_over(
            parts, lambda part: fits.variation.log_likelihood(part.coordinates(fits.mean_volume)).mean()
        ),
        snapshot_log_likelihood=_mean_over(
            parts, lambda part: fits.snapshot.log_likelihood(part.snapshot_coordinates()).mean()
        ),
        dequantised_log_likelihood=_mean_over(
            parts, lambda part: dequantised_log_likelihood(dequantised, part, fits.mean_volume, noise)
        ),
        energy_score=energy,
        energy_score_error=error,
        energy_score_resampled=resampled,
        decay=float(fits.model.decay),
        decay_slope=fits.decay_slope,
        unit_factor=(np.asarray(fits.model.unit, float) / fits.mean_volume).tolist(),
        recorded=recorded_statistics(train),
        simulated=_simulated(setup, fits.model),
        notes=fits.notes,
    )


def _mean_over(parts: dict[str, Transitions], score: Callable[[Transitions], float]) -> dict[str, float]:
    return {name: float(score(part)) for name, part in parts.items()}


def _energy_scores(setup: _Setup, fits: _Fits) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Per part: the simulator's energy score, its standard error, and that of recorded variations drawn anew."""
    training, key = setup.training(), jax.random.key(setup.seed)
    scale = training.scale()
    recorded = training.coordinates(fits.mean_volume)
    as_recorded = eqx.tree_at(lambda model: model.unit, fits.model, jnp.asarray(fits.mean_volume, jnp.float32))
    model = by_part(energy_scores(fits.model, setup.samples, scale, key), setup.samples)
    return *model, by_part(energy_scores(as_recorded, setup.samples, scale, key, recorded), setup.samples)[0]


def _simulated(setup: _Setup, model: ExchangeModel) -> dict[str, object]:
    """Statistics of the fitted agent alone, from the first recorded levels on, a hundred steps of settling left out."""
    start = jnp.asarray(setup.samples.before[0], jnp.float32)
    spread = jnp.asarray(setup.samples.spread_before[0], jnp.float32)
    paths = simulate_levels(model, start, spread, jax.random.key(setup.seed), paths=16, steps=1100)
    return simulated_statistics(paths, settling=100)
