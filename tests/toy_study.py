"""A small study in a file of its own, as a user would write one: gradient play on a quadratic, with checkpoints.

Used by the tests of the command line and of run folders; `diffgames run tests/toy_study.py:STUDY` runs it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from diffgames.errors import InvalidInput, RunFailed
from diffgames.plotting import label, new_figure
from diffgames.studies import Headline, Parameter, Study, StudyResult


@dataclass(frozen=True)
class Learning:
    """Settings of the inner loop."""

    rate: Annotated[float, Parameter(unit="per update", meaning="step size", minimum=0.0, plausible=(0.0, 1.0))] = 0.05


@dataclass(frozen=True)
class Config:
    """Parameters of the toy study."""

    updates: Annotated[int, Parameter(unit="updates", meaning="noisy gradient steps", minimum=1)] = 40
    pause: Annotated[float, Parameter(unit="seconds", meaning="wait after each update", minimum=0.0)] = 0.0
    target: Annotated[tuple[float, ...], Parameter(shape="players", meaning="where players want to be")] = (1.0, -1.0)
    mode: Annotated[Literal["learn", "fail", "nan", "crash"], Parameter(meaning="how the run goes")] = "learn"
    data: Annotated[str | None, Parameter(meaning="a file to read")] = None
    learning: Learning = Learning()


@jax.jit
def update(state, target, rate):
    """One noisy gradient step of every player on ½(x − target)²."""
    key, noise = jax.random.split(state["key"])
    x = state["x"]
    gradient = x - target + 0.1 * jax.random.normal(noise, x.shape, x.dtype)
    return {"key": key, "x": x - rate * gradient, "count": state["count"] + 1}


def goal(config):
    """Where the players want to be: as configured, or as the file says."""
    if config.data is None:
        return jnp.asarray(config.target, jnp.float32)
    if not Path(config.data).is_file():
        raise InvalidInput("data", config.data, "a file that exists")
    return jnp.asarray(np.loadtxt(config.data, delimiter=","), jnp.float32)


def certify(config, profile):
    """The gap of each player: what it could still gain, ½(x − target)²."""
    target = goal(config)
    return {"gap": np.asarray(0.5 * (profile["x"] - target) ** 2), "how": "closed form"}


def run(config, context):
    """Learn with a checkpoint after every update."""
    target = goal(config)
    if config.mode == "fail":
        raise RunFailed("the players do not settle", "try a smaller learning.rate")
    if config.mode == "crash":
        raise ZeroDivisionError("a mistake of the study's")
    state = {"key": context.key, "x": jnp.zeros_like(target), "count": jnp.zeros((), jnp.int32)}
    slot = context.checkpoint.slot("training")
    saved = slot.load(state)
    state = state if saved is None else saved
    while (count := int(state["count"])) < config.updates:
        state = update(state, target, jnp.asarray(config.learning.rate, jnp.float32))
        slot.save(state)
        context.progress.update("learning", (count + 1) / config.updates, distance=jnp.abs(state["x"] - target).max())
        time.sleep(config.pause)
    gap = context.stage("certificate", lambda: certify(config, state))
    figure, axes = new_figure()
    axes[0].plot(np.asarray(state["x"]))
    label(axes[0], x=("player", ""), y=("position", "metres"))
    position = np.asarray(state["x"])
    return StudyResult(
        headline={
            "position": {"first": position[0], "all": position},
            "distance": float("nan") if config.mode == "nan" else jnp.abs(state["x"] - target).max(),
            "never": None,
            "updates": int(state["count"]),
            "updates_per_second": 1.0 / (config.pause + 1.0),
        },
        certificate=gap,
        published={"distance": 0.0},
        arrays={"positions": xarray.Dataset({"position": ("player", position, {"units": "m"})})},
        profile={"x": state["x"]},
        figures={"positions": figure},
    )


STUDY = Study(
    name="toy",
    source="this test",
    shows="noisy gradient play settles near its target",
    config=Config,
    run=run,
    verify=lambda config, profile, context: certify(config, profile),
    presets={"quick": {}, "long": {"updates": 80, "learning": {"rate": 0.01}}},
    minutes={"quick": 0.1, "long": 0.2},
    headline={
        "position": Headline(shape="players", unit="metres", meaning="where the players end"),
        "distance": Headline(unit="metres", meaning="largest distance to the target"),
        "never": Headline(meaning="a value that does not exist", optional=True),
        "updates": Headline(unit="updates", meaning="updates made"),
        "updates_per_second": Headline(unit="1/s", meaning="speed", timing=True),
    },
    example="diffgames run tests/toy_study.py:STUDY --set updates=80",
)
