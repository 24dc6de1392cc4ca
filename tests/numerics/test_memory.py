"""What no memory holds is refused with its size in GB, before it is asked for."""

import math

import numpy as np
import pytest

from diffgames import solve
from diffgames.errors import InvalidInput
from diffgames.games.plain import nash_game, regulator
from diffgames.numerics import memory


def players(count, horizon=1.0):
    return nash_game(
        A=np.zeros((count, count)),
        B=list(np.eye(count)[:, :, None]),
        Q=[np.eye(count)] * count,
        R=[1.0] * count,
        horizon=horizon,
    )


def test_many_players_are_refused_with_the_figure(monkeypatch):
    """Eight players with a state each hold 257 · (2 · 8 · 9² + 4 · 8 · 17) + 8³ numbers of 8 bytes: 3.8 MB."""
    game, endless, steps = players(8), players(8, math.inf), regulator(A=1, B=1, Q=1, R=1, horizon=10**6, discrete=True)
    monkeypatch.setattr(memory, "free_memory", lambda: 1e6)
    with pytest.raises(
        InvalidInput, match=r"257 times of 8 players, 8 states, 1 regimes need 3.79 MB, and 1 MB are free"
    ):
        solve(game)
    with pytest.raises(InvalidInput, match=r"Newton's matrix .* need 1.04 MB"):
        solve(endless)  # (8 · 45)² + 8³ numbers
    with pytest.raises(InvalidInput, match=r"^horizon: 1000000 .* need 160 MB"):
        solve(steps)  # 2 · 2² + 4 · (2 + 1) numbers a step
    with pytest.raises(InvalidInput, match=r"^B: '60 players' .* need"):
        players(60)


def test_free_memory_is_a_number_and_told_with_three_digits():
    assert memory.free_memory() > 1e8
    assert [memory.in_words(size) for size in (12.0, 41.23e9, 2e18)] == ["12 bytes", "41.2 GB", "2e+03 PB"]


def test_cached_files_of_a_container_are_free(tmp_path):
    for name, text in (
        ("max", "8000"),
        ("current", "7900"),
        ("stat", "anon 400\nactive_file 3000\ninactive_file 4500"),
    ):
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    assert memory._contained(tmp_path) == 7600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._contained(tmp_path) is None
