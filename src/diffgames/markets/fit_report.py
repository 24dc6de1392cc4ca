"""What a fit of the exchange agent tells its user: scores, recorded against simulated statistics, and cautions."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffgames.markets.ecn_samples import PARTS, Transitions
from diffgames.markets.level2 import Level2

Parts = dict[str, float]


@dataclass(frozen=True)
class FitReport:
    """How well an exchange agent fits; prints itself, and is plain data for JSON (`to_dict`).

    Attributes:
        source: where the data come from. rows: rows used. dropped: rows left out, by reason.
        transitions: number of transitions in the training, validation and test part.
        levels, mirrored, step: the settings; of a mixture components, variance_floor; of one with memory, its cells.
        log_likelihood: of the variation S_{n+1}, standardised, nats per sample; comparable at one variance floor only.
        snapshot_log_likelihood: the same of the snapshot S_0.
        dequantised_log_likelihood: lower bound of a transition's log-probability, nats; comparable (higher is better).
        energy_score: of the simulator, comparable (lower is better). energy_score_error: its standard error.
        energy_score_resampled: of recorded variations drawn anew in place of the mixture.
        decay: α in use. decay_slope: α as the recorded levels have it, also where that was not usable.
        adjacent: share of neighbouring recorded levels that are one tick apart.
        drift: mean mid change, ticks per step. drift_t: its t-statistic.
        unit_factor: v_i over the recorded mean volume, per level.
        recorded, simulated: statistics of the training part and of the fitted agent.
        notes: cautions, in words.
    """

    source: str
    rows: int
    dropped: dict[str, int]
    transitions: dict[str, int]
    levels: int
    mirrored: bool
    step: float
    energy_score: Parts
    energy_score_error: Parts
    decay: float
    decay_slope: float
    adjacent: float
    drift: float
    drift_t: float
    recorded: dict[str, Any]
    simulated: dict[str, Any]
    notes: tuple[str, ...]
    components: int | None = None
    variance_floor: float | None = None
    log_likelihood: Parts | None = None
    snapshot_log_likelihood: Parts | None = None
    dequantised_log_likelihood: Parts | None = None
    energy_score_resampled: Parts | None = None
    unit_factor: list[float] | None = None
    cells: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fit for JSON."""
        return {**asdict(self), "notes": list(self.notes)}

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
        lines = [
            f"Exchange agent fitted to {self.source}: {self.rows} rows" + (f" ({dropped} left out)" if dropped else ""),
            f"  m = {self.levels} levels, {self._law()},"
            f" {'bid and ask mirrored, ' if self.mirrored else ''}α = {self.decay:.3g} per tick",
            *self._scores(),
            *self._comparison(),
        ]
        return "\n".join([*lines, *(f"  ! {note}" for note in self.notes)])

    def _law(self) -> str:
        if self.cells is not None:
            return f"memory of {self.cells} cells"
        return f"{self.components} components, variance floor {self.variance_floor:g}"

    def _scores(self) -> list[str]:
        rows = {
            "transitions": self.transitions,
            "log-likelihood, variation (standardised nats)": self.log_likelihood,
            "log-likelihood, snapshot (standardised nats)": self.snapshot_log_likelihood,
            "dequantised log-likelihood (nats, higher is better)": self.dequantised_log_likelihood,
            "energy score (lower is better)": self.energy_score,
            "  its standard error": self.energy_score_error,
            "  of recorded variations drawn anew": self.energy_score_resampled,
        }
        head = f"  {'':52s}" + "".join(f"{part:>12s}" for part in PARTS)
        return [head] + [
            f"  {name:52s}" + "".join(f"{scores[part]:12d}" if name == "transitions" else f"{scores[part]:12.3f}"
                                      for part in PARTS)
            for name, scores in rows.items()
            if scores is not None
        ]  # fmt: skip

    def _comparison(self) -> list[str]:
        lines = [f"  {'':52s}{'recorded':>12s}{'simulated':>12s}"]
        single = {
            "spread of one tick, share of steps": lambda s: s["spread_share"][0],
            "mid unchanged, share of steps": lambda s: s["mid_unchanged"],
            "standard deviation of the mid change (ticks)": lambda s: s["mid_deviation"],
            "kurtosis of the mid change": lambda s: s["kurtosis"],
            "autocorrelation of the spread, one step": lambda s: s["spread_autocorrelation"],
            "autocorrelation of the best volume, 10 steps": lambda s: s["autocorrelation"][10],
            "  60 steps": lambda s: s["autocorrelation"][60],
            "level volume unchanged, share of steps": lambda s: _mean(s["unchanged_volume"]),
            "fall of a level per step, mean share μ⁻": lambda s: _mean(s["fall_rate"]),
            "volume at the best level (lots)": lambda s: _best(s["mean_volume"]),
            "  its standard deviation": lambda s: _best(s["sd_volume"]),
            "deviation of the volume at the last level (lots)": lambda s: (s["sd_volume"][-1] + _last_bid(s)) / 2,
            "volume over all levels (lots)": lambda s: sum(s["mean_volume"]),
        }
        for name, pick in single.items():
            lines.append(f"  {name:52s}{pick(self.recorded):12.3f}{pick(self.simulated):12.3f}")
        return [*lines, f"  drift of the recorded mid {self.drift:.4f} ticks per step, t = {self.drift_t:.1f}"]


def of_record(data: Level2, samples: Transitions) -> dict[str, Any]:
    """What a report says of the record alone."""
    drift, drift_t = samples.drift()
    return {
        "source": data.source,
        "rows": len(data),
        "dropped": data.dropped,
        "transitions": {name: len(part) for name, part in samples.parts().items()},
        "levels": samples.before.shape[1] // 2,
        "adjacent": data.adjacent(samples.before.shape[1] // 2),
        "drift": drift,
        "drift_t": drift_t,
    }


def cautions(data: Level2, samples: Transitions) -> list[str]:
    """What to be warned of in a record, whatever is fitted to it."""
    if data.seconds is None:
        return ["rows have no times: a step of the model is one event, not one second"]
    lost, steps = len(data) - 1 - len(samples), len(data) - 1
    text = f"{lost} of {steps} steps make no transition: rows between are missing, were left out, lie off the clock, "
    return [text + "or have a level without volume"] if lost > 0 else []


def by_part(scores: np.ndarray, samples: Transitions) -> tuple[Parts, Parts]:
    """Means over the training, validation and test part, and their standard errors."""
    parts = dict(zip(PARTS, np.split(scores, samples.cuts), strict=True))
    means = {name: float(part.mean()) for name, part in parts.items()}
    return means, {name: float(part.std(ddof=1) / np.sqrt(len(part))) for name, part in parts.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _best(values: list[float]) -> float:
    """Mean over the two sides of the best level."""
    return (values[0] + values[len(values) // 2]) / 2


def _last_bid(statistics: dict[str, Any]) -> float:
    return statistics["sd_volume"][len(statistics["sd_volume"]) // 2 - 1]
