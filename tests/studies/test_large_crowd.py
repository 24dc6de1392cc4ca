"""Thousands of players: approximate sums reach the equilibrium of exact ones, and a sample certifies it."""

import dataclasses

import jax
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.progress import Progress
from diffgames.solvers.policies import local_gains
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.large_crowd import LargeCrowdConfig, certify, game_of, patience, run, verify

SMALL = LargeCrowdConfig(
    players=96, steps=10, epochs=6, knots=5, evaluation_paths=40, sample=3, deviator_updates=40, certificate_paths=200
)


@pytest.fixture
def context(tmp_path):
    return RunContext(
        seed=0, folder=tmp_path, progress=Progress(quiet=True), checkpoint=CheckpointStore(tmp_path), log=print
    )


@pytest.mark.slow
def test_ways_to_sum_over_pairs_lead_to_the_same_crowd(context, tmp_path):
    """On the same seed the three ways differ by what learning leaves: under half a per cent of the potential."""
    found = {}
    for sums in ("pairs", "batches", "fourier"):
        lent = dataclasses.replace(context, checkpoint=CheckpointStore(tmp_path / sums))
        found[sums] = run(dataclasses.replace(SMALL, sums=sums), lent).headline
    values = [row["potential"] for row in found.values()]
    assert max(values) < 1.005 * min(values)
    assert found["pairs"]["felt_error"] < 1e-5 < found["fourier"]["felt_error"]
    assert all(max(row["gap_per_player"]) < 0.02 * values[0] / SMALL.players for row in found.values())


def test_the_certificate_catches_a_crowd_that_stands_still_and_is_recomputed_from_the_stored_profile(context):
    """Whoever does nothing pays ½ w (|d − x|² + noise) and would gain nearly all of it by going."""
    game = game_of(SMALL, jax.random.split(context.key, 5)[0])
    still = local_gains(game, knots=SMALL.knots, patience=patience(SMALL), grade=1.0)
    found = certify(SMALL, context, game, still, jax.random.split(context.key, 5)[-1])
    distance = np.linalg.norm(np.asarray(SMALL.targets) - np.asarray(SMALL.starts), axis=1)
    alone = 0.5 * SMALL.terminal_weight * distance[0] ** 2
    assert len(found.significant) == SMALL.sample
    assert all(entry.lower > 0.5 * alone for entry in found.entries)
    again = verify(SMALL, {"policy": still}, context)
    assert [entry.gain for entry in again.entries] == [entry.gain for entry in found.entries]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"group": 7}, "group"),
        ({"sums": "fourier", "kernel": "quadratic"}, "interaction"),
        ({"targets": ((0.0, 1.0),)}, "targets"),
        ({"targets": ((0.0,), (1.0,), (2.0,), (3.0,))}, "targets"),
        ({"sample": 97}, "sample"),
        ({"kernel": "indicator", "radius": 0.1, "smoothing": 0.2}, "smoothing"),
    ],
)
def test_bad_input_is_named_before_anything_runs(changes, key, context):
    with pytest.raises(InvalidInput) as caught:
        run(dataclasses.replace(SMALL, **changes), context)
    assert caught.value.key == key


@pytest.mark.slow
def test_birds_that_steer_their_velocities(context):
    """Cucker–Smale on positions and velocities: nobody gains much by flying alone."""
    config = dataclasses.replace(SMALL, kernel="cucker-smale", kernel_height=1.0, players=24, group=4, steps=16)
    found = run(config, context)
    assert found.headline["mean_positions"].shape == (4, 3, 2)
    assert max(found.headline["gap_per_player"]) < 0.02 * found.headline["potential"] / config.players
