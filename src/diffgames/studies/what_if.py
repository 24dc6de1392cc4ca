"""What the learned policies do in other markets: `diffgames what-if RUN --grid KEY=V1,V2,… --out DIR`.

Every point of the grid (all combinations where several parameters are given) is the market of the run with those
parameters set; the run's policies play it frozen, on the random numbers of the run's own evaluation, so that a point
at the run's own values repeats its headline and points differ by the parameters alone. Nothing is learned again: an
answer is what these policies do, not the equilibrium of the other market.

Measured is the first provider. Beside each number stand the half-width of its 95% interval (`_error`), its change
from the first point of the grid (`_change`), and the half-width of that (`_change_error`), which is paired: the
jackknife leaves out the same episodes at both points, one of up to `GROUPS` groups of them at a time.
"""

import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from scipy.stats import t as student

from diffgames.errors import InvalidInput
from diffgames.input_files import check_inputs, located
from diffgames.markets.market_state import StepRecord
from diffgames.progress import Progress
from diffgames.records import Run
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.otc_market import STUDY, measurements, play
from diffgames.studies.parameters import build_config, text_values

GROUPS = 20
MEASURES = ("mean_abs_inventory", "skew_intensity", "hedge_fraction", "holding_time", "market_share", "pnl")


def parse_grid(words: Sequence[str]) -> dict[str, list[Any]]:
    """`KEY=V1,V2,…` as {KEY: [V1, V2, …]}, values JSON where they parse."""
    grid: dict[str, list[Any]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals or not text or key in grid:
            raise InvalidInput("--grid", word, "KEY=V1,V2,… with every key once")
        try:
            grid[key] = json.loads(f"[{text}]")
        except ValueError:
            grid[key] = text.split(",")
    return grid


def what_if(run: Run, grid: Mapping[str, Sequence[Any]], out: str | Path, quiet: bool = False) -> Path:
    """Play the run's policies at every point of the grid and write the new folder's `table.csv`; returns its path.

    A number for a parameter that is a list sets its first entry, the supertype of the first provider or taker. Raises
    `InvalidInput` where the run is no finished single-seed `otc-market`, a parameter or value is unknown, the policies
    cannot play a market, or `out` exists.
    """
    folder = Path(out)
    if folder.exists() or folder.is_symlink():
        raise InvalidInput("--out", str(folder), "a folder that does not exist yet")
    run.finished()
    if run.config.get("target") != STUDY.name or run.config.get("seeds", 1) != 1:
        raise InvalidInput("run", str(run.folder), f"a run of {STUDY.name} with one seed")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    configs = [_config(run, point) for point in points]
    rows: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as scratch, Progress(quiet=quiet) as progress:
        store = CheckpointStore(Path(scratch) / "checkpoints")
        context = RunContext(run.config["seed"], Path(scratch), progress, store, lambda text: None)
        for place, config in enumerate(configs):
            rows.append(replicates(play(config, context)))
            progress.update("points played", (place + 1) / len(points))
    table = pd.DataFrame([{**point, **_numbers(row, rows[0])} for point, row in zip(points, rows, strict=True)])
    folder.mkdir(parents=True)
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def replicates(record: StepRecord) -> np.ndarray:
    """Every measure on all episodes, then with each group of episodes left out, [1 + groups, measures]."""
    record = jax.tree.map(np.asarray, record)
    episodes = np.arange(record.price.shape[1])
    groups = np.array_split(episodes, min(GROUPS, len(episodes)))
    kept = [episodes, *(np.setdiff1d(episodes, group) for group in groups)] if len(groups) > 2 else [episodes]
    return np.array([_measured(jax.tree.map(lambda leaf, of=of: leaf[:, of], record)) for of in kept])


def _measured(record: StepRecord) -> list[float]:
    found = measurements(record)
    found |= {
        "market_share": found["market_share"][0],
        "pnl": found["pnl_spread"] + found["pnl_inventory"] + found["pnl_penalty"],
    }
    return [float("nan") if found[name] is None else float(found[name]) for name in MEASURES]


def _numbers(row: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """The columns of one point: values, changes from the first point, half-widths of both."""
    change = row - first if len(row) == len(first) else row[:1] - first[:1]
    columns: dict[str, float] = {}
    for place, name in enumerate(MEASURES):
        columns |= {name: row[0, place], f"{name}_error": half_width(row[1:, place])}
        columns |= {f"{name}_change": change[0, place], f"{name}_change_error": half_width(change[1:, place])}
    return columns


def half_width(left_out: np.ndarray) -> float:
    """Half-width of the 95% interval of the jackknife; NaN of fewer than three groups."""
    number = len(left_out)
    if number < 3:
        return float("nan")
    return float(student.ppf(0.975, number - 1) * np.sqrt((number - 1) * np.var(left_out)))


def _config(run: Run, point: Mapping[str, Any]) -> Any:
    """The run's parameters with those of a point, and the run's own profile as the one that plays."""
    check_inputs(run.config, text_values(build_config(STUDY, run.config["preset"], run.parameters)[0]))
    parameters = located(run.parameters, run.config.get("inputs", {}))
    own, _ = build_config(STUDY, run.config["preset"], parameters)
    settings: dict[str, Any] = {}
    for key, value in point.items():
        now = getattr(own, key, None)
        whole = isinstance(now, tuple) and isinstance(value, int | float)
        settings[key] = [value, *json.loads(json.dumps(now))[1:]] if whole else value
    return build_config(STUDY, run.config["preset"], {**parameters, **settings, "profile": str(run.folder)})[0]
