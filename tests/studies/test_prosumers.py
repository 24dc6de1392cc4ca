"""The study `prosumers`: what it prints, its certificate, its words where input is wrong."""

import json

import pytest

from diffgames.cli import main


def test_a_run_is_verified_and_orders_what_theory_orders(tmp_path, capsys):
    assert main(["run", "prosumers", "--out", str(tmp_path / "run"), "--set", "members=3"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    found = result["headline"]
    assert found["efficiency"] == pytest.approx(1.0, abs=1e-8) and found["efficiencies"]["mftg"] < 0.99
    assert 1.0 < found["price_of_anarchy"] < found["price_of_anarchy_types"]
    assert 0 <= found["exploitability"] < 1e-6
    peak = found["price_peak"]
    assert peak["mfg"] < peak["mfg without storage"] < peak["idle"]
    assert found["at_limits"]["mfg"] > 1.0
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert "the certificate is reproduced bit for bit" in capsys.readouterr().out


def test_without_batteries_the_peak_is_that_without_batteries(tmp_path):
    assert (
        main(["run", "prosumers", "--out", str(tmp_path / "run"), "--set", "members=2", "capacity=0", "power=0"]) == 0
    )
    found = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    assert found["price_peak"]["mfg"] == found["price_peak"]["mfg without storage"]
    assert found["discharged"]["mfg"] == 0.0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("share=[0.5,0.5,0.5,0.5]", "sum to one"),
        ("start=[0,7]", "battery's capacity"),
        ("day=2021-02-30", "a date like"),
        ("supply=[20,-3]", "slope"),
        ("columns={load: nothing}", "columns"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, capsys, setting, words):
    given = [setting] if not setting.startswith("columns") else [setting, f"data={tmp_path / 'hours.csv'}"]
    (tmp_path / "hours.csv").write_text("utc,load\n2021-01-01T00:00Z,20000\n")
    assert main(["run", "prosumers", "--out", str(tmp_path / "run"), "--set", *given]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") <= 2
