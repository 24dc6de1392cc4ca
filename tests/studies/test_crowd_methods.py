"""The potential needs fewer gradients to be as close to equilibrium as playing costs."""

import dataclasses

import pytest

from diffgames.errors import InvalidInput
from diffgames.progress import Progress
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.crowd_methods import METHODS, MethodsConfig, run


@pytest.fixture
def context(tmp_path):
    return RunContext(
        seed=0, folder=tmp_path, progress=Progress(quiet=True), checkpoint=CheckpointStore(tmp_path), log=print
    )


def test_one_player_is_no_game(context):
    with pytest.raises(InvalidInput, match="targets"):
        run(dataclasses.replace(MethodsConfig(), targets=((0.5, 0.0),), rates=(0.2,)), context)


@pytest.mark.slow
def test_the_potential_needs_fewest_gradients(context):
    found = run(MethodsConfig(steps=20, grade=1.5, paths=100, rounds=24, held_paths=1000, tolerance=0.15), context)
    counts = dict(zip(METHODS, found.headline["evaluations"], strict=True))
    assert counts["potential"] is not None and counts["simultaneous"] is not None
    assert counts["simultaneous"] > 1.5 * counts["potential"]
    assert counts["fictitious"] is None or counts["fictitious"] > counts["potential"]
    assert min(found.headline["lowest_excess"]) > -0.05  # nobody beats the optimum by more than chance
