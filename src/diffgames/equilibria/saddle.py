"""Saddle points of zero-sum games: the gaps of the two sides bound the value.

One objective J, minimised by v and maximised by w. Since min_v J(v, w*) ≤ value ≤ max_w J(v*, w) for any (v*, w*),

    lower = J − gap_min,   upper = J + gap_max,   duality gap = upper − lower = gap_min + gap_max,

zero exactly at a saddle point, and the value lies between the bounds whatever the profile, provided the gaps are
exact. A gap that is a lower bound itself makes the interval too narrow by what the deviator missed.
"""

from typing import NamedTuple


class ValueBounds(NamedTuple):
    """Bounds of the value of a zero-sum game, and their distance."""

    lower: float
    upper: float
    duality_gap: float


def value_bounds(objective: float, minimiser_gap: float, maximiser_gap: float) -> ValueBounds:
    """Bounds of the value from the objective at a profile and the gaps of its two sides.

    >>> value_bounds(1.0, 0.25, 0.5)
    ValueBounds(lower=0.75, upper=1.5, duality_gap=0.75)
    """
    return ValueBounds(
        lower=objective - minimiser_gap, upper=objective + maximiser_gap, duality_gap=minimiser_gap + maximiser_gap
    )
