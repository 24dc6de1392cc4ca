"""Certificates: by how much players could gain by deviating, and how anybody knows.

For an agent with value V at the profile and value V' of the best deviation found, the *gain* is V' − V and the *gap* is
max(gain, 0), which is zero at an equilibrium. Values are rewards, maximised. Where values are means over episodes that
the deviation and the profile share (common random numbers), with paired differences d_1, …, d_n of sample mean d̄ and
sample standard deviation s,

    standard error = s / √n,
    interval (two-sided, 95%)  = d̄ ± t₀.₉₇₅(n − 1) s / √n,
    lower, upper (one-sided, 95% each) = d̄ ∓ t₀.₉₅(n − 1) s / √n.

A gain without bound is an entry as well: ∞, with the reason in `unbounded`. Any other number is finite, and an interval
holds its gain: a certificate of which that is not so is no certificate, and `RunFailed` names the entry. Where nobody's
deviation is looked for there are no entries, and the words of `unseen` say why; `checks` hold the rest to account.

A gap is *exact* where the best response is known (a linear-quadratic response, a grid, a table) and a *lower bound*
where the deviator was trained: that it found nothing is evidence, not proof. Over several entries the 95% is per entry;
`significant` asks for a lower bound above zero at the level shared between the entries (Bonferroni), and above what
rounding leaves of the value's `scale`: nothing depends on the unit that values are counted in.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Float
from scipy.special import stdtrit

from diffgames.errors import InvalidInput, RunFailed

LOWER_BOUND = "lower bound: trained deviator"
LEVEL = 0.95
UNDECIDED = 1e-8  # of a value's scale: what the tolerances of the integrators leave undecided in an exact gap
NUMBERS = ("value", "gain", "standard_error", "lower", "upper")


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
    """One entry of a certificate: an agent (or a player), its value, and what its best deviation found gains.

    `unbounded` says why the gain is infinite, where it is. `scale` is the size of the terms that the value is the sum
    of, where that is known to be larger than the value. `RunFailed` names an entry with a number that is none.
    """

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
    unbounded: str = ""
    scale: float = 0.0

    def __post_init__(self):
        for name in ("value", "scale") if self.unbounded else (*NUMBERS, "scale"):
            if not math.isfinite(getattr(self, name)):
                raise RunFailed(
                    f"the certificate's entry {self.label!r} has no finite {name} ({getattr(self, name)})",
                    "look at the units of the parameters; a deviation that overflows certifies nothing",
                )
        for name, (low, high) in {"interval": self.interval, "bounds": (self.lower, self.upper)}.items():
            sound = low <= self.gain <= high and (bool(self.unbounded) or math.isfinite(high - low))
            if not sound:
                raise RunFailed(
                    f"the certificate's entry {self.label!r} has {name} [{low}, {high}] about a gain of {self.gain}",
                    "a gain lies in its interval, which is finite unless the gain is without bound",
                )

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


def unbounded_gap(label: str, value: float, reason: str, selected: str = "") -> Gap:
    """The entry of a player whose gain has no bound."""
    infinite = math.inf
    return Gap(
        label=label,
        value=value,
        gain=infinite,
        standard_error=0.0,
        interval=(infinite, infinite),
        lower=infinite,
        upper=infinite,
        selected=selected,
        unbounded=reason,
    )


def exact_gap(label: str, value: float, gain: float, resolution: float, *, selected: str, scale: float = 0.0) -> Gap:
    """The entry of a gain that is known but for ± the resolution of its computation."""
    return Gap(
        label=label,
        value=value,
        gain=gain,
        standard_error=0.0,
        interval=(gain - resolution, gain + resolution),
        lower=gain - resolution,
        upper=gain + resolution,
        selected=selected,
        scale=scale,
    )


def not_integrated(label: str) -> RunFailed:
    """The failure of a certificate whose best reply was not found, for no reason of the game's."""
    return RunFailed(
        f"the best reply of {label} could not be integrated: its fastest rate is too fast for this horizon",
        "shorten the horizon, or raise its control cost; nothing is certified about this player",
    )


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
    """Gap per player with its confidence interval, how it was obtained, and in words what it cannot see.

    `checks` are what else the profile is held to: named numbers, None where one does not exist. `RunFailed` names one
    that is not finite; `InvalidInput` asks for the words where there are no entries.
    """

    entries: tuple[Gap, ...]
    how: str
    unseen: str = ""
    checks: Mapping[str, float | int | None] = field(default_factory=dict)

    def __post_init__(self):
        if not self.entries and not self.unseen:
            raise InvalidInput("unseen", "", "why nobody's deviation is looked for, where there are no entries")
        for name, number in self.checks.items():
            if number is not None and not math.isfinite(number):
                raise RunFailed(
                    f"the certificate's {name} is {number}, not a finite number", "look at log.txt and the parameters"
                )

    @property
    def gap(self) -> float:
        """The largest gap: the profile is an ε-equilibrium for no smaller ε than this, as far as was found.

        Without entries nothing is: ∞, for the reason in `unseen`.
        """
        return max((entry.gap for entry in self.entries), default=math.inf)

    @property
    def significant(self) -> tuple[str, ...]:
        """Labels of the entries whose gain is above zero, and not by rounding, at 95% over all entries together."""
        level = 1.0 - (1.0 - LEVEL) / max(len(self.entries), 1)
        return tuple(e.label for e in self.entries if e.lower_bound(level) > UNDECIDED * max(abs(e.value), e.scale))

    def __getitem__(self, label: str) -> Gap:
        """The entry with that label; a `KeyError` lists the labels there are."""
        for entry in self.entries:
            if entry.label == label:
                return entry
        raise KeyError(f"no entry {label!r}; there are {', '.join(entry.label for entry in self.entries)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and labels (JSON); null for what is infinite, whose reason stands under `unbounded`."""
        entries = {}
        for entry in self.entries:
            plain = asdict(entry)
            plain.pop("label")
            plain["interval"] = list(entry.interval)
            plain = {name: None if _infinite(number) else number for name, number in plain.items()}
            plain["curves"] = {
                name: {
                    "updates": [point.updates for point in curve],
                    "gain": [_finite(point.gain) for point in curve],
                    "standard_error": [_finite(point.standard_error) for point in curve],
                }
                for name, curve in entry.curves.items()
            }
            derived = {"gap": entry.gap, "deviation_value": entry.deviation_value}
            entries[entry.label] = (dict.fromkeys(derived) if entry.unbounded else derived) | plain
        gap = self.gap if math.isfinite(self.gap) else None
        found = {"how": self.how, "gap": gap, "significant": list(self.significant), "entries": entries}
        found |= {"checks": dict(self.checks)} if self.checks else {}
        return found | ({"unseen": self.unseen} if self.unseen else {})

    def __repr__(self) -> str:
        width = max((len(entry.label) for entry in self.entries), default=0)
        largest = f"largest gap {self.gap:.4g}" if self.entries else "nobody's deviation was looked for"
        lines = [f"Certificate ({self.how}): {largest}"]
        for entry in self.entries:
            low, high = entry.interval
            text = f"  {entry.label:<{width}}  value {entry.value:.4g}  gain {entry.gain:.4g} [{low:.4g}, {high:.4g}]"
            if entry.budget is not None:
                text += f"  after {entry.budget.updates} updates, {entry.budget.episodes} episodes"
            words = ", ".join(part for part in (entry.unbounded, entry.selected) if part)
            lines.append(text + (f"  ({words})" if words else ""))
        lines += [f"  {name}: {number:.4g}" for name, number in self.checks.items() if number is not None]
        if self.unseen:
            lines.append(f"  not seen: {self.unseen}")
        if self.entries:
            lines.append(f"  significantly above zero: {', '.join(self.significant) or 'none'}")
        return "\n".join(lines)


def magnitude(matrices: Float[Array | np.ndarray, "m n n"]) -> Float[np.ndarray, "m n n"]:
    """|M|, the symmetric matrices with their eigenvalues' signs taken off: what zᵀMz is made of, never less than it."""
    values, vectors = np.linalg.eigh((matrices + np.swapaxes(matrices, 1, 2)) / 2)
    return np.einsum("iak,ik,ibk->iab", vectors, np.abs(values), vectors)


def _finite(number: float) -> float | None:
    """A number on the way of a search, none where a deviator diverged."""
    return number if math.isfinite(number) else None


def _infinite(number: Any) -> bool:
    """Whether a field's value is infinite, or a pair of such."""
    return number in (math.inf, [math.inf, math.inf])


def _quantile(level: float, degrees_of_freedom: int) -> float:
    return float(stdtrit(degrees_of_freedom, level))
