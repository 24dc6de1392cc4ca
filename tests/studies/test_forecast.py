"""The study `forecast` on its synthetic record, and its slips."""

import pytest

from diffgames.cli import main
from diffgames.execution import run_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    settings = {"trees": 10, "updates": 100, "operator": "load_tso_da", "members": 20}
    return run_study("forecast", settings=settings, out=str(tmp_path_factory.mktemp("run") / "out"))


def test_it_beats_the_week_ago_and_covers_what_it_says(finished):
    found = finished.headline
    assert found["crps"] < found["crps_gaussian"] < 0.5 * found["crps_naive"]
    assert found["dm_statistic"] < 0 < found["dm_p"] < 1 and len(found["dm_p_hours"]) == 24
    assert 0.87 < found["coverage"] < 0.93 and 0.03 < found["violations"] < 0.07
    assert found["variogram_score"] < found["variogram_score_apart"]
    assert found["energy_score"] < found["energy_score_apart"]
    assert found["error"] < found["error_operator"] < found["error_naive"]


def test_slips_are_told(tmp_path, capsys):
    for setting in ("target=laod", "operator=tso", "zone=Atlantis", "members=1"):
        assert main(["run", "forecast", "--out", str(tmp_path / "no"), "--set", setting]) == 2
        assert f"{setting.partition('=')[0]}: " in capsys.readouterr().err
