"""Names of players and roles are checked before anything is computed: afterwards a figure or a file would fail."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.markov import AbstractMarkovGame, Continuous, Role
from diffgames.games.names import check_names
from diffgames.games.plain import nash_game
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.train import start

WRONG = (("buy/sell",), ("A$^$B",), ("",), ("a", "a"), ("x" * 300,), (" a",), ("a\nb",), ("..",), ("a\\b",), (3,), ())
IDS = ("slash", "formula", "empty", "twice", "long", "blank", "lines", "dots", "backslash", "number", "none")


@pytest.mark.parametrize("names", WRONG, ids=IDS)
def test_what_no_file_or_figure_can_bear_is_refused(names):
    with pytest.raises(InvalidInput, match="names that differ, each of 1 to 50") as refused:
        check_names("players", names)
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


def test_ordinary_names_are_taken():
    check_names("players", ("player 1", "market-maker", "Käufer_2", "σ's bank", "A^B", "x" * 50))


@pytest.mark.parametrize("name", ["buy/sell", "A$^$B"])
def test_both_kinds_of_games_ask_for_names(name):
    with pytest.raises(InvalidInput, match="names that differ"):
        nash_game(A=1.0, B=[1.0, 1.0], Q=[1.0, 1.0], R=[1.0, 1.0], horizon=1.0, names=("a", name))
    with pytest.raises(InvalidInput, match="names that differ"):
        DifferentialGame(
            players=(name,),
            control_sizes=(1,),
            drift=lambda t, x, u, i: u[0],
            diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
            running_cost=lambda t, x, u, i: u[0] ** 2,
            terminal_cost=lambda x, i: x**2,
            initial=PointLaw(jnp.zeros(1)),
            horizon=1.0,
        )


class Named(AbstractMarkovGame):
    """One agent of a role of any name."""

    name: str = eqx.field(static=True)

    @property
    def roles(self):
        return (Role(self.name, 1, ("time",), Continuous(("a",), (-1.0,), (1.0,))),)

    @property
    def horizon(self):
        return 2

    def reset(self, key):
        return jnp.int32(0)

    def observe(self, state, actions, role):
        return jnp.zeros((1, 1))

    def step(self, state, actions, key):
        return state + 1, {self.name: -(actions[self.name][:, 0] ** 2)}, {}


@pytest.mark.parametrize("name", ["buy/sell", "A$^$B"])
def test_a_role_is_refused_before_it_learns(name, tmp_path, capsys):
    with pytest.raises(InvalidInput, match="names that differ"):
        start(Named(name), {}, PPOConfig(), jax.random.key(0), 1, (name,))
    file = tmp_path / "named.py"
    file.write_text(f"import sys\nGAME = sys.modules[{__name__!r}].Named({name!r})\n")
    assert main(["run", f"{file}:GAME", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert name in told and told.count("\n") == 1 and not (tmp_path / "out").exists()
