"""Benchmarks: side by side with a peer or a twin, in one process, told as ratios.

`BENCHMARKS` holds one line per benchmark, name → module, imported when asked for. A benchmark module offers
`run() -> dict` of numbers, and of one level of {label: number}, JSON-able; keys say their unit.
"""

BENCHMARKS: dict[str, str] = {
    "otc-rollout": "diffgames.benchmarks.otc_rollout",
    "order-book": "diffgames.benchmarks.order_book",
}
"""Every benchmark: name → module with `run() -> dict`."""
