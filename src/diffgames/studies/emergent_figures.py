"""Figures of emergent behavior, drawn from stored arrays; bands are 95% intervals of the mean over trainings."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import t as student

from diffgames.plotting import COLOURS, axes_or_new, band, label
from diffgames.studies.drawing import Drawing, Panel
from diffgames.studies.emergent_claims import WORDS
from diffgames.studies.emergent_sweep import ATTRIBUTES


def interval(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the trainings and the half-width of its 95% interval."""
    count = values.sizes["training"]
    error = values.std("training", ddof=1) / np.sqrt(count)
    return values.mean("training").values, float(student.ppf(0.975, count - 1)) * error.values


def claims(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """t of every claim in the paper's direction; beyond a dashed line the clearest of them is significant."""
    ax = axes_or_new(ax)
    place = np.arange(data.sizes["claim"])[::-1]
    critical = float(data.attrs["critical"])
    toward, verdict = (data.t * data.sign).values, data.verdict.values
    for word, code, colour in (("as the paper", 1, COLOURS[0]), ("flat", 0, "0.6"), ("reversed", -1, COLOURS[1])):
        these = verdict == code
        ax.barh(place[these], toward[these], color=colour, label=f"{word}: {these.sum()}")
    for side in (-1, 1):
        ax.axvline(side * critical, ls="--", color="0.4", lw=0.8)
    ax.axvline(0.0, color="0.2", lw=0.8)
    ax.set_yticks(place, [str(name).replace("_", " ") for name in data.claim.values], fontsize=7)
    ax.set_xscale("symlog", linthresh=critical)  # linear up to there
    ax.set_xticks([-critical, 0.0, critical], [f"−{critical:.1f}", "0", f"{critical:.1f}"])
    return label(ax, x=("t in the paper's direction", ""), y=("", ""))


def along(attribute: str, statistics: Sequence[str]) -> Panel:
    """Statistics against one attribute."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, x = axes_or_new(ax), data.at.sel(attribute=attribute).values
        for statistic, colour in zip(statistics, COLOURS, strict=False):
            mean, half = interval(data.value.sel(statistic=statistic, attribute=attribute))
            text = WORDS[statistic][0] if len(statistics) > 1 else ""
            ax.plot(x, mean, "o-", ms=3, color=colour, label=text)
            band(ax, x, mean - half, mean + half, colour=colour)
        name, unit = WORDS[statistics[0]]
        return label(ax, x=WORDS[attribute], y=("flow" if len(statistics) > 1 else name, unit))

    return panel


def against_inventory(attribute: str, variable: str, words: tuple[str, str]) -> Panel:
    """A mean by inventory, at the lowest and the highest value of an attribute."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, x = axes_or_new(ax), data.inventory.values
        for place, text, colour in ((0, "lowest", COLOURS[0]), (-1, "highest", COLOURS[1])):
            mean, half = interval(data[variable].sel(attribute=attribute).isel(point=place))
            ax.plot(x, mean, color=colour, label=f"{text} value")
            band(ax, x, mean - half, mean + half, colour=colour)
        return label(ax, x=("inventory", "lots"), y=words, title=WORDS[attribute][0])

    return panel


def slopes(attribute: str) -> Panel:
    """Quantiles over episodes of the skew intensity of an episode, mean over trainings."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, x = axes_or_new(ax), data.at.sel(attribute=attribute).values
        for share, style in zip(data["quantile"].values, (":", "--", "-", "--", ":"), strict=False):
            mean, _ = interval(data.skew_slope.sel(attribute=attribute, quantile=share))
            ax.plot(x, mean, style, color=COLOURS[0], label=f"{share:.0%} of episodes below")
        return label(ax, x=WORDS[attribute], y=WORDS["skew_intensity"])

    return panel


def learning(role: str) -> Panel:
    """Rewards of a role's supertypes while they learn; withdrawing earns zero."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, x = axes_or_new(ax), data["update"].values
        for name, colour in zip([one for one in data.group.values if one.startswith(role)], COLOURS, strict=False):
            mean, half = interval(data.reward.sel(group=name))
            ax.plot(x, mean, color=colour, label=f"supertype {name.rsplit('_', 1)[1]}")
            band(ax, x, mean - half, mean + half, colour=colour)
        ax.axhline(0.0, ls="--", color="0.4", lw=0.8, label="withdrawing")
        return label(ax, x=("policy updates", ""), y=("mean episode reward", ""), title=f"{role}s")

    return panel


def convexity(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The coefficient c of F(ε) against the number of PnL takers."""
    ax, x = axes_or_new(ax), data.pnl_takers.values
    mean, half = interval(data.convexity)
    ax.plot(x, mean, "o-", color=COLOURS[0])
    band(ax, x, mean - half, mean + half, colour=COLOURS[0])
    ax.axhline(0.0, color="0.4", lw=0.8)
    return label(ax, x=WORDS["pnl_takers"], y=WORDS["convexity"])


def _row(caption: str, *statistics: str) -> Drawing:
    panels = [along(attribute, statistics) for attribute in ATTRIBUTES]
    return Drawing(caption, "behavior", *panels, width=3.4, height=2.8)


FIGURES = {
    "claims": Drawing(
        "to the right as the paper says, to the left against it; dashed: the clearest claim is significant beyond",
        "claims",
        claims,
        width=6.5,
        height=6.0,
    ),
    "learning": Drawing(
        "Figures 19–20: rewards while learning; a role below zero would do better not to trade",
        "learning",
        learning("provider"),
        learning("taker"),
    ),
    "inventory": _row("Figure 9: risk aversion lowers |q|", "inventory"),
    "skew": _row("Figure 11: the more negative, the more it skews", "skew_intensity"),
    "skew_distribution": Drawing(
        "Figure 24: skew intensities of single episodes",
        "behavior",
        *(slopes(attribute) for attribute in ATTRIBUTES),
        width=3.4,
        height=2.8,
    ),
    "skew_by_inventory": Drawing(
        "Figures 10 and 21–23: ε_skew falls with inventory where the provider skews",
        "behavior",
        *(against_inventory(one, "skew_by_inventory", ("ε_skew", "market spreads")) for one in ATTRIBUTES),
        width=3.4,
        height=2.8,
    ),
    "hedging": _row("Figure 12: hedge fraction", "hedge_fraction"),
    "holding": _row("Figure 13: mean time until the inventory changes sign", "holding_time"),
    "holding_by_inventory": Drawing(
        "Figure 14: holding time by inventory",
        "behavior",
        *(against_inventory(one, "holding_by_inventory", WORDS["holding_time"]) for one in ATTRIBUTES),
        width=3.4,
        height=2.8,
    ),
    "price": _row("Figure 15: the lower, the more competitive", "average_price"),
    "flow": _row("Figure 16: lots from a connected taker of each kind", "flow_taker_flow", "pnl_taker_flow"),
    "share": _row("Figure 17: market share", "market_share"),
    "pnl": _row("Figure 18: PnL of an episode", "pnl"),
    "convexity": Drawing("Figure 3: PnL takers bend F(ε) upwards", "response", convexity),
}
