"""Figures of the over-the-counter market: learning, a market day, skew, shares, the connectivity graph.

Every function draws one figure from recorded episodes (`StepRecord` leaves stacked [T, B, …]) and returns it. Prices
are in ticks from the initial mid, quantities in lots, intervals 95%.
"""

from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from diffgames.markets.behaviour import skew_regression
from diffgames.markets.level2 import Level2
from diffgames.markets.market_state import StepRecord
from diffgames.markets.tape import worth
from diffgames.plotting import band, label, legends, new_figure
from diffgames.verification.certificate import Certificate


def learning_curves(
    reward: Mapping[str, Float[np.ndarray, " updates"]], share: Float[np.ndarray, "updates providers"]
) -> Figure:
    """Mean episode reward per role and supertype, and running market share per provider, against updates."""
    figure, axes = new_figure(columns=3, width=4.4, height=3.8)
    panels = (
        [name for name in reward if name.startswith("provider")],
        [name for name in reward if name.startswith("taker")],
    )
    for axis, names, title in zip(axes, panels, ("providers", "takers"), strict=False):
        for name in names:
            axis.plot(np.arange(1, len(reward[name]) + 1), reward[name], label=f"supertype {name.rsplit('_', 1)[1]}")
        label(axis, x=("policy updates", ""), y=("mean episode reward", ""), title=f"Reward of liquidity {title}")
    for index in range(share.shape[1]):
        axes[2].plot(np.arange(1, len(share) + 1), share[:, index], label=f"provider {index}")
    axes[2].plot(np.arange(1, len(share) + 1), 1 - share.sum(axis=1), "--", color="0.5", label="exchanges")
    axes[2].set_ylim(0, 1)
    label(axes[2], x=("policy updates", ""), y=("share of takers' volume", ""), title="Market share")
    legends(*axes)
    return figure


def market_day(record: StepRecord, data: Level2 | None = None, episode: int = 0, provider: int = 0) -> Figure:
    """One episode: exchange touch, the provider's quotes, its trades, its inventory and hedges.

    With the level-2 `data`, the figure says what a tick is, in currency and in basis points of the opening price.
    """
    at = {
        name: np.asarray(getattr(record, name))[:, episode]
        for name in vars(record)
        if not name.endswith("_type") and name not in ("network",)
    }
    steps = np.arange(len(at["price"]))
    figure, (top, bottom) = new_figure(rows=2, width=11.0, height=3.6, sharex=True)
    top.fill_between(
        steps,
        at["best_bid"][:, 0],
        at["best_ask"][:, 0],
        step="mid",
        color="0.85",
        label=("first exchange" if at["best_bid"].shape[1] > 1 else "exchange") + ": best bid to best ask",
    )
    top.step(steps, at["price"], where="mid", color="0.35", label="reference price $P_t$")
    top.step(steps, at["provider_ask"][:, provider], where="mid", color="tab:red", lw=1, label="provider's ask")
    top.step(steps, at["provider_bid"][:, provider], where="mid", color="tab:blue", lw=1, label="provider's bid")
    flow = at["flow"][:, provider].sum(axis=-1)
    for side, quote, marker, color, name in (
        (0, "provider_ask", "v", "tab:red", "sells to takers"),
        (1, "provider_bid", "^", "tab:blue", "buys from takers"),
    ):
        traded = flow[:, side] > 0
        size = 12 + 10 * flow[traded, side]
        top.scatter(
            steps[traded], at[quote][traded, provider], s=size, marker=marker, color=color, alpha=0.6, label=name
        )
    unit, title = "ticks", f"A market day of provider {provider}"
    if data is not None:
        tick, price = (worth(data)[name] for name in ("tick_currency", "opening_currency"))
        unit, title = f"ticks of {tick:g}, {1e4 * tick / price:.3g} bp", f"{title}, opening at {price:g}"
    label(top, x=("", ""), y=("price from the initial mid", unit), title=title)
    bottom.step(steps, at["inventory"][:, provider], where="mid", color="tab:green", label="inventory $q_t$")
    bottom.bar(steps, at["hedged"][:, provider], color="tab:orange", alpha=0.8, label="bought at the exchange (hedge)")
    bottom.axhline(0, color="0.5", lw=0.6)
    label(bottom, x=("time", "steps"), y=("inventory and hedges", "lots"))
    legends(top, bottom)
    return figure


def skew_against_inventory(record: StepRecord, provider: int = 0, shown: int = 4000) -> Figure:
    """The cloud of (q_t, ε_skew), binned means, and the regression line whose slope is the skew intensity."""
    inventory = np.asarray(record.inventory, np.float64)[:, :, provider]
    skew = np.asarray(record.skew_tweak, np.float64)[:, :, provider]
    fit = skew_regression(record, provider)
    figure, (axis,) = new_figure(width=6.4, height=4.4)
    thin = max(1, inventory.size // shown)
    axis.scatter(inventory.ravel()[::thin], skew.ravel()[::thin], s=5, alpha=0.15, color="0.5", label="steps")
    edges = np.unique(np.quantile(inventory, np.linspace(0, 1, 13)))
    index = np.clip(np.digitize(inventory, edges[1:-1]), 0, max(len(edges) - 2, 0))
    bins = [index == i for i in range(max(len(edges) - 1, 1)) if np.any(index == i)]
    axis.plot(
        [inventory[b].mean() for b in bins], [skew[b].mean() for b in bins], "o", color="tab:blue", label="binned mean"
    )
    if np.isfinite(fit.slope):
        line = np.array([inventory.min(), inventory.max()])
        slope = f"slope {fit.slope:.4f} ± {1.96 * fit.standard_error:.4f} per lot"
        axis.plot(line, fit.intercept + fit.slope * line, color="tab:red", label=slope)
    label(
        axis,
        x=("inventory $q_t$", "lots"),
        y=(r"skew $\epsilon_{skew}$", "market spreads"),
        title=f"Skewing of provider {provider}",
    )
    legends(axis)
    return figure


def market_shares(
    share: Float[np.ndarray, "episodes providers"],
    pnl_spread: Float[np.ndarray, "episodes providers"],
    pnl_inventory: Float[np.ndarray, "episodes providers"],
) -> Figure:
    """Final market share and PnL decomposition per provider, with 95% intervals over episodes."""
    figure, (left, right) = new_figure(columns=2, height=3.8)
    names = [f"provider {i}" for i in range(share.shape[1])]
    exchange = 1 - share.sum(axis=1, keepdims=True)
    mean, half = _interval(np.concatenate([share, exchange], axis=1))
    left.bar([*names, "exchanges"], mean, yerr=half, capsize=3, color=["tab:blue"] * len(names) + ["0.6"])
    left.set_ylim(0, 1)
    label(left, x=("", ""), y=("share of takers' volume", ""), title="Market share")
    place = np.arange(len(names))
    for offset, values, name in ((-0.2, pnl_spread, "spread PnL"), (0.2, pnl_inventory, "inventory PnL")):
        mean, half = _interval(values)
        right.bar(place + offset, mean, width=0.4, yerr=half, capsize=3, label=name)
    right.axhline(0, color="0.5", lw=0.6)
    right.set_xticks(place, names)
    label(right, x=("", ""), y=("PnL of an episode", "ticks × lots"), title="Profit and loss")
    legends(right)
    return figure


def connectivity_graph(record: StepRecord, taker_supertype: Sequence[int], episode: int = 0) -> Figure:
    """Who is connected to whom in one episode: providers, takers (coloured by supertype), exchanges.

    Where providers can hedge is drawn in arcs around the takers, whose names are left out where they are many.
    """
    network = {name: np.asarray(value)[0, episode] for name, value in vars(record.network).items()}
    providers = [f"P{i}" for i in range(network["provider_taker"].shape[0])]
    takers = [f"T{i}" for i in range(network["provider_taker"].shape[1])]
    exchanges = [f"ECN{i}" for i in range(network["taker_exchange"].shape[1])]
    graph = nx.Graph()
    graph.add_nodes_from([*providers, *takers, *exchanges])
    place = {name: (-1.0, y) for name, y in zip(providers, _spread(len(providers)), strict=True)}
    place |= {name: (0.0, y) for name, y in zip(takers, _spread(len(takers)), strict=True)}
    place |= {name: (1.0, y) for name, y in zip(exchanges, _spread(len(exchanges)), strict=True)}
    figure, (axis,) = new_figure(width=8.0, height=7.0)
    few = len(takers) <= 30
    for names, others, matrix in (
        (providers, takers, network["provider_taker"]),
        (takers, exchanges, network["taker_exchange"]),
    ):
        edges = [(names[i], others[j]) for i, j in np.argwhere(matrix)]
        nx.draw_networkx_edges(graph, place, edges, ax=axis, edge_color="0.75", width=0.8 if few else 0.1)
    for i, j in np.argwhere(network["provider_exchange"]):
        above = place[providers[i]][1] + place[exchanges[j]][1] >= 0
        nx.draw_networkx_edges(
            graph,
            place,
            [(providers[i], exchanges[j])],
            ax=axis,
            edge_color="tab:blue",
            arrows=True,
            arrowstyle="-",
            connectionstyle=f"arc3,rad={-0.32 if above else 0.32}",
        )
    size = 300.0 if few else 12.0
    colours = {name: f"C{1 + s}" for name, s in zip(takers, taker_supertype, strict=True)}
    for names, area, colour in (
        (providers, 520.0, "tab:blue"),
        (takers, size, [colours[name] for name in takers]),
        (exchanges, 520.0, "0.6"),
    ):
        nx.draw_networkx_nodes(graph, place, names, ax=axis, node_size=area, node_color=colour)
    named = {name: name for name in [*providers, *exchanges, *(takers if few else [])]}
    nx.draw_networkx_labels(graph, place, named, ax=axis, font_size=8, font_color="w")
    axis.set_title(
        "Connections of one episode: providers P, takers T by supertype, exchanges\n(arcs: where providers hedge)"
    )
    axis.margins(0.05, 0.16)
    axis.axis("off")
    return figure


def deviation_curves(certificate: Certificate) -> Figure:
    """What the certificate's deviators gained on validation episodes while they were trained, one panel per agent."""
    trained = [entry for entry in certificate.entries if entry.curves]
    figure, axes = new_figure(columns=len(trained), width=3.6)
    for axis, entry in zip(axes, trained, strict=True):
        for name, curve in entry.curves.items():
            updates, gain = [p.updates for p in curve], np.asarray([p.gain for p in curve])
            half = 1.96 * np.asarray([p.standard_error for p in curve])
            (line,) = axis.plot(updates, gain, label=f"{name} deviator")
            band(axis, updates, gain - half, gain + half, colour=line.get_color())
        axis.axhline(0.0, color="0.4", ls="--", lw=1)
        label(axis, x=("deviator's updates", ""), y=("gain over the profile", "episode reward"), title=entry.label)
    legends(*axes)
    return figure


def _interval(values: Float[np.ndarray, "episodes columns"]) -> tuple[np.ndarray, np.ndarray]:
    return values.mean(axis=0), 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _spread(count: int) -> Float[np.ndarray, " nodes"]:
    return np.linspace(1, -1, count) if count > 1 else np.zeros(1)
