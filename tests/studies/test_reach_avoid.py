"""The pursuit study: a symmetric value, feedbacks that guarantee it, a finer grid that confirms it."""

import json

import numpy as np

from diffgames.cli import main

SMALL = ["points=[21,21,20]", "horizon=1.0", "starts=64", "simulation_steps=100", "high=[14,10]", "low=[-6,-10]"]


def test_the_study_runs_is_certified_and_verified(tmp_path, capsys):
    settings = [word for value in SMALL for word in ("--set", value)]
    out = tmp_path / "run"
    assert main(["run", "reach-avoid", "--out", str(out), *settings]) == 0
    result = json.loads((out / "result.json").read_text())
    headline = result["headline"]
    assert 0.2 < headline["tube_fraction"] < 0.4 and headline["isaacs_gap"] == 0.0
    assert headline["evader_deviation_gain"] < 0.1 and headline["pursuer_deviation_gain"] < 0.1
    assert abs(headline["simulated_error"]) < 0.5  # half a cell of this coarse grid
    assert headline["finer_grid_change"] < 0.2
    entries = result["certificate"]["entries"]
    assert entries.keys() == {"evader", "pursuer"} and result["certificate"]["unseen"]
    for name, entry in entries.items():  # of half the starts, against the played feedback and not against the value
        assert entry["degrees_of_freedom"] == 31 and "turning at" in entry["selected"], name
        assert entry["lower"] < 0.1
    assert main(["verify", str(out)]) == 0
    import xarray

    value = xarray.open_dataset(out / "arrays" / "value.nc")["value"].values
    mirrored = np.roll(value[:, ::-1, ::-1], 1, axis=2)  # (y, ψ) → (−y, −ψ)
    np.testing.assert_allclose(value, mirrored, atol=1e-9)


def test_axes_and_steps_that_make_no_sense_are_told(tmp_path, capsys):
    for word, told in (("points=[5,5]", "3 numbers, one for each of x, y, ψ"), ("steps=14", "explicit steps on this")):
        assert main(["run", "reach-avoid", "--out", str(tmp_path / "run"), "--set", word]) == 2
        assert told in capsys.readouterr().err
