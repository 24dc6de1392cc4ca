"""Every script of examples/ runs as it stands and draws its figure."""

import runpy
from pathlib import Path

import jax
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
LONG = {"over_the_counter_market"}
EXAMPLES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
    for path in sorted(FOLDER.glob("*.py"))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_runs_and_draws(path, tmp_path, monkeypatch):
    """As a user runs it: with JAX's flag for 64 bits not set, types promoted as usual."""
    monkeypatch.chdir(tmp_path)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        runpy.run_path(str(path), run_name="__main__")
    assert (tmp_path / f"{path.stem}.png").stat().st_size > 10_000
