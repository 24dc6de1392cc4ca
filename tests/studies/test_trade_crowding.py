"""The study of traders who liquidate together: what it prints, a planted schedule that is caught, wrong types."""

import json

import jax
import numpy as np
import pytest

from diffgames.cli import main
from diffgames.progress import Progress
from diffgames.solvers.mean_field_newton import solve_mean_field
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.trade_crowding import CrowdingConfig, cells_of, crowd_of, verify

SMALL = ["points=64", "steps=40", "deviator_updates=0"]


@pytest.mark.slow
def test_a_small_run_stands_beside_the_published_numbers_and_is_verified(tmp_path):
    assert main(["run", "trade-crowding", "--out", str(tmp_path / "run"), "--set", *SMALL]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    headline = result["headline"]
    assert headline["first_speed"][0] == pytest.approx(result["published"]["first_speed[0]"], rel=1e-8)
    assert headline["cost"] < headline["cost_alone"] and headline["price_of_anarchy"] > 1.05
    assert headline["mean_error"] < 0.1 and 0 <= headline["exploitability"] < 0.1
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_the_schedule_of_one_alone_is_caught(tmp_path):
    """A crowd on Almgren and Chriss's schedule, with the law that follows from it: the best reply's gain is known."""
    config = CrowdingConfig(points=96, steps=96, deviator_updates=0)
    crowd = crowd_of(config)
    still = crowd_of(CrowdingConfig(points=96, steps=96, deviator_updates=0, alpha=0.0))
    with jax.enable_x64(True):
        played = solve_mean_field(still.game(), cells_of(config, crowd), config.steps, differences="central")
    store = CheckpointStore(tmp_path)
    context = RunContext(seed=0, folder=tmp_path, progress=Progress(quiet=True), checkpoint=store, log=print)
    found = verify(config, {"mass": played.mass, "control": played.control}, context)
    gain = crowd.costs("alone", "alone") - _reply_cost(crowd)
    assert found.exact is not None
    assert found.exact.gap == pytest.approx(gain[0], rel=0.1)


def _reply_cost(crowd):
    """What the best reply to a crowd on the schedule of α = 0 costs: its mean solves the linear problem by shooting."""
    times = np.linspace(0.0, crowd.horizon, 20001)
    dt = times[1]
    push = crowd.alpha * crowd.means(times, "alone")[1] @ crowd.share
    pull = crowd.curvature(times)[:, 0]
    linear = np.zeros_like(times)  # −g' = −α μ − g h/κ, g(T) = 0, in the value h q² + g q
    for i in range(len(times) - 1, 0, -1):
        linear[i - 1] = linear[i] + dt * (-push[i] - linear[i] * pull[i] / crowd.kappa[0])
    mean, cost = crowd.mean0[0], 0.0
    for i in range(len(times) - 1):
        speed = -(2.0 * pull[i] * mean + linear[i]) / (2.0 * crowd.kappa[0])
        cost += dt * (crowd.kappa[0] * speed**2 + crowd.phi[0] * mean**2 - push[i] * mean)
        mean += dt * speed
    spread = crowd.costs("alone", "alone")[0] - _mean_cost(crowd, times, push)
    return cost + crowd.A[0] * mean**2 + spread


def _mean_cost(crowd, times, push):
    mean, speed = (one[:, 0] for one in crowd.means(times, "alone"))
    running = crowd.kappa[0] * speed**2 + crowd.phi[0] * mean**2 - push * mean
    return np.trapezoid(running, times) + crowd.A[0] * mean[-1] ** 2


def test_types_of_another_number_are_told_with_what_must_change(tmp_path, capsys):
    assert main(["run", "trade-crowding", "--out", str(tmp_path / "slip"), "--set", "share=[0.5,0.5]"]) == 2
    assert "kappa 1" in capsys.readouterr().err and not (tmp_path / "slip").exists()
