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
    monkeypatch.setattr(memory, "machine_memory", lambda: 1e6)
    with pytest.raises(InvalidInput, match=r"257 times of 8 players, 8 states, 1 regimes would take 0.00379 GB"):
        solve(game)
    with pytest.raises(InvalidInput, match=r"Newton's matrix .* would take 0.00104 GB"):
        solve(endless)  # (8 · 45)² + 8³ numbers
    with pytest.raises(InvalidInput, match=r"^horizon: 1000000 .* would take 0.16 GB"):
        solve(steps)  # 2 · 2² + 4 · (2 + 1) numbers a step
    with pytest.raises(InvalidInput, match=r"^B: '60 players' .* would take"):
        players(60)


def test_the_machine_says_what_it_has():
    assert memory.machine_memory() > 1e8
