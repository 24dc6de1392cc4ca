"""The QuantEcon benchmark on a few games: both sides must come to the same gains."""

import pytest

from diffgames.benchmarks import quantecon_nnash


@pytest.mark.slow
def test_both_sides_agree():
    pytest.importorskip("quantecon")
    found = quantecon_nnash.run(games=20, sample=3)
    assert float(found["largest_difference"]) < 1e-6
