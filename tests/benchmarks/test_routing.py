"""The benchmark of routing, cut short: both sides find the same costs."""

from diffgames.benchmarks import routing
from diffgames.energy.payment_graph import scale_free_graph


def test_both_sides_are_timed_and_agree(monkeypatch):
    monkeypatch.setattr(routing, "scale_free_graph", lambda *_: scale_free_graph(300, 3, 0))
    found = routing.run(queries=5)
    assert found["largest_difference"] < 1e-12 and found["directions"] > 1000
    assert min(found["median_ms"], found["p95_ms"], found["scipy_median_ms"], found["preparing_ms"]) > 0
