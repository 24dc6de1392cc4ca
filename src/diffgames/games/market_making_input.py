"""Building a market-making game from plain numbers, every slip answered by the name of the parameter.

A number given once holds in every regime; a list gives one value per regime. The number of regimes is the size of the
generator (with `switching="none"`, where no generator is needed, the length of the lists).
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games.differential import check_generator
from diffgames.games.market_making import MarketMakingGame

Number = float | int
PerRegime = Number | Sequence[Number]
Matrix = Sequence[Sequence[Number]]


def market_making_game(
    *,
    gamma: Number = 0.1,
    k: PerRegime = 1.5,
    A: PerRegime = (140.0, 120.0, 80.0),
    sigma: PerRegime = (1.0, 2.0, 4.0),
    xi: Number = 0.5,
    predator: str = "utility",
    inventory_max: int = 10,
    T: Number = 1.0,
    generator: Matrix | None = None,
    attack: Matrix | None = None,
    stabilize: Matrix | None = None,
    effort_attack: Number = 20.0,
    effort_stabilize: Number = 20.0,
    attack_max: Number = 1.0,
    stabilize_max: Number = 1.0,
    switching: str = "exogenous",
    stress: str = "certainty_equivalent",
    flow_imbalance: PerRegime = 0.0,
    sizes: Sequence[int] = (1,),
    size_shares: Sequence[Number] = (1.0,),
    drift: PerRegime = 0.0,
    jump_rate: PerRegime = 0.0,
    jump_mean: PerRegime = 0.0,
    jump_deviation: PerRegime = 0.0,
    impact: PerRegime = 0.0,
    running_penalty: Number = 0.0,
    terminal_penalty: Number = 0.0,
    terminal_quadratic: Number = 0.0,
) -> MarketMakingGame:
    """The game with these parameters, in float64; `InvalidInput` names the one that does not fit.

    `flow_imbalance` ε in [−1, 1] splits the flow, Aᵃ = A(1+ε) and Aᵇ = A(1−ε); `size_shares` splits it over the trade
    `sizes` (in units of inventory). Matrices `attack` and `stabilize` hold rates ≥ 0 added and taken away per unit of
    effort; their diagonals may be zero or hold the negative row sums. `impact` ζ is the mid's move against a fill,
    per unit of size. γ = 0 is a risk-neutral market maker.
    """
    for key, value, choices in (
        ("predator", predator, ("utility", "ce")),
        ("switching", switching, ("none", "exogenous", "strategic")),
        ("stress", stress, ("certainty_equivalent", "inventory")),
    ):
        if value not in choices:
            raise InvalidInput(key, value, " or ".join(repr(choice) for choice in choices))
    per_regime = {"k": k, "A": A, "sigma": sigma, "flow_imbalance": flow_imbalance, "drift": drift}
    per_regime |= {"jump_rate": jump_rate, "jump_mean": jump_mean, "jump_deviation": jump_deviation, "impact": impact}
    count = _regime_count(generator, switching, per_regime)
    row = {key: _row(key, value, count) for key, value in per_regime.items()}
    for key, least, strict in (("k", 0.0, True), ("A", 0.0, False), ("sigma", 0.0, False), ("jump_rate", 0.0, False)):
        _require(key, row[key], least, strict)
    _require("jump_deviation", row["jump_deviation"], 0.0, False)
    if np.abs(row["flow_imbalance"]).max() > 1:
        raise InvalidInput("flow_imbalance", flow_imbalance, "numbers in [−1, 1]")
    scalars = {"gamma": gamma, "xi": xi, "effort_attack": effort_attack, "effort_stabilize": effort_stabilize}
    scalars |= {"attack_max": attack_max, "stabilize_max": stabilize_max, "running_penalty": running_penalty}
    scalars |= {"terminal_penalty": terminal_penalty, "terminal_quadratic": terminal_quadratic}
    for key, value in scalars.items():
        _require(key, np.asarray(value, float), 0.0, False)
    _require("T", np.asarray(T, float), 0.0, True)
    if isinstance(inventory_max, bool) or int(inventory_max) != inventory_max or inventory_max < 1:
        raise InvalidInput("inventory_max", inventory_max, "an integer ≥ 1")
    shares = _sizes(sizes, size_shares, int(inventory_max))
    matrices = _matrices(generator, attack, stabilize, switching, count, float(attack_max), float(stabilize_max))
    flow = row["A"][:, None] * shares[None, :]
    with jax.enable_x64(True):
        arrays = {key: jnp.asarray(value, jnp.float64) for key, value in (scalars | matrices).items()}
        rows = {key: jnp.asarray(row[key], jnp.float64) for key in row if key not in ("A", "flow_imbalance")}
        return MarketMakingGame(
            **arrays,
            **rows,
            ask_flow=jnp.asarray(flow * (1 + row["flow_imbalance"])[:, None]),
            bid_flow=jnp.asarray(flow * (1 - row["flow_imbalance"])[:, None]),
            horizon=jnp.asarray(T, jnp.float64),
            inventory_max=int(inventory_max),
            sizes=tuple(int(size) for size in sizes),
            predator=predator,  # pyright: ignore[reportArgumentType] - checked above
            switching=switching,  # pyright: ignore[reportArgumentType]
            stress=stress,  # pyright: ignore[reportArgumentType]
        )


def _regime_count(generator: Any, switching: str, per_regime: dict[str, Any]) -> int:
    longest = max(np.size(value) for value in per_regime.values())
    if switching == "none":
        return longest
    if generator is None:
        if longest == 1:
            return 1
        raise InvalidInput("generator", None, f"a {longest} × {longest} matrix of switching rates, or switching=none")
    return len(generator)


def _row(key: str, value: Any, count: int) -> np.ndarray:
    row = np.asarray(value, float).reshape(-1)
    if row.size not in (1, count):
        raise InvalidInput(key, value, f"a number, or {count} of them, one for each regime of the generator")
    if not np.all(np.isfinite(row)):
        raise InvalidInput(key, value, "finite numbers")
    return np.broadcast_to(row, (count,))


def _require(key: str, value: np.ndarray, least: float, strict: bool) -> None:
    fine = np.all(value > least) if strict else np.all(value >= least)
    if not (fine and np.all(np.isfinite(value))):
        raise InvalidInput(key, value.tolist(), f"finite numbers {'>' if strict else '≥'} {least:g}")


def _sizes(sizes: Sequence[int], shares: Sequence[Number], most: int) -> np.ndarray:
    whole = all(int(size) == size and 1 <= size <= 2 * most for size in sizes)
    if not sizes or not whole or len(set(sizes)) != len(sizes):
        raise InvalidInput("sizes", sizes, f"different integers from 1 to 2·inventory_max = {2 * most}")
    share = np.asarray(shares, float)
    if share.shape != (len(sizes),) or np.any(share < 0) or not math.isclose(float(share.sum()), 1.0, abs_tol=1e-9):
        raise InvalidInput("size_shares", shares, f"{len(sizes)} numbers ≥ 0 that sum to one, one per trade size")
    return share


def _matrices(
    generator: Any, attack: Any, stabilize: Any, switching: str, count: int, attack_max: float, stabilize_max: float
) -> dict[str, np.ndarray]:
    """Generator with its diagonal, attack and stabilize with zero diagonals; zero where they play no part."""
    zero = np.zeros((count, count))
    if switching == "none" or generator is None:
        return {"generator": zero, "attack": zero, "stabilize": zero}
    base = _square("generator", generator, count)
    check_generator(base)
    if switching == "exogenous":
        return {"generator": base, "attack": zero, "stabilize": zero}
    pull = _rates("attack", zero if attack is None else attack, count)
    push = _rates("stabilize", zero if stabilize is None else stabilize, count)
    left = base - stabilize_max * push
    np.fill_diagonal(left, 0.0)
    if left.min() < -1e-12 * np.abs(base).max():
        i, j = np.unravel_index(int(left.argmin()), left.shape)
        raise InvalidInput(
            "stabilize",
            push.tolist(),
            f"rates with stabilize_max · stabilize ≤ generator: from regime {i} to {j} the intensity would be "
            f"{left[i, j]:.4g} < 0 after modulation",
        )
    return {"generator": base, "attack": pull, "stabilize": push}


def _square(key: str, matrix: Any, count: int) -> np.ndarray:
    try:
        array = np.asarray(matrix, float)
    except ValueError:
        array = np.zeros(0)
    if array.shape != (count, count) or not np.all(np.isfinite(array)):
        raise InvalidInput(key, matrix, f"a {count} × {count} matrix of finite rates")
    return array


def _rates(key: str, matrix: Any, count: int) -> np.ndarray:
    array = _square(key, matrix, count).copy()
    diagonal = np.diag(array).copy()
    np.fill_diagonal(array, 0.0)
    if array.min() < 0:
        raise InvalidInput(key, matrix, "rates ≥ 0 off the diagonal")
    if np.any(diagonal != 0) and not np.allclose(diagonal, -array.sum(axis=1)):
        raise InvalidInput(key, matrix, "a diagonal of zeros, or of the negative row sums")
    return array
