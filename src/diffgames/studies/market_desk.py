"""What a desk looks at in recorded episodes: stylised facts beside the record's, the tape, costs and impact.

`look` makes the arrays that a study stores, `DRAWINGS` are their figures. The record is that of the first exchange.
"""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.markets import behaviour, costs, facts, tape
from diffgames.markets.environment import OTCMarket
from diffgames.markets.level2 import Level2
from diffgames.markets.market_state import StepRecord
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.drawing import Drawing, lines


class Look(NamedTuple):
    """`facts` as {name: [recorded, simulated]}, the arrays by name, and what to be warned of."""

    facts: dict[str, list[float]]
    arrays: dict[str, xr.Dataset]
    warnings: list[str]


def look(record: StepRecord, market: OTCMarket, data: Level2, step: float = 1.0) -> Look:
    """Measure the episodes; `data` is what the first exchange was fitted to, `step` the seconds of a step."""
    recorded = facts.of_level2(data, market.exchanges.levels, market.steps, step)
    compared = facts.compare(recorded, facts.of_record(record))
    kept = tape.dataset(record, market.provider_supertype, market.taker_supertype, data)
    measured = costs.costs(tape.tables(kept)["trades"], costs.mid_path(kept))
    return Look(facts.named(compared), {"facts": compared, "tape": kept, "costs": measured}, facts.warnings(compared))


def herding(market: OTCMarket, record: StepRecord) -> dict[str, Any]:
    """Variance of net flow against independent takers: in a step, in ten, and in a step of each supertype alone."""
    traded, members = np.asarray(record.taker_traded), np.asarray(market.taker_supertype)
    found: dict[str, Any] = {}
    for name, block in (("flow_variance_ratio", 1), ("flow_variance_ratio_10", 10)):
        pair = zip((name, f"{name}_error"), behaviour.flow_variance_ratio(traded, block), strict=True)
        found |= {key: value if np.isfinite(value) else None for key, value in pair}
    own = {f"taker_{one}": behaviour.flow_variance_ratio(traded[..., members == one]) for one in np.unique(members)}
    return found | {
        "flow_variance_by_supertype": {name: list(ratio) for name, ratio in own.items() if np.isfinite(ratio).all()}
    }


def unserved(record: StepRecord) -> list[str]:
    """What to be warned of: orders that met no liquidity, and exact books without room."""
    unfilled = float(np.asarray(record.unfilled).sum() / max(np.asarray(record.taker_volume).sum(), 1.0))
    notes = []
    if unfilled > 1e-3:
        notes.append(f"{unfilled:.1%} of the takers' volume met no liquidity at the exchange")
    if (lost := float(np.asarray(record.lost)[-1].mean())) > 0:
        notes.append(f"{lost:.0f} lots per episode found no room in the exact books: enlarge book_capacity")
    return notes


def facts_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Every statistic's distance from the recorded one; the band is the 95% interval of the difference."""
    ax, far = axes_or_new(ax), facts.distances(data)
    shown = [name for name in data.statistic.values if np.isfinite(far.sel(statistic=name))]
    distance, place = far.sel(statistic=shown).values, np.arange(len(shown))[::-1]
    ax.axvspan(-1, 1, color="0.9", label="95% band of the difference")
    colours = [COLOURS[0] if abs(one) <= 1 else COLOURS[1] for one in distance]
    ax.scatter(distance, place, color=colours)
    pairs = data.value.sel(statistic=shown).values
    said = [
        f"{name.replace('_', ' ')}  {recorded:.3g} → {simulated:.3g}"
        for name, (recorded, simulated) in zip(shown, pairs, strict=True)
    ]
    ax.set_yticks(place, said, fontsize=7)
    ax.set_xscale("symlog", linthresh=2.0)
    ax.set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
    return label(
        ax, x=("simulated − recorded", "half-widths"), y=("", ""), title="Stylised facts, recorded → simulated"
    )


def markout_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """What the side that was traded against holds of its spread, at the trade and later, by counterparty."""
    ax, horizons = axes_or_new(ax), data.horizon.values
    for name, colour in zip(data.counterparty.values, COLOURS, strict=False):
        row = data.sel(counterparty=name)
        values = np.concatenate([[row.effective], row.markout])
        errors = 1.96 * np.concatenate([[row.effective_error], row.markout_error])
        if np.isfinite(values).any():
            ax.errorbar([0, *horizons], values, errors, marker="o", capsize=3, color=colour, label=str(name))
    ax.axhline(0.0, color="0.4", ls="--", lw=1)
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xticks([0, *horizons], [str(one) for one in (0, *horizons)])
    ax.set_xlim(-0.2, 1.2 * max(horizons))
    return label(
        ax, x=("steps after the trade", "0: effective half-spread"), y=("mark-out", "ticks per lot"), title="Mark-outs"
    )


def impact_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The mid's move in the direction of the exchanges' net flow, against its size, at every horizon."""
    ax = axes_or_new(ax)
    for column, colour in zip(data.horizon.values, COLOURS, strict=False):
        at = data.sel(horizon=column)
        ax.errorbar(
            data["size"],
            at.impact,
            1.96 * at.impact_error,
            marker="o",
            capsize=3,
            color=colour,
            label=f"after {column:g}",
        )
    ax.axhline(0.0, color="0.4", ls="--", lw=1)
    return label(
        ax, x=("net flow to the exchanges", "lots"), y=("move of the mid", "ticks"), title="Impact after some steps"
    )


DRAWINGS = {
    "facts": Drawing(
        "points in the band: the market with its agents keeps what the record has",
        "facts",
        facts_panel,
        lines("signature", by="source", half_width="signature_half_width", title="Signature plot"),
        height=4.6,
    ),
    "costs": Drawing(
        "a spread that falls with time was lost to informed flow; impact that stays is never paid back",
        "costs",
        markout_panel,
        impact_panel,
    ),
}
