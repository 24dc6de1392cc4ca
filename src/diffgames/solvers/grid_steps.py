"""Where a sweep over a grid steps: stable at every step, and seeing what the coefficients do in time.

A step [t − dt, t] uses the coefficients of its middle, and is monotone if dt (r + ρ) ≤ 1 with r the largest rate of
leaving a point *then*. Rates are therefore evaluated at every step, not at a few times; where they are too large the
steps become shorter. That bounds the values, but a pulse that begins and ends between two middles would not be seen:

- coefficients are surveyed at scattered points and `SAMPLES` times, and steps are halved until the integral in time of
  every one of them is right to `RESOLVED` of its size;
- steps end at declared `breaks` (a session's end, an announcement, the ends of a pulse), between each two of which the
  survey takes at least `LEAST_SAMPLES` times.

A pulse shorter than a sample that nobody declares remains unseen.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.solvers.grid_game import GridGame, sample_points
from diffgames.solvers.grid_sweep import Sweep

COURANT = 0.9
"""Share of the stability bound that automatically chosen explicit steps use."""
SAMPLES, LEAST_SAMPLES, PLACES = 2048, 64, 32
RESOLVED = 0.005
UNRESOLVED = 0.25  # of a coefficient's integral: so much must not be missed by steps that the user chose
BATCH = 64


class Timing(NamedTuple):
    """Times of the steps, from the horizon down, a row per kept interval; largest dt (r + ρ), least monotone slack."""

    mesh: Float[Array, "kept times"]
    stability: Float[Array, ""]
    slack: Float[Array, ""]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.mesh.shape[0] * (self.mesh.shape[1] - 1)


def even_mesh(horizon: Array, steps: int, kept: int) -> Float[Array, "kept times"]:
    """Equal steps."""
    per = steps // kept
    rows = jnp.arange(kept, dtype=jnp.int32)[:, None] * per + jnp.arange(per + 1, dtype=jnp.int32)[None]
    return jnp.linspace(1.0, 0.0, steps + 1, dtype=horizon.dtype)[rows] * horizon


def traced_timing(sweep: Sweep, steps: int, kept: int, more: float = 0.0) -> Timing:
    """Equal steps, where parameters of the game are traced and nothing can be decided by their values."""
    mesh = even_mesh(jnp.asarray(sweep.view.game.horizon, sweep.dtype), steps, kept)
    middle, lengths = _steps_of(mesh)
    times = middle[:1] if sweep.autonomous else middle
    rate, slack = jax.lax.map(sweep.fastest_at, times)
    stability = jnp.max(lengths * (rate + more + jnp.asarray(sweep.view.game.discount, sweep.dtype)))
    return Timing(mesh, stability, jnp.min(slack))


def timing(
    sweep: Sweep,
    kept: int,
    steps: int | None,
    breaks: tuple[float, ...] = (),
    least: int | None = None,
    more: float = 0.0,
    remedy: str = "",
) -> Timing:
    """Steps of a sweep: `steps` of them, or as many as needed.

    `least` is how many implicit steps there are at least (None: explicit steps, which have to be stable); `more` adds
    to every rate of leaving a point, `remedy` is what else a refusal proposes. Raises `InvalidInput` for breaks outside
    the horizon and for steps that are unstable, or pass over what coefficients do.
    """
    horizon = float(np.asarray(sweep.view.game.horizon))
    breaks = tuple(sorted({float(b) for b in breaks}))
    if not all(0 < b < horizon for b in breaks):
        raise InvalidInput("breaks", breaks, f"times inside the horizon, between 0 and {horizon:g}")
    more = more + float(np.asarray(sweep.view.game.discount))
    ends = np.array([0.0, *breaks, horizon])
    survey = None if sweep.autonomous else _Survey(sweep, ends)
    looked = np.zeros(1) if survey is None else survey.busiest()
    rates = _rates_at(sweep, looked)[0] + more
    density = np.full(ends.size - 1, (least or 1) / horizon)  # steps per unit of time between breaks
    part = np.clip(np.searchsorted(ends, looked, side="right") - 1, 0, density.size - 1)
    if least is None:
        for index in range(density.size):
            here = rates[part == index] if survey is not None else rates
            density[index] = max(density[index], here.max(initial=0.0) / COURANT)
    for _ in range(40):
        times = _mesh(ends, density, kept, steps)
        middle, lengths = (np.asarray(a) for a in _steps_of(times))
        found, slack = _rates_at(sweep, middle if survey is not None else np.zeros(1))
        share = lengths * (found + more)
        missed = 0.0 if survey is None else survey.missed(times)
        stable = least is not None or bool(share.max() <= 1 + 1e-9)
        if stable and missed <= (RESOLVED if steps is None else UNRESOLVED):
            mesh = jnp.asarray(times, sweep.dtype)
            return Timing(mesh, jnp.asarray(share.max(), sweep.dtype), jnp.asarray(slack.min(), sweep.dtype))
        if steps is not None:
            _refuse(steps, kept, float(share.max()), stable, remedy)
        if not stable:
            wrong = np.clip(np.searchsorted(ends, middle, side="right") - 1, 0, density.size - 1)
            for index in range(density.size):
                here = (found if found.size == 1 else found[wrong == index]) + more
                density[index] = max(density[index], here.max(initial=0.0) / COURANT)
        else:
            density = 2 * density
    raise RunFailed("no step of time is short enough for this grid", "look at the rates of drift, noise and jumps")


def _refuse(steps: int, kept: int, share: float, stable: bool, remedy: str) -> None:
    if not stable:
        needed = math.ceil(steps * share * (1 - 1e-9)) if math.isfinite(share) else share
        words = f"a multiple of keep = {kept}, at least {needed} explicit steps on this grid (stability){remedy}"
        raise InvalidInput("steps", steps, words)
    words = "more steps, or breaks: what coefficients do within a step is passed over"
    raise InvalidInput("steps", steps, words)


def _steps_of(mesh):
    """Middles and lengths of all steps, in order."""
    return (0.5 * (mesh[:, 1:] + mesh[:, :-1])).reshape(-1), (mesh[:, :-1] - mesh[:, 1:]).reshape(-1)


def _mesh(ends: np.ndarray, density: np.ndarray, kept: int, steps: int | None) -> np.ndarray:
    """Times [kept, per + 1], decreasing: as many steps in every kept interval, which end at its breaks."""
    horizon, rows = ends[-1], []
    for j in range(kept):
        low, high = horizon * j / kept, horizon * (j + 1) / kept
        inside = ends[(ends > low + 1e-12 * horizon) & (ends < high - 1e-12 * horizon)]
        edges = np.concatenate([[low], inside, [high]])
        middle = 0.5 * (edges[1:] + edges[:-1])
        wanted = np.diff(edges) * density[np.searchsorted(ends, middle, side="right") - 1]
        rows.append((edges, np.maximum(np.ceil(wanted * (1 - 1e-12)), 1).astype(int)))
    per = max(counts.sum() for _, counts in rows) if steps is None else steps // kept
    times = []
    for edges, counts in rows:
        if counts.size > per:
            raise InvalidInput("steps", steps, f"at least {counts.size * kept}, one between each two breaks")
        if counts.sum() > per:  # the user's number: shared out by what each part wants
            share = np.maximum(np.floor(counts * per / counts.sum()), 1).astype(int)
            while share.sum() > per:
                share[np.argmax(share)] -= 1
            counts = share
        counts = counts.copy()
        while counts.sum() < per:
            counts[np.argmax(np.diff(edges) / counts)] += 1 if counts.size > 1 else per - counts.sum()
        parts = [np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)]
        times.append(np.concatenate([*parts, edges[-1:]])[::-1])
    return np.stack(times[::-1])


def _rates_at(sweep: Sweep, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest rate of leaving any point at each time, and the least slack of monotonicity, in batches of one shape."""
    rates, slack = [], []
    for first in range(0, times.size, BATCH):
        batch = times[first : first + BATCH]
        width = 1 if times.size == 1 else BATCH
        padded = np.concatenate([batch, np.full(width - batch.size, batch[-1])])
        found = _fastest(sweep, jnp.asarray(padded, sweep.dtype))
        rates.append(np.asarray(found[0], float)[: batch.size])
        slack.append(np.asarray(found[1], float)[: batch.size])
    return np.concatenate(rates), np.concatenate(slack)


@eqx.filter_jit
def _fastest(sweep: Sweep, times: Array) -> tuple[Array, Array]:
    return jax.lax.map(sweep.fastest_at, times)


class _Survey:
    """All coefficients at scattered points and controls, and many times between each two breaks."""

    def __init__(self, sweep: Sweep, ends: np.ndarray):
        horizon, times, weights = ends[-1], [], []
        for low, high in pairwise(ends):
            count = max(LEAST_SAMPLES, math.ceil(SAMPLES * (high - low) / horizon))
            times.append(low + (high - low) * (np.arange(count) + 0.5) / count)
            weights.append(np.full(count, (high - low) / count))
        self.time, self.weight = np.concatenate(times), np.concatenate(weights)
        count = self.time.size
        width = -(-count // BATCH) * BATCH
        padded = np.concatenate([self.time, np.full(width - count, self.time[-1])]).reshape(-1, BATCH)
        found = [_coefficients(sweep.view, jnp.asarray(part, sweep.dtype)) for part in padded]
        values, least = (np.concatenate([np.asarray(pair[k], float) for pair in found])[:count] for k in (0, 1))
        if not least.min() >= 0:  # NaN is not
            words = "intensities ≥ 0 at every time, state and control"
            raise InvalidInput("jump rate, switching rate", float(least.min()), words)
        if not np.all(np.isfinite(values)):
            bad = self.time[~np.isfinite(values).all(axis=1)][0]
            raise InvalidInput("drift, diffusion, running_cost", f"not finite at time {bad:.6g}", "finite functions")
        size = self.weight @ np.abs(values)
        self.value = values[:, size > 0] / size[size > 0]
        self.sum = np.concatenate([np.zeros((1, self.value.shape[1])), np.cumsum(self.weight[:, None] * self.value, 0)])
        self.edge = np.concatenate([[0.0], np.cumsum(self.weight)])

    def busiest(self) -> np.ndarray:
        """In each of some 32 equal shares of the samples, the time at which coefficients are largest."""
        size = np.abs(self.value).max(axis=1, initial=0.0)
        parts = np.array_split(np.arange(size.size), max(PLACES, size.size // LEAST_SAMPLES))
        return self.time[[part[size[part].argmax()] for part in parts]]

    def missed(self, mesh: np.ndarray) -> float:
        """Largest error of a coefficient's integral up to any time by the steps' middles, relative to its size."""
        if not self.value.size:
            return 0.0
        middle, lengths = (part[::-1] for part in _steps_of(mesh))
        nearest = np.clip(np.searchsorted(self.edge, middle, side="right") - 1, 0, self.time.size - 1)
        stepped = np.cumsum(lengths[:, None] * self.value[nearest], axis=0)
        until = np.clip(np.cumsum(lengths), 0.0, self.edge[-1])
        slot = np.clip(np.searchsorted(self.edge, until, side="right") - 1, 0, self.time.size - 1)
        exact = self.sum[slot] + (until - self.edge[slot])[:, None] * self.value[slot]
        return float(np.abs(stepped - exact).max())


@eqx.filter_jit
def _coefficients(view: GridGame, times: Array) -> tuple[Array, Array]:
    """All coefficients at scattered points at each time, in one row, and the least intensity."""
    _, x, u, w = sample_points(view, PLACES)
    labels = jnp.arange(view.regimes, dtype=jnp.int32)

    def at(t: Array) -> tuple[Array, Array]:
        points = jax.vmap(lambda x, u, w, i: view.coefficients(t, x, i, u, w), in_axes=(-1, -1, -1, None))
        local = jax.vmap(points, in_axes=(None, None, None, 0))(x, u, w, labels)
        least = [jnp.min(rates, initial=jnp.inf) for rates in (local.jump_rates, local.switch_rates)]
        return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(local)]), jnp.minimum(*least)

    return jax.vmap(at)(times)
