"""Parameters that share an axis: the words of their shapes are true, and one message names all that go together."""

import pytest

from diffgames.cli import main
from diffgames.studies import STUDIES, find_study
from diffgames.studies.axes import axis_lengths, disagreements
from diffgames.studies.parameters import build_config


@pytest.mark.parametrize(
    ("shape", "value", "lengths"),
    [
        ("regimes (× n × k)", (1.0, 2.0, 3.0), {"regimes": 3, "n": 1, "k": 1}),
        ("regimes (× n × k)", (((1.0, 2.0),), ((3.0, 4.0),)), {"regimes": 2, "n": 1, "k": 2}),
        ("n0 × k0", 2.0, {"n0": 1, "k0": 1}),
        ("regimes or scalar", 2.0, {}),
        ("regimes or scalar", (2.0, 3.0), {"regimes": 2}),
        ("assets, or times x assets", (0.1, 0.2), {"assets": 2}),
        ("assets, or times x assets", ((0.1, 0.2),), {"times": 1, "assets": 2}),
        ("provider supertypes", ((0.0, 2.0), 0.5), {"provider supertypes": 2}),
        ("steps + 1", (1.0, 2.0), {}),
        ("players x players", None, {}),
        ("2", (0.5, 1.5), {}),
    ],
)
def test_lengths_are_read_by_the_words_of_the_shape(shape, value, lengths):
    assert axis_lengths(shape, value) == lengths


@pytest.mark.parametrize("name", STUDIES)
def test_the_presets_of_every_study_agree_along_every_axis(name):
    study = find_study(name)
    for preset in study.presets:
        assert disagreements(study, build_config(study, preset, {})[0]) == {}


@pytest.mark.parametrize(
    ("study", "setting", "named"),
    [
        ("regime-lq", "A=[0.1]", "regimes: A has 1, but B 3, D 3, Q 3, R 3, S 3, Q_T 3, noise 3, jump_rate 3"),
        ("typed-lq", "share=[1.0]", "types: share has 1, but a 2, b 2, kappa 2"),
        ("market-maker", "generator=[[0]]", "regimes: generator has 1, but A 3, sigma 3, attack 3, stabilize 3"),
        ("crowd-flocking", "targets=[[1,0],[0,1]]", "players: targets has 2, but rates 4"),
    ],
)
def test_a_slip_names_every_parameter_that_must_change_too(study, setting, named, capsys, tmp_path):
    assert main(["run", study, "--out", str(tmp_path / "out"), "--set", setting]) == 2
    told = capsys.readouterr().err
    assert named in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()
