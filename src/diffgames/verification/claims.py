"""Claims of the form "this statistic rises (or falls) with that attribute", judged across independent trainings.

Of every training p = 1, …, n the slope b_pk of statistic k on its attribute is known. Trainings are what a claim about
learned behavior is repeated over: episodes of one training share its policies and add no independent evidence. With
b̄_k the mean and s_k the deviation of the b_pk,

    t_k = b̄_k √n / s_k,   p_k = 2 P(T_{n−1} ≥ |t_k|)        (Student, two-sided: a claim can be reversed).

Holm's correction for K claims (Scandinavian J. of Statistics 6, 1979): of the sorted p_(1) ≤ … ≤ p_(K),
p̃_(j) = max_{i ≤ j} min(1, (K − i + 1) p_(i)). To reject where p̃ ≤ level holds the probability of any false rejection at
`level`, whatever the dependence between claims. A claim that is not rejected is *flat*: no sign was shown, which is no
proof that there is none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

AS_CLAIMED, FLAT, REVERSED = 1, 0, -1


class Claim(NamedTuple):
    """`statistic` goes with `attribute` in the direction of `sign`, +1 or −1."""

    statistic: str
    attribute: str
    sign: int


class Verdicts(NamedTuple):
    """Per claim: mean slope, standard error over trainings, t, p, Holm's p; 1 as claimed, 0 flat, −1 reversed."""

    slope: Float[np.ndarray, " claims"]
    error: Float[np.ndarray, " claims"]
    t: Float[np.ndarray, " claims"]
    p_value: Float[np.ndarray, " claims"]
    adjusted: Float[np.ndarray, " claims"]
    verdict: Int[np.ndarray, " claims"]


def slope_on(attribute: Float[np.ndarray, " points"], statistic: Float[np.ndarray, " points"]) -> float:
    """Least-squares slope over the points at which the statistic exists; NaN of fewer than two of them."""
    known = np.isfinite(statistic)
    x, y = attribute[known], statistic[known]
    x = x - x.mean() if len(x) else x
    total = np.sum(x**2)
    return float(x @ (y - y.mean()) / total) if total > 0 else float("nan")


def holm(p_values: Float[np.ndarray, " claims"]) -> Float[np.ndarray, " claims"]:
    """p̃, Holm's adjusted p-values, in the order given."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.minimum(1.0, (len(order) - np.arange(len(order))) * p_values[order])
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def judge(slopes: Float[np.ndarray, "trainings claims"], signs: Sequence[int], level: float = 0.05) -> Verdicts:
    """The verdict on every claim at the family-wise `level`; a claim without two finite slopes counts and is flat."""
    count = np.sum(np.isfinite(slopes), axis=0)
    enough = count >= 2
    number = np.maximum(count, 1)
    mean = np.where(count > 0, np.nansum(slopes, axis=0) / number, np.nan)
    squares = np.nansum((slopes - np.where(count > 0, mean, 0.0)) ** 2, axis=0)
    error = np.where(enough, np.sqrt(squares / np.maximum(count - 1, 1) / number), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0.0, 0.0, mean / error)
    p = np.where(enough, 2 * student.sf(np.abs(t), np.maximum(count - 1, 1)), 1.0)
    adjusted = holm(p)
    shown = adjusted <= level
    verdict = np.where(shown, np.where(np.sign(mean) == np.asarray(signs), AS_CLAIMED, REVERSED), FLAT)
    return Verdicts(mean, error, t, p, adjusted, verdict.astype(int))


def first_critical(trainings: int, claims: int, level: float = 0.05) -> float:
    """|t| that the clearest of `claims` claims must reach to be shown, Holm's first step."""
    return float(student.isf(level / (2 * claims), trainings - 1))
