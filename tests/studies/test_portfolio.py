"""The portfolio study: coefficients over time, and what does not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.studies.portfolio import PortfolioConfig, game_of

CONSTANT = PortfolioConfig()
FLAT = replace(CONSTANT, b=((0.06, 0.04),) * 3, Sigma=(((0.04, 0.01), (0.01, 0.09)),) * 2, r=(0.02, 0.02))


def test_a_flat_table_is_the_constant_and_a_rising_one_is_not():
    """z depends on preferences alone, the value on ∫ ϑ."""
    one, flat, rising = (
        game_of(config).equilibrium() for config in (CONSTANT, FLAT, replace(CONSTANT, b=((0.06, 0.04), (0.12, 0.08))))
    )
    np.testing.assert_allclose(flat.value(), one.value(), rtol=1e-12)
    np.testing.assert_allclose(rising.z, one.z, rtol=1e-14)
    assert np.all(rising.value() > one.value())


@pytest.mark.slow
def test_a_table_goes_through_the_whole_study(tmp_path):
    settings = ["b=[[0.06,0.04],[0.12,0.08]]", "deviator_updates=2", "certificate_paths=50", "steps=4"]
    assert main(["run", "portfolio", "--out", str(tmp_path / "run"), "--set", *settings]) == 0
    headline = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    rising = game_of(replace(CONSTANT, b=((0.06, 0.04), (0.12, 0.08)))).equilibrium()
    np.testing.assert_allclose(headline["value"], rising.value(), rtol=1e-12)


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("b=[[0.06,0.04],[0.06]]", "b"),
        ("b=[]", "b"),
        ("Sigma=[[0.04,0.01],[0.01]]", "Sigma"),
        ("Sigma=[[[0.04,0.01],[0.01,0.09]],[[0.04,0.2],[0.2,0.09]]]", "Sigma"),
        ("r=[]", "r"),
        ("theta=[0.1,0.2]", "theta"),
        ('jumps=[{"rate":1}]', "jumps"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, capsys, setting, key):
    assert main(["run", "portfolio", "--out", str(tmp_path / "run"), "--set", setting]) == 2
    assert f"diffgames: {key}:" in capsys.readouterr().err
