"""The study of two crowds, end to end on a small grid; shares that do not sum to one; a method that cycles."""

import json

import pytest

from diffgames.cli import main
from diffgames.studies.mean_field import STUDY, MeanFieldConfig

SMALL = ["points=16", "steps=16", "compare=2", "orders=false", "deviator_updates=4"]


@pytest.mark.slow
def test_a_small_run_is_certified_twice_and_verified(tmp_path):
    assert main(["run", "mean-field", "--out", str(tmp_path / "run"), "--set", *SMALL]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    headline = result["headline"]
    assert headline["converged"] == 1 and headline["mass_error"] < 1e-13
    assert 0 <= headline["exploitability"] < 0.01
    assert headline["exploitability"] == max(0.0, *(e["gain"] for e in result["certificate"]["entries"].values()))
    assert set(headline["compared"]) == {"newton", "picard", "fictitious", "mirror"}
    assert main(["verify", str(tmp_path / "run")]) == 0
    cycling = [*SMALL[:2], "compare=0", "orders=false", "deviator_updates=0", "method=picard", "longest=24"]
    assert main(["run", "mean-field", "--out", str(tmp_path / "other"), "--set", *cycling]) == 0
    other = json.loads((tmp_path / "other" / "result.json").read_text())
    assert other["headline"]["converged"] == 0 and "cycles" in other["warnings"][-1]
    assert other["headline"]["exploitability"] > 10 * headline["exploitability"]


def test_shares_that_do_not_sum_to_one_are_named(tmp_path, capsys):
    assert main(["run", "mean-field", "--out", str(tmp_path / "slip"), "--set", "share=[0.6,0.6]"]) == 2
    assert "share" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["[1.0]", "[0.2,0.3,0.5]"])
def test_types_of_another_number_than_their_parameters_are_told_with_what_must_change(tmp_path, capsys, share):
    assert main(["run", "mean-field", "--out", str(tmp_path / "slip"), "--set", f"share={share}"]) == 2
    said = capsys.readouterr().err
    assert "sigma 2" in said and "give them together" in said and not (tmp_path / "slip").exists()


def test_memory_grows_with_the_grid():
    assert STUDY.memory is not None
    (small,) = STUDY.memory(MeanFieldConfig(points=16)).values()
    (large,) = STUDY.memory(MeanFieldConfig(points=160)).values()
    assert large == 10 * small
