"""Certificates: by how much players could gain by deviating, and how anybody knows.

For an agent with value V at the profile and value V' of the best deviation found, the *gain* is V' − V and the *gap* is
max(gain, 0), which is zero at an equilibrium. Values are rewards, maximised. Where values are means over episodes that
the deviation and the profile share (common random numbers), with paired differences d_1, …, d_n of sample mean d̄ and
sample standard deviation s,

    standard error = s / √n,
    interval (two-sided, 95%)  = d̄ ± t₀.₉₇₅(n − 1) s / √n,
    lower, upper (one-sided, 95% each) = d̄ ∓ t₀.₉₅(n − 1) s / √n.

A gap is *exact* where the best response is known (a linear-quadratic response, a grid, a table) and a *lower bound*
where the deviator was trained: that it found nothing is evidence, not proof. Over several entries the 95% is per entry;
`significant` asks for a lower bound above zero at the level shared between the entries (Bonferroni).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

LOWER_BOUND = "lower bound: trained deviator"
LEVEL = 0.95
UNDECIDED = 1e-8  # of a value, or of one: what the tolerances of the integrators leave undecided in an exact gap


@dataclass(frozen=True)
class CurvePoint:
    """A deviator on the way: updates done, mean gain on validation episodes and its standard error."""

    updates: int
    gain: float
    standard_error: float


@dataclass(frozen=True)
class Budget:
    """What the search for a deviation was allowed to spend."""

    updates: int
    episodes: int
    agent_steps: int


@dataclass(frozen=True)
class Gap:
    """One entry of a certificate: an agent (or a player), its value, and what its best deviation found gains."""

    label: str
    value: float
    gain: float
    standard_error: float
    interval: tuple[float, float]
    lower: float
    upper: float
    degrees_of_freedom: int | None = None
    budget: Budget | None = None
    selected: str = ""
    curves: Mapping[str, Sequence[CurvePoint]] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """max(gain, 0)."""
        return max(self.gain, 0.0)

    @property
    def deviation_value(self) -> float:
        """Value of the deviation."""
        return self.value + self.gain

    def lower_bound(self, level: float) -> float:
        """One-sided lower confidence bound of the gain."""
        if self.standard_error == 0.0 or self.degrees_of_freedom is None:
            return self.lower  # nothing random: what the resolution of the computation leaves, at any level
        return self.gain - _quantile(level, self.degrees_of_freedom) * self.standard_error


def gap_of_pairs(
    label: str,
    profile_values: np.ndarray,
    deviation_values: np.ndarray,
    *,
    budget: Budget | None = None,
    selected: str = "",
    curves: Mapping[str, Sequence[CurvePoint]] | None = None,
) -> Gap:
    """The entry of an agent whose values at the profile and at the deviation come from the same n ≥ 2 episodes."""
    values, deviated = np.asarray(profile_values, float), np.asarray(deviation_values, float)
    difference = deviated - values
    n = difference.size
    gain, error = float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(n))
    two, one = _quantile(0.5 + LEVEL / 2, n - 1) * error, _quantile(LEVEL, n - 1) * error
    return Gap(
        label=label,
        value=float(values.mean()),
        gain=gain,
        standard_error=error,
        interval=(gain - two, gain + two),
        lower=gain - one,
        upper=gain + one,
        degrees_of_freedom=n - 1,
        budget=budget,
        selected=selected,
        curves=curves or {},
    )


@dataclass(frozen=True)
class Certificate:
    """Gap per player with its confidence interval, and how it was obtained."""

    entries: tuple[Gap, ...]
    how: str

    @property
    def gap(self) -> float:
        """The largest gap: the profile is an ε-equilibrium for no smaller ε than this, as far as was found."""
        return max(entry.gap for entry in self.entries)

    @property
    def significant(self) -> tuple[str, ...]:
        """Labels of the entries whose gain is above zero, and not by rounding, at 95% over all entries together."""
        level = 1.0 - (1.0 - LEVEL) / len(self.entries)
        return tuple(e.label for e in self.entries if e.lower_bound(level) > UNDECIDED * max(1.0, abs(e.value)))

    def __getitem__(self, label: str) -> Gap:
        """The entry with that label; a `KeyError` lists the labels there are."""
        for entry in self.entries:
            if entry.label == label:
                return entry
        raise KeyError(f"no entry {label!r}; there are {', '.join(entry.label for entry in self.entries)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and labels (JSON)."""
        entries = {}
        for entry in self.entries:
            plain = asdict(entry)
            plain.pop("label")
            plain["interval"] = list(entry.interval)
            plain["curves"] = {
                name: {
                    "updates": [point.updates for point in curve],
                    "gain": [point.gain for point in curve],
                    "standard_error": [point.standard_error for point in curve],
                }
                for name, curve in entry.curves.items()
            }
            entries[entry.label] = {"gap": entry.gap, "deviation_value": entry.deviation_value, **plain}
        return {"how": self.how, "gap": self.gap, "significant": list(self.significant), "entries": entries}

    def __repr__(self) -> str:
        width = max(len(entry.label) for entry in self.entries)
        lines = [f"Certificate ({self.how}): largest gap {self.gap:.4g}"]
        for entry in self.entries:
            low, high = entry.interval
            text = f"  {entry.label:<{width}}  value {entry.value:.4g}  gain {entry.gain:.4g} [{low:.4g}, {high:.4g}]"
            if entry.budget is not None:
                text += f"  after {entry.budget.updates} updates, {entry.budget.episodes} episodes"
            lines.append(text + (f"  ({entry.selected})" if entry.selected else ""))
        found = ", ".join(self.significant)
        lines.append(f"  significantly above zero: {found or 'none'}")
        return "\n".join(lines)


def _quantile(level: float, degrees_of_freedom: int) -> float:
    return float(stdtrit(degrees_of_freedom, level))
