"""Benchmarks: side by side with a peer or a twin, in one process, told as ratios.

`BENCHMARKS` holds one line per benchmark, name → module, imported when asked for. A benchmark module offers
`run() -> dict` of numbers, and of one level of {label: number}, JSON-able; keys say their unit.
"""

BENCHMARKS: dict[str, str] = {
    "market-maker-batch": "diffgames.benchmarks.market_maker_batch",
    "otc-rollout": "diffgames.benchmarks.otc_rollout",
    "otc-train": "diffgames.benchmarks.otc_train",
    "otc-passes": "diffgames.benchmarks.otc_passes",
    "riccati-batch": "diffgames.benchmarks.riccati_batch",
    "quantecon-nnash": "diffgames.benchmarks.quantecon_nnash",
    "order-book": "diffgames.benchmarks.order_book",
    "alpha-potential": "diffgames.benchmarks.alpha_potential",
    "population": "diffgames.benchmarks.population",
    "mean-field-discrete": "diffgames.benchmarks.mean_field_discrete",
    "mean-field-grid": "diffgames.benchmarks.mean_field_grid",
    "isaacs-grid": "diffgames.benchmarks.isaacs_grid",
    "routing": "diffgames.benchmarks.routing",
    "clearing": "diffgames.benchmarks.clearing",
}
"""Every benchmark: name → module with `run() -> dict`."""
