"""The benchmark of the order book, cut short: it compares fills with the twin and tells its figures."""

import numpy as np
import pytest

from diffgames.benchmarks import order_book


@pytest.mark.slow
def test_it_measures_every_number_of_books_and_finds_the_twins_fills(monkeypatch):
    monkeypatch.setattr(order_book, "LENGTHS", {1: 400, 3: 100})
    figures = order_book.run()
    for name, value in figures.items():
        if isinstance(value, dict):
            assert set(value) == {"1_books", "3_books"} and all(rate > 0 for rate in value.values()), name
    assert figures["bytes_per_book"] == 2 * 64 * 4 * 4 + 4


def test_the_stream_reaches_fills_and_cancellations():
    drawn = order_book.draw_messages(2_000, 1)
    (rate, _), filled = order_book.plain_messages_per_second(drawn)
    assert rate > 0 and filled > 1_000
    assert np.unique(drawn["kind"]).tolist() == [1, 2, 3]
