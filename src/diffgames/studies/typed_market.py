"""A day of two types at one power market: consumers and owners of PV with storage, and what three readings cost.

Households of type τ, shares λ_τ, hold the fraction x ∈ [0, 1] of a storage of C_τ kWh and charge it with u kW,

    dx = (u/C_τ) dt + 4 σ_τ x (1 − x) dW,      |u| ≤ limit_τ,      nobody charges a full one or draws on an empty one,

and buy n_τ(t) + u at the price that clears the market (`games.mean_field_market`), n_τ their load less their PV. With
Q = Σ λ_τ E[n_τ + u] they pay P(Q) = p₀ e^{Q/w} per kWh, and for wear, neither of it quadratic,

    E[∫₀²⁴ P(Q)(n_τ + u) + ½ r u² + ¼ s u⁴ + k (2x − 1)⁴ dt + f C_τ (x_T − d)²].

Readings: `game`, price takers; `control`, one buyer for all; `typed`, one buyer for each type. Price takers minimize
resources, wear and ∫₀^Q P together; buyers with market power pay less for the energy and waste some. The law of stored
energy and the price path are the solution; the certificate of price takers is `verification.mean_field_response`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import READINGS, AgentType, Felt, NormalDensity, TypedMeanFieldGame
from diffgames.games.mean_field_market import Market
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.numerics.precision import in_double
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.solvers.mean_field_newton import MeanFieldSolution, solve_mean_field
from diffgames.studies.axes import check_lengths
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.mean_field import certify_crowd
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.verify import Verification

PerType = tuple[float, ...]
PerReading = dict[str, tuple[float, ...]]
DAY = 24.0


@dataclass(frozen=True, kw_only=True)
class TypedMarketConfig:
    """One entry per type, consumers first, and the grid."""

    share: Annotated[PerType, Parameter("shares λ of the types, sum one", shape="types", minimum=1e-9)] = (0.6, 0.4)
    capacity: Annotated[PerType, Parameter("C, storage", "kWh", shape="types", minimum=1e-3)] = (2.0, 8.0)
    limit: Annotated[PerType, Parameter("largest |u|", "kW", shape="types", minimum=1e-3)] = (0.5, 2.5)
    base: Annotated[PerType, Parameter("load around the clock", "kW", shape="types")] = (0.4, 0.4)
    evening: Annotated[PerType, Parameter("load on top at 19 h", "kW", shape="types")] = (1.4, 1.0)
    pv: Annotated[PerType, Parameter("PV at 13 h", "kW", shape="types", minimum=0.0)] = (0.0, 3.5)
    r: Annotated[PerType, Parameter("weight of ½ u²", "ct/(h kW²)", shape="types", minimum=1e-6)] = (4.0, 1.0)
    s: Annotated[PerType, Parameter("weight of ¼ u⁴", "ct/(h kW⁴)", shape="types", minimum=0.0)] = (4.0, 0.2)
    k: Annotated[PerType, Parameter("wear of full and empty storage", "ct/h", shape="types")] = (1.0, 3.0)
    final: Annotated[PerType, Parameter("f, weight of the last level", "ct/kWh", shape="types")] = (40.0, 40.0)
    level: Annotated[PerType, Parameter("d, the last level", shape="types", minimum=0.0, maximum=1.0)] = (0.5, 0.4)
    mean0: Annotated[PerType, Parameter("mean level at 0 h", shape="types", minimum=0.0, maximum=1.0)] = (0.5, 0.4)
    deviation0: Annotated[PerType, Parameter("deviation of levels at 0 h", shape="types", minimum=1e-2)] = (0.12, 0.12)
    sigma: Annotated[PerType, Parameter("noise at half full", "1/√h", shape="types", minimum=0.0)] = (0.06, 0.06)
    p0: Annotated[float, Parameter("price at Q = 0", "ct/kWh", minimum=1e-6)] = 15.0
    w: Annotated[float, Parameter("purchase at which the price is e times p0", "kW", minimum=1e-3)] = 3.0
    points: Annotated[int, Parameter("cells of [0, 1]", "cells", minimum=8)] = 40
    steps: Annotated[int, Parameter("implicit steps of the day", "steps", minimum=12)] = 96
    deviator_updates: Annotated[int, Parameter("training of the deviator on paths; 0: none", "updates", minimum=0)] = 60


@dataclass(frozen=True, kw_only=True)
class TypedMarketHeadline:
    """What every reading costs, how it moves the price, and what price takers leave to gain."""

    cost: Annotated[PerReading, Headline("what an agent of each type pays", "ct/day", shape="{reading: list}")]
    mean_cost: Annotated[dict[str, float], Headline("over types, by share", "ct/day", shape="{reading: number}")]
    resources: Annotated[
        dict[str, float],
        Headline("wear and the cost of supply, ∫₀^Q P, per agent", "ct/day", shape="{reading: number}"),
    ]
    resources_unstored: Annotated[float, Headline("cost of supply where nobody stores", "ct/day")]
    price_high: Annotated[dict[str, float], Headline("highest price of the day", "ct/kWh", shape="{reading: number}")]
    price_low: Annotated[dict[str, float], Headline("lowest price of the day", "ct/kWh", shape="{reading: number}")]
    exploitability: Annotated[
        float, Headline("price takers' largest gain by a best reply on a finer grid, over types", "ct/day")
    ]
    iterations: Annotated[dict[str, int], Headline("of Newton's method", "steps", shape="{reading: number}")]
    clearing_error: Annotated[
        float, Headline("largest distance of the price bid at from the price that supply asks", "ct/kWh")
    ]
    mass_error: Annotated[float, Headline("largest deviation of a total mass from one, nothing divided")]


class Wear(eqx.Module):
    """½ r u² + ¼ s u⁴ with u in kW, the control in fractions of the storage per hour."""

    r: float
    s: float
    capacity: float

    def __call__(self, u: Float[Array, " d"], x: Float[Array, " d"]) -> Array:
        power = self.capacity * u[0]
        return 0.5 * self.r * power**2 + 0.25 * self.s * power**4


class Level(eqx.Module):
    """k (2x − 1)⁴."""

    k: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return self.k * (2.0 * x[0] - 1.0) ** 4


class LastLevel(eqx.Module):
    """weight · (x − d)²."""

    weight: float
    d: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return self.weight * (x[0] - self.d) ** 2


class Noise(eqx.Module):
    """4 σ x (1 − x): none where storage is full or empty."""

    sigma: float

    def __call__(self, x: Float[Array, " d"]) -> Array:
        return 4.0 * self.sigma * x * (1.0 - x)


class Load(eqx.Module):
    """Load less PV of every type: evening around 19 h, sun from 7 h to 19 h."""

    base: Float[Array, " K"]
    evening: Float[Array, " K"]
    pv: Float[Array, " K"]

    def __call__(self, t: Float[Array, ""]) -> Float[Array, " K"]:
        sun = jnp.maximum(jnp.cos(jnp.pi * (t - 13.0) / 12.0), 0.0) ** 2
        return self.base + self.evening * jnp.exp(-0.5 * ((t - 19.0) / 2.0) ** 2) - self.pv * sun


class ExponentialSupply(eqx.Module):
    """p₀ e^{Q/w}."""

    p0: float
    w: float

    def __call__(self, Q: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, ""]:
        return self.p0 * jnp.exp(Q / self.w)


@in_double
def game_of(config: TypedMarketConfig) -> TypedMeanFieldGame:
    """The game of the parameters. `InvalidInput` where types differ in number."""
    check_lengths(STUDY, config)
    types = tuple(
        AgentType(
            share=config.share[i],
            start=NormalDensity(config.mean0[i], config.deviation0[i]),
            diffusion=Noise(config.sigma[i]),
            control_cost=Wear(config.r[i], config.s[i], config.capacity[i]),
            running_cost=Level(config.k[i]),
            terminal_cost=LastLevel(config.final[i] * config.capacity[i], config.level[i]),
            control_low=-config.limit[i] / config.capacity[i],
            control_high=config.limit[i] / config.capacity[i],
        )
        for i in range(len(config.share))
    )
    market = Market(ExponentialSupply(config.p0, config.w), load_of(config), jnp.asarray(config.capacity))
    return TypedMeanFieldGame(types, {}, DAY, market)


def load_of(config: TypedMarketConfig) -> Load:
    """Load less PV of the parameters."""
    return Load(*(jnp.asarray(getattr(config, name), float) for name in ("base", "evening", "pv")))


@in_double
def loads(config: TypedMarketConfig, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n K"]:
    """Load less PV of every type at the times."""
    return np.asarray(jax.vmap(load_of(config))(jnp.asarray(times)))


def cells_of(config: TypedMarketConfig) -> Cells:
    """Storage from empty to full."""
    return Cells((CellAxis("x", 0.0, 1.0, config.points),))


def run(config: TypedMarketConfig, context: RunContext) -> StudyResult:
    """Solve in the three readings, certify price takers, and set side by side what each costs."""
    if abs(sum(config.share) - 1.0) > 1e-9:
        raise InvalidInput("share", config.share, "positive shares that sum to one")
    game, solved, words = game_of(config), {}, []
    for place, reading in enumerate(READINGS):
        context.progress.update(reading, place / len(READINGS))
        begin = solved.get("game")
        one = solved[reading] = solve_mean_field(game, cells_of(config), config.steps, reading=reading, begin=begin)
        context.log(f"{reading}: {one!r}")
        words += [] if one.converged else [f"{reading}: Newton's method is {one.status}"]
    takers = solved["game"]
    profile = {"control": takers.control, "mass": takers.mass}
    certificate = verify(config, profile, context)
    traded = {reading: Traded(config, one) for reading, one in solved.items()}
    assert certificate.exact is not None
    share, still = np.asarray(config.share), traded["game"].unstored
    bids, asked = traded["game"].bids[:, 0], traded["game"].price
    return StudyResult(
        TypedMarketHeadline(
            cost={reading: tuple(one.cost.tolist()) for reading, one in solved.items()},
            mean_cost={reading: float(share @ one.cost) for reading, one in solved.items()},
            resources={reading: float(share @ solved[reading].cost) + one.rent for reading, one in traded.items()},
            resources_unstored=still,
            price_high={reading: float(one.price.max()) for reading, one in traded.items()},
            price_low={reading: float(one.price.min()) for reading, one in traded.items()},
            exploitability=certificate.exact.gap,
            iterations={reading: one.iterations for reading, one in solved.items()},
            clearing_error=float(np.abs(bids - asked).max()),
            mass_error=max(one.mass_error for one in solved.values()),
        ),
        certificate=certificate,
        warnings=[*dict.fromkeys(caution for one in solved.values() for caution in one.cautions), *words],
        arrays=_datasets(config, solved, traded),
        profile=profile,
    )


class Traded:
    """What a solution buys: Q and price [n] at the starts of steps, bids' marginal prices [n, K], and payments."""

    def __init__(self, config: TypedMarketConfig, solution: MeanFieldSolution):
        times, dt = np.arange(config.steps) * solution.dt, solution.dt
        share, capacity = np.asarray(config.share), np.asarray(config.capacity)
        fixed = loads(config, times)
        self.power = capacity * np.sum(solution.mass[1:] * solution.control[:, :, 0], axis=-1)
        self.load, self.bought = fixed @ share, (fixed + self.power) @ share
        self.price = config.p0 * np.exp(self.bought / config.w)
        self.bids = solution.prices
        supply = config.w * (self.price - config.p0)
        self.rent = float(dt * np.sum(supply - self.price * self.bought))
        self.unstored = float(dt * np.sum(config.w * config.p0 * (np.exp(self.load / config.w) - 1.0)))


def verify(config: TypedMarketConfig, profile: dict[str, Any], context: RunContext) -> Verification:
    """The certificate of stored price takers: best replies on finer grids, and a deviator on paths."""
    return certify_crowd(game_of(config), cells_of(config), profile, config.deviator_updates, context)


def _datasets(
    config: TypedMarketConfig, solved: dict[str, MeanFieldSolution], traded: dict[str, Traded]
) -> dict[str, xr.Dataset]:
    """The day of every reading, and price takers' levels and charging at four hours."""
    types = [("consumers", "PV owners")[i] if len(config.share) == 2 else f"type {i}" for i in range(len(config.share))]
    hours = np.arange(config.steps) * DAY / config.steps
    near = {"time": ("time", hours, {"long_name": "time", "units": "h"}), "reading": list(solved)}
    dims = ("reading", "time")
    day = xr.Dataset(
        {
            "price": (dims, np.stack([one.price for one in traded.values()])),
            "bought": (dims, np.stack([one.bought for one in traded.values()])),
            "power": ((*dims, "type"), np.stack([one.power for one in traded.values()])),
            "load": ("time", traded["game"].load),
        },
        coords=near | {"type": types},
    )
    chosen = (np.asarray([0.25, 0.5, 0.75, 1.0]) * (config.steps - 1)).astype(int)
    one = solved["game"]
    levels = xr.Dataset(
        {
            "density": (("hour", "type", "x"), one.density[chosen]),
            "power": (
                ("hour", "type", "x"),
                one.control[chosen][:, :, 0] * np.asarray(config.capacity)[:, None],
            ),
        },
        coords={"hour": hours[chosen], "type": types, "x": one.scheme.cells.points()[0]},
    )
    return {"day": day, "levels": levels}


def _prices(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The price over the day in every reading."""
    ax = axes_or_new(ax)
    for colour, style, reading in zip(COLOURS, ("-", "--", ":"), data.reading.values, strict=False):
        ax.plot(data.time, data["price"].sel({"reading": reading}), style, color=colour, label=str(reading))
    return label(ax, x=("time", "h"), y=("price", "ct/kWh"))


def _powers(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Mean charging of the types, price takers solid, one buyer dashed."""
    ax = axes_or_new(ax)
    for colour, one in zip(COLOURS, data.type.values, strict=False):
        for reading, style in (("game", "-"), ("control", "--")):
            row = data["power"].sel({"type": one, "reading": reading})
            ax.plot(data.time, row, style, color=colour, label=f"{one}, {reading}")
    ax.axhline(0.0, color="0.6", lw=0.8)
    return label(ax, x=("time", "h"), y=("mean charging", "kW"))


def _levels(name: str, quantity: str, unit: str):
    """A quantity against the level, a color for each type, darker with the hour."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        for colour, one in zip(COLOURS, data.type.values, strict=False):
            for place, hour in enumerate(data.hour.values):
                shade, row = 0.25 + 0.25 * place, data[name].sel({"type": one, "hour": hour})
                ax.plot(data.x, row, color=colour, alpha=shade, label=f"{one}, {hour:.0f} h")
        return label(ax, x=("level of storage", ""), y=(quantity, unit))

    return panel


def memory(config: TypedMarketConfig) -> dict[str, float]:
    """The basis of the linear solves: up to eighty vectors of values and masses."""
    return {"points, steps": 8.0 * 2 * 82 * len(config.share) * config.points * config.steps}


STUDY = Study(
    name="typed-market",
    source="typed mean-field games (tutorial, sections 2 and 8) with storage limits and a price that clears the market",
    shows="price takers waste nothing; buyers with market power pay less for energy, and the world pays more",
    config=TypedMarketConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"points": 80, "steps": 192, "deviator_updates": 240}},
    minutes={"quick": 0.6, "paper": 8.0},
    headline=TypedMarketHeadline,
    example="diffgames run typed-market --set pv=[0,6] w=2",
    published="no numbers; the linear-quadratic market has a second route in the tests",
    figures={
        "day": Drawing(
            "storage charges at noon and sells in the evening; one buyer for all moves more, for a flatter price",
            "day",
            _prices,
            _powers,
        ),
        "levels": Drawing(
            "levels and charging of price takers, from pale (6 h) to dark (24 h), under the limits of the storage",
            "levels",
            _levels("density", "density", ""),
            _levels("power", "charging", "kW"),
        ),
    },
)
