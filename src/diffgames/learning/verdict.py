"""Is learning done? A verdict from the history of a training, whatever the game.

The last `WINDOW` of the updates is judged, curve by curve (the mean reward of a supertype, an exchange's share):

    r_u = a + b u + e_u,        change over the window  Δ = b n,

the coefficient of the second of orthonormal polynomials in u; those of the next `SHAPES` estimate its variance, and
the interval is Student's t with as many degrees of freedom (as Lazarus, Lewis, Stock & Watson 2018 with cosines). That
holds where e is correlated over stretches shorter than a polynomial bends, for neighbouring policies earn alike. A
curve *moves* where the 95% interval of Δ leaves zero out and |Δ| matters: a reward's by more than `RELEVANT` of its
level, a share's by more than `RELEVANT_SHARE` of the whole, which is its unit. A curve that does not move has settled
as far as the record can say; the interval is handed back with the verdict. A supertype is *below withdrawing* where
its mean reward in the window, with its interval, is below what doing nothing earns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t

WINDOW, RELEVANT, RELEVANT_SHARE, LEVEL, SHAPES = 0.25, 0.1, 0.02, 0.95, 3
LEAST = 8  # updates of a window that can be judged


@dataclass(frozen=True)
class Trend:
    """Change of a curve over the window and its half-width; the window's mean and its half-width.

    `relevant` is the least change that matters.
    """

    change: float
    change_error: float
    level: float
    level_error: float
    relevant: float

    @property
    def moves(self) -> bool:
        """Whether the curve still rises or falls, beyond noise and by more than what matters."""
        return abs(self.change) > self.change_error and abs(self.change) > self.relevant


@dataclass(frozen=True)
class Verdict:
    """`converged` where no curve moves and nobody is below doing nothing; `reasons` in words otherwise.

    `below` are the labels of those who end below doing nothing.
    """

    trends: Mapping[str, Trend]
    reasons: tuple[str, ...]
    below: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against the training being done."""
        return not self.reasons

    @property
    def words(self) -> str:
        """One line: empty where converged."""
        return "" if self.converged else "not converged: " + "; ".join(self.reasons)


def trend(curve: Float[np.ndarray, " updates"], relevant: float | None = None) -> Trend:
    """The trend of the last quarter of a curve; NaN and infinite half-widths where it is too short to be judged.

    `relevant` is the least change that matters, by default a tenth of the curve's level.
    """
    curve = np.asarray(curve, float)
    size = int(np.ceil(WINDOW * len(curve)))
    if size < LEAST:
        return Trend(float("nan"), float("inf"), float(curve[-size:].mean()), float("inf"), relevant or 0.0)
    last = curve[-size:]
    shapes = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, size), SHAPES + 2, increasing=True))[0]
    _, rise, *others = shapes.T @ last
    deviation = np.sqrt(np.mean(np.square(others))) * t.ppf((1 + LEVEL) / 2, SHAPES)
    per_rise = (shapes[-1, 1] - shapes[0, 1]) * size / (size - 1)
    return Trend(
        change=float(rise * per_rise),
        change_error=float(deviation * abs(per_rise)),
        level=float(last.mean()),
        level_error=float(deviation / np.sqrt(size)),
        relevant=RELEVANT * abs(float(last.mean())) if relevant is None else relevant,
    )


def verdict(
    rewards: Mapping[str, Float[np.ndarray, " updates"]],
    shares: Mapping[str, Float[np.ndarray, " updates"]] | None = None,
    withdrawing: float | None = 0.0,
) -> Verdict:
    """Judge the curves of rewards, which must not end below `withdrawing` (None: no such level), and of shares."""
    trends = {name: trend(curve) for name, curve in rewards.items()}
    trends |= {name: trend(curve, RELEVANT_SHARE) for name, curve in (shares or {}).items()}
    reasons = []
    for name, one in trends.items():
        if one.moves:
            turn = "rises" if one.change > 0 else "falls"
            reasons.append(f"{name} still {turn}, by {one.change:+.3g} ± {one.change_error:.2g} over the last quarter")
    short = [name for name, one in trends.items() if np.isinf(one.change_error)]
    if short:
        reasons.append(f"too few updates to judge ({LEAST} in the last quarter are needed)")
    least = -np.inf if withdrawing is None else withdrawing
    below = tuple(name for name in rewards if trends[name].level + trends[name].level_error < least)
    for name in below:
        one = trends[name]
        reasons.append(f"{name} earns {one.level:.3g} ± {one.level_error:.2g}, withdrawing {withdrawing:g}")
    return Verdict(trends, tuple(reasons), below)
