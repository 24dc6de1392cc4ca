"""Fitted exponents: b of error ∝ N^b by least squares in logarithms, with an interval from independent replications."""

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit


def fitted_exponent(
    sizes: Float[np.ndarray, " sizes"], errors: Float[np.ndarray, "sizes replications"], level: float = 0.95
) -> tuple[float | None, float | None]:
    """The slope b of log(error) in log N, and the half-width of its interval.

    The slope is fitted to every replication, which are independent; b is their mean and the half-width is Student's
    t times its standard error: none with one replication. None for fewer than two sizes, or an error that is zero.

    >>> sizes = np.asarray([10.0, 100.0, 1000.0])
    >>> b, width = fitted_exponent(sizes, (3.0 * sizes**-0.5)[:, None] * np.asarray([[1.0, 1.1]]))
    >>> round(b, 9), round(width, 9)
    (-0.5, 0.0)
    """
    if sizes.size < 2 or not np.all(errors > 0):
        return None, None
    x = np.log(sizes) - np.log(sizes).mean()
    slopes = x @ np.log(errors) / (x @ x)
    if slopes.size < 2:
        return float(slopes[0]), None
    error = slopes.std(ddof=1) / np.sqrt(slopes.size)
    return float(slopes.mean()), float(stdtrit(slopes.size - 1, (1.0 + level) / 2.0) * error)
