"""Settings by role: read and bounded like those of all roles, carried to PPO and the networks, slips named."""

import jax
import pytest

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
