"""Fitting the exchange agent to level-2 snapshots (Vadori et al., Section 2.3.1).

From consecutive snapshots the samples of S_0 and S_{n+1} (equation 7) are formed and standardised, and a Gaussian
mixture is fitted to each by scikit-learn on the first 70% of the time; the next 15% and the last 15% are scored.

Level-2 data are full of atoms (unchanged volumes, one-tick spreads), where a density has no bound: the log-likelihood
depends on the *variance floor*, the smallest variance of a standardised component, which is therefore reported with it.
Two scores do not have this defect and are reported beside it:

* energy score E‖X − y‖ − ½E‖X − X'‖, proper, lower is better, from simulated draws X, X' and the observed y;
* dequantised log-likelihood: of the samples with uniform noise of one quantum added (one lot, one tick, half a tick of
  mid) under a mixture fitted to such samples, a lower bound of the log-probability of the discrete data.
"""

from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

from diffgames.errors import InvalidInput
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.level2 import Level2
from diffgames.markets.mixture import GaussianMixture

SPLIT = (0.70, 0.85)
ORDER_SIZES = 512
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class FitReport:
    """Scores per part (train, validation, test), per sample, in nats (standardised units) or standardised distance."""

    samples: dict[str, int]
    variance_floor: float
    components: int
    log_likelihood: dict[str, float]
    snapshot_log_likelihood: dict[str, float]
    energy_score: dict[str, float]
    dequantised_log_likelihood: dict[str, float]
    decay: float
    spread_one_tick: float
    mid_unchanged: float
    zero_variations: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [f"{'':28s}" + "".join(f"{part:>12s}" for part in PARTS)]
        for label, scores in (
            ("log-likelihood, variation", self.log_likelihood),
            ("log-likelihood, snapshot", self.snapshot_log_likelihood),
            ("energy score", self.energy_score),
            ("dequantised log-likelihood", self.dequantised_log_likelihood),
        ):
            rows.append(f"{label:28s}" + "".join(f"{scores[part]:12.3f}" for part in PARTS))
        rows.append(f"{self.components} components, variance floor {self.variance_floor:g}, decay α = {self.decay:.3f} per level")
        return "\n".join([*rows, *self.notes])


def fit_exchange(
    data: Level2, *, levels: int = 5, components: int = 5, variance_floor: float = 1e-3, seed: int = 0
) -> tuple[ExchangeModel, FitReport]:
    """Fit both mixtures, α and the order-size distribution.

    `variance_floor` is the smallest variance along any direction of a component, in standardised units (scikit-learn's
    `reg_covar`). Raises `InvalidInput` when the data have fewer levels or too few rows for the components.
    """
    if not 1 <= levels <= data.ask_size.shape[1]:
        raise InvalidInput("levels", levels, f"an integer from 1 to the data's {data.ask_size.shape[1]} levels")
    if components < 1 or variance_floor <= 0:
        raise InvalidInput("components", components, "at least 1, with a variance floor > 0")
    volume = np.concatenate([data.bid_size[:, :levels], data.ask_size[:, :levels]], axis=1)
    variation = variation_samples(data, volume, None)
    if len(variation) < 20 * components:
        raise InvalidInput("data", f"{len(variation)} variations", f"at least {20 * components} for {components} components")
    snapshot = np.concatenate([np.log(np.maximum(volume, 1.0)), data.spread[:, None]], axis=1)
    rng = np.random.default_rng(seed)
    dequantised = variation_samples(data, volume, rng)
    fits = {
        name: _fit(samples, components, variance_floor, seed)
        for name, samples in (("variation", variation), ("snapshot", snapshot), ("dequantised", dequantised))
    }
    change = np.abs(np.diff(volume, axis=0))[np.diff(data.segment) == 0]
    decay = _decay(volume, levels)
    report = FitReport(
        samples={part: len(rows) for part, rows in zip(PARTS, _parts(variation), strict=True)},
        variance_floor=variance_floor,
        components=components,
        log_likelihood=_scores(fits["variation"], variation),
        snapshot_log_likelihood=_scores(fits["snapshot"], snapshot),
        energy_score=_energy(fits["variation"], variation, seed),
        dequantised_log_likelihood=_scores(fits["dequantised"], dequantised),
        decay=decay,
        spread_one_tick=float(np.mean(np.round(data.spread) == 1)),
        mid_unchanged=float(np.mean(variation[:, -1] == 0)),
        zero_variations=float(np.mean(variation[:, : 2 * levels] == 0)),
        notes=data.notes,
    )
    return (
        ExchangeModel(
            snapshot=_as_pytree(fits["snapshot"]),
            variation=_as_pytree(fits["variation"]),
            decay=jnp.asarray(decay, jnp.float32),
            order_sizes=jnp.asarray(_order_sizes(change), jnp.float32),
            tick=jnp.asarray(data.tick, jnp.float32),
        ),
        report,
    )


def variation_samples(data: Level2, volume: np.ndarray, noise: np.random.Generator | None) -> np.ndarray:
    """Samples of S_{n+1}, [samples, 2m + 2]: δ relative where a volume fell, absolute where it grew.

    With `noise`, integers are spread over their quantum first: one lot of a change, one tick of spread, half a tick
    of mid change.
    """
    within = np.diff(data.segment) == 0
    before, change = volume[:-1][within], np.diff(volume, axis=0)[within]
    spread, moved = data.spread[1:][within], np.diff(data.mid)[within]
    if noise is not None:
        change = change + noise.uniform(-0.5, 0.5, change.shape)
        spread = spread + noise.uniform(-0.5, 0.5, spread.shape)
        moved = moved + noise.uniform(-0.25, 0.25, moved.shape)
    delta = np.where(change < 0, np.maximum(change / np.maximum(before, 1.0), -1.0), change)
    return np.concatenate([delta, spread[:, None], moved[:, None]], axis=1)


@dataclass(frozen=True)
class _Fit:
    mixture: SklearnMixture
    mean: np.ndarray
    scale: np.ndarray


def _fit(samples: np.ndarray, components: int, floor: float, seed: int) -> _Fit:
    train = _parts(samples)[0]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    mixture = SklearnMixture(components, reg_covar=floor, random_state=seed, max_iter=300, tol=1e-3)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below, in our own words
        mixture.fit((train - mean) / scale)
    return _Fit(mixture, mean, scale)


def _parts(samples: np.ndarray) -> list[np.ndarray]:
    cuts = [int(share * len(samples)) for share in SPLIT]
    return np.split(samples, cuts)


def _scores(fit: _Fit, samples: np.ndarray) -> dict[str, float]:
    parts = zip(PARTS, _parts(samples), strict=True)
    return {part: float(fit.mixture.score((rows - fit.mean) / fit.scale)) for part, rows in parts}


def _energy(fit: _Fit, samples: np.ndarray, seed: int, draws: int = 2000) -> dict[str, float]:
    """Energy score per part from `draws` simulated pairs, in standardised units."""
    fit.mixture.random_state = seed
    simulated = fit.mixture.sample(2 * draws)[0]
    np.random.default_rng(seed).shuffle(simulated)
    half = 0.5 * np.mean(np.linalg.norm(simulated[:draws] - simulated[draws:], axis=1))
    scores = {}
    for part, rows in zip(PARTS, _parts(samples), strict=True):
        standard = (rows - fit.mean) / fit.scale
        distance = [np.mean(np.linalg.norm(simulated - y, axis=1)) for y in standard]
        scores[part] = float(np.mean(distance) - half)
    return scores


def _decay(volume: np.ndarray, levels: int) -> float:
    """α from the slope of ln(mean volume) against the level, both sides together; never negative."""
    if levels == 1:
        return 0.0
    mean = volume.mean(axis=0)
    logs = (np.log(mean[:levels]) + np.log(mean[levels:])) / 2
    return float(max(-np.polyfit(np.arange(levels), logs, 1)[0], 1e-2))


def _order_sizes(change: np.ndarray) -> np.ndarray:
    """Quantiles of the non-zero volume changes over the smallest interval: what single orders look like."""
    sizes = change[change > 0]
    return np.maximum(np.round(np.quantile(sizes, (np.arange(ORDER_SIZES) + 0.5) / ORDER_SIZES)), 1.0)


def _as_pytree(fit: _Fit) -> GaussianMixture:
    factor = fit.scale[None, :, None] * np.linalg.cholesky(fit.mixture.covariances_)
    return GaussianMixture(
        log_weight=jnp.asarray(np.log(np.maximum(fit.mixture.weights_, 1e-30)), jnp.float32),
        mean=jnp.asarray(fit.mean + fit.scale * fit.mixture.means_, jnp.float32),
        factor=jnp.asarray(factor, jnp.float32),
    )
