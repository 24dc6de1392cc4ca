"""The ergodic study: closed forms at the default grid, its certificate, and wrong profiles that it catches."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.studies.mean_field_ergodic import ErgodicConfig, cells_of, certify, slope_of


def test_a_run_has_the_digits_of_the_closed_form_and_is_verified(tmp_path):
    assert main(["run", "mean-field-ergodic", "--out", str(tmp_path / "run")]) == 0
    headline = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    assert headline["slope"] == pytest.approx(0.4142135624, abs=1e-4)
    assert headline["variance"] == pytest.approx(1.2071067812, abs=1e-4)
    assert headline["lambda"] == pytest.approx(-0.8059449552, abs=1e-4)
    assert 0 <= headline["exploitability"] < 1e-4 and headline["mass_error"] < 1e-13
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.slow
def test_little_noise_comes_near_the_limit_without(tmp_path):
    options = ["--set", "coupling=linear", "sigma=0.1", "points=300"]
    assert main(["run", "mean-field-ergodic", "--out", str(tmp_path / "run"), *options]) == 0
    headline = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    assert headline["lambda"] == pytest.approx(0.6551853485, abs=1e-3)
    assert headline["exploitability"] < 1e-3


@pytest.mark.parametrize("factor", [1.1, 0.9, -1.0, 0.0])
def test_wrong_feedback_is_caught(factor):
    config = ErgodicConfig(points=200)
    x, a = cells_of(config).points()[0], slope_of(config)
    mass = np.exp(-(x**2) * a)
    stored = {"control": -a * x, "mass": mass / mass.sum()}
    right = certify(config, stored)
    wrong = certify(config, stored | {"control": -factor * a * x})
    assert right.gap < 1e-5
    # the mean cost of −bx against the equilibrium's field ½a²x² is convex in b: (b − a)² σ²/4b for b > 0
    if factor > 0:
        assert wrong.gap == pytest.approx((factor - 1) ** 2 * a / (4 * factor), rel=0.01)
    assert wrong.gap > 100 * right.gap
    assert min(wrong.checks["distance of the law from its policy, W1"], 1.0) > 1e-2


def test_the_closed_form_holds_at_any_size_of_the_coupling():
    """a = k/(r + √(r² + k)) with r = g/σ²; the difference of large numbers would be zero."""
    assert slope_of(ErgodicConfig(g=1e16)) == pytest.approx(0.5e-16, rel=1e-12)
    assert slope_of(ErgodicConfig(g=1.0)) == pytest.approx(np.sqrt(2) - 1, rel=1e-14)
    assert slope_of(ErgodicConfig(g=-1.0)) == pytest.approx(np.sqrt(2) + 1, rel=1e-14)
