"""Corollary 6.1 on trees and lattices: predicted exponents where N reaches, and the logarithmic constant."""

import dataclasses

import numpy as np
import pytest

from diffgames.games import networks
from diffgames.progress import Progress
from diffgames.studies.alpha_decay import STUDY, DecayConfig, adjacency, predicted, run, weights_of
from diffgames.studies.context import CheckpointStore, RunContext


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    context = RunContext(
        seed=0, folder=folder, progress=Progress(quiet=True), checkpoint=CheckpointStore(folder), log=print
    )
    config = DecayConfig(players=(127, 255, 511, 1023), search_up_to=0, draws=3)
    return run(config, context).headline


def test_fitted_exponents_are_near_the_predicted(found):
    for name in ("rho=0.3", "rho=0.5", "rho=0.8"):
        assert found["exponent_fitted"][name] == pytest.approx(found["exponent_predicted"][name], abs=0.2), name


def test_the_logarithmic_constant_falls_towards_its_limit(found):
    for name, values in found["log_constant"].items():
        assert np.all(np.asarray(values) > found["log_limit"][name])
        assert values[-1] < values[0]


def test_the_corollary_on_a_tree_by_counting():
    """A symmetric network has no imbalance; one scale per player gives exactly Σ_j |w_i − w_j| ρ^dist."""
    config = DecayConfig(arity=3)
    distance = networks.distances(adjacency(config, 40))
    assert distance.max() == 6 and distance[0].max() == 3
    weights = weights_of(config, "exponential", 0.5, distance)
    scales = weights[:, 0][1:] / 0.5 ** distance[1:, 0]
    pair = abs(scales[3] - scales[7]) * 0.5 ** distance[4, 8]
    assert abs(weights[4, 8] - weights[8, 4]) == pytest.approx(pair)
    assert predicted(config, "exponential", 1 / 3) == (-1.0, 1.0)
    assert predicted(config, "exponential", 0.5)[0] == pytest.approx(np.log(0.5) / np.log(3))
    lattice = dataclasses.replace(config, graph="lattice")
    assert predicted(lattice, "polynomial", 1.0) == (-0.5, 0.0) and STUDY.config is DecayConfig
