"""Fitting the exchange agent to level-2 data (Vadori et al., Section 2.3.1)."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.level2 import Level2
from diffgames.markets.mixture import GaussianMixture

ORDER_SIZE_POINTS = 512


@dataclass(frozen=True)
class FitReport:
    """What was fitted and how well."""

    source: str
    samples: int
    log_likelihood: dict[str, float]


def fit_exchange(
    snapshots: Level2, *, levels: int = 5, components: int = 5, variance_floor: float = 1e-3, seed: int = 0
) -> tuple[ExchangeModel, FitReport]:
    """Fit the snapshot and variation mixtures, the decay and the order sizes."""
    volume = np.concatenate([snapshots.bid_size[:, :levels], snapshots.ask_size[:, :levels]], axis=1).astype(float)
    unit = volume.mean(axis=0)
    change = np.diff(volume, axis=0)
    delta = np.where(change >= 0, change / unit, change / np.maximum(volume[:-1], 1.0))
    spread, mid = snapshots.spread.astype(float), np.diff(snapshots.double_mid).astype(float)
    variation = np.concatenate([delta, spread[1:, None], mid[:, None]], axis=1)
    snapshot = np.concatenate([np.log(np.maximum(volume, 1.0)), spread[:, None]], axis=1)
    sizes = np.abs(change[change != 0])
    depth = np.arange(levels)
    mean = 0.5 * (unit[:levels] + unit[levels:])
    slope = np.polyfit(depth, np.log(mean), 1)[0]
    model = ExchangeModel(
        snapshot=_fit(snapshot, components, variance_floor, seed),
        variation=_fit(variation, components, variance_floor, seed),
        unit=jnp.asarray(unit, jnp.float32),
        decay=jnp.asarray(max(-slope, 0.05), jnp.float32),
        widest=jnp.asarray(spread.max(), jnp.float32),
        order_sizes=jnp.asarray(
            np.quantile(sizes, (np.arange(ORDER_SIZE_POINTS) + 0.5) / ORDER_SIZE_POINTS), jnp.float32
        ),
        mean_volume=jnp.asarray(unit, jnp.float32),
        volatility=jnp.asarray(mid.std() / 2, jnp.float32),
        tick=jnp.asarray(snapshots.tick, jnp.float32),
    )
    return model, FitReport(snapshots.source, len(variation), {})


def _fit(samples: np.ndarray, components: int, floor: float, seed: int) -> GaussianMixture:
    from sklearn.mixture import GaussianMixture as Estimator

    centre, scale = samples.mean(axis=0), np.maximum(samples.std(axis=0), 1e-9)
    estimator = Estimator(components, reg_covar=floor, random_state=seed).fit((samples - centre) / scale)
    cholesky = np.linalg.cholesky(estimator.covariances_)
    return GaussianMixture(
        weights=jnp.asarray(estimator.weights_, jnp.float32),
        means=jnp.asarray(centre + scale * estimator.means_, jnp.float32),
        cholesky=jnp.asarray(scale[:, None] * cholesky, jnp.float32),
    )
