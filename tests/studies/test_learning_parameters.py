"""Settings by role: read and bounded like those of all roles, carried to PPO and the networks, slips named."""

import json
from pathlib import Path

import jax
import pytest

from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.studies.certificate_parameters import CertificateParameters
from diffgames.studies.learning_parameters import new_profile, ppo_config, ppo_configs
from toy_games import Duopoly

ROLES = tuple(role.name for role in Duopoly().roles)


def test_what_a_role_is_given_takes_the_place_of_what_holds_for_all():
    first, second = ROLES
    given = {f"{first}.learning_rate": "1e-2", f"{first}.width": "8", f"{second}.discount": "0.9"}
    parameters = CertificateParameters(width=16, ppo=given)
    configs = ppo_configs(parameters, Duopoly())
    assert (configs[first].learning_rate, configs[second].learning_rate) == (1e-2, parameters.learning_rate)
    assert (configs[first].discount, configs[second].discount) == (1.0, 0.9)
    profile = new_profile(parameters, Duopoly(), jax.random.key(0))
    assert [profile[role].second.shape[-1] for role in ROLES] == [8, 16]
    plain = ppo_configs(CertificateParameters(), Duopoly())
    assert set(plain.values()) == {ppo_config(CertificateParameters())}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nobody.width", "8"),
        (f"{ROLES[0]}.episodes", "8"),
        (f"{ROLES[0]}.learning_rate", "-1"),
        (f"{ROLES[0]}.learning_rate", "fast"),
        (f"{ROLES[0]}.clip", "2"),
        (ROLES[0], "8"),
    ],
)
def test_a_slip_is_named(key, value):
    with pytest.raises(InvalidInput, match=rf"ppo\.{key}"):
        ppo_configs(CertificateParameters(ppo={key: value}), Duopoly())


TINY = ["updates=4", "episodes=8", "steps=20", "width=16", "passes=2", "evaluation_episodes=10", "deviator_updates=1"]
TINY += ["validation_episodes=4", "certificate_episodes=8"]


@pytest.mark.slow
def test_markets_of_several_seeds_learn_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "otc-market", "--seeds", "2", "--out", "both", "--set", *TINY]) == 0
    assert "learning 2 seeds" in capsys.readouterr().err
    both, *each = (json.loads(Path("both", name, "result.json").read_text()) for name in ("", "seed0", "seed1"))
    for role, mean in both["headline"]["reward_last"].items():
        values = [run["headline"]["reward_last"][role] for run in each]
        assert values[0] != values[1] and mean == pytest.approx(sum(values) / 2)
    assert each[0]["certificate"]["entries"].keys() == each[1]["certificate"]["entries"].keys()
    assert {path.name for path in Path("both/seed1/figures").iterdir()} >= {"learning.png", "market_day.png"}
