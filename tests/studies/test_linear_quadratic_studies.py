"""The linear-quadratic studies from the command line: numbers, certificates, and how a run past an escape ends."""

import json

import pytest

from diffgames.cli import main


def result(folder, *words) -> tuple[int, dict]:
    code = main(["run", *words, "--out", str(folder)])
    return code, json.loads((folder / "result.json").read_text())


def test_discrete_stackelberg_with_vectors(tmp_path):
    """Two copies of the scalar example side by side have its numbers on the diagonal."""
    pair = {name: [[value, 0.0], [0.0, value]] for name, value in {"A0": 0.9, "A": 0.5, "F": 0.2}.items()}
    others = {"B0": 2, "F0": 0.5, "B": 1, "D": 1, "G": 0.4, "Gamma0": 0.8, "Gamma1": 0.3, "Gamma2": 0.5, "Q": 2}
    others |= {"Q0": 1, "R": 1, "R0": 0.5, "R1": 1, "R2": 0.5, "sigma0": 0.1, "sigma": 0.1}
    pair |= {name: [[value, 0.0], [0.0, value]] for name, value in others.items()}
    words = [f"{name}={json.dumps(value)}" for name, value in pair.items()]
    common = ["T=3", "paths=16", "finite_n=[4,8]"]
    code, wide = result(tmp_path / "wide", "stackelberg-discrete", "--set", *words, *common)
    assert code == 0
    code, one = result(tmp_path / "one", "stackelberg-discrete", "--set", "A0=0.9", *common)
    assert code == 0 and "escape_time" not in one["headline"]
    for key in ("P0", "P12", "K10", "K2"):
        assert wide["headline"][key][1][1] == pytest.approx(one["headline"][key], abs=1e-10)
        assert wide["headline"][key][0][1] == pytest.approx(0.0, abs=1e-10)
    gaps = one["headline"]["finite_n_gap"]
    assert gaps[0] > gaps[1] > 0
    assert max(entry["gap"] for entry in one["certificate"]["entries"].values()) < 1e-12


def test_a_horizon_past_the_escape_time_fails_with_the_time(tmp_path):
    game = ["A=[0]", "B=[1]", "D=[2]", "Q=[1]", "R=[1]", "S=[1]", "Q_T=[0]", "noise=[0]", "generator=[[0]]"]
    game += ["jump_rate=[[]]", "jump_scale=[[]]", "jump_shift=[[]]", "attack=[[0]]", "stabilize=[[0]]", "T=2"]
    code, found = result(tmp_path / "run", "regime-lq", "--set", *game)
    assert code == 1 and found["status"] == "failed"
    assert set(found["headline"]) == {"escape_time"}
    assert found["headline"]["escape_time"] == pytest.approx(0.9068996821, rel=1e-8)
    assert list((tmp_path / "run" / "figures").glob("*.png"))


def test_a_slip_is_one_line(tmp_path, capsys):
    assert main(["run", "typed-lq", "--out", str(tmp_path / "slip"), "--set", "share=[0.5,0.6]"]) == 2
    assert "share" in capsys.readouterr().err


@pytest.mark.slow
def test_the_other_studies(tmp_path):
    code, typed = result(tmp_path / "typed", "typed-lq", "--set", "reading=team")
    assert code == 0
    assert typed["headline"]["cost"] == pytest.approx([0.4881465567, 0.1445396220], abs=1e-9)
    assert typed["headline"]["mean_T"] == pytest.approx([0.2596573719, -0.2282913031], abs=1e-9)
    assert typed["headline"]["xbar_T"] == pytest.approx(0.0644779019, abs=1e-9)
    simulated, error = (typed["headline"][f"simulated_mean_cost{end}"] for end in ("", "_error"))
    assert abs(simulated - (0.6 * 0.4881465567 + 0.4 * 0.1445396220)) < 4 * error
    code, leader = result(tmp_path / "leader", "stackelberg", "--set", "paths=256", "steps=60", "finite_n=[10,20,40]")
    assert code == 0 and leader["headline"]["K10"] == pytest.approx(0.4202640562, abs=1e-9)
    assert leader["headline"]["finite_n_rate"] == pytest.approx(-2.0, abs=0.05)
    code, regimes = result(tmp_path / "regimes", "regime-lq", "--set", "switching=exogenous", "paths=4096")
    assert code == 0 and regimes["headline"]["K0"][0] == pytest.approx(0.6523905601, abs=1e-9)
    assert max(entry["gap"] for entry in regimes["certificate"]["entries"].values()) < 1e-9
    found = regimes["headline"]
    simulated, error = found["simulated_cost"], found["simulated_cost_error"]
    assert abs(simulated - sum(found["P0"] + found["r0"]) / 3) < 4 * error
