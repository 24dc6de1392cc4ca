"""Sizes that no memory holds are refused before anything is allocated, by the parameters to lower."""

import math

import jax
import pytest

from diffgames.cli import main
from diffgames.games import networks
from diffgames.games.kernels import Quadratic
from diffgames.numerics import memory
from diffgames.solvers.distributed_paths import draw_noise, graded_grid
from diffgames.studies import STUDIES, find_study
from diffgames.studies.crowd_aversion import AversionConfig
from diffgames.studies.crowd_parameters import build_game, motion_memory
from diffgames.studies.parameters import build_config, fields_of

GIGABYTES = 6e9

HUGE = [
    ("systemic-risk", ["banks=10000", "paths=2", "steps=2"], "banks"),
    ("systemic-risk", ["banks=200", "steps=100000"], "paths, steps, banks"),
    ("systemic-risk", ["gap_banks=[2,100000]"], "gap_banks"),
    ("propagation-of-chaos", ["players=[10,100000000]"], "players, replications, dimensions"),
    ("propagation-of-chaos", ["law_players=[10,1000000]"], "law_players"),
    ("typed-lq", ["agents=10", "steps=100000000"], "steps"),
    ("regime-lq", ["paths=100", "steps=100000000"], "steps"),
    ("stackelberg-discrete", ["T=100000000"], "T"),
    ("crowd-flocking", ["paths=100000000"], "paths, steps"),
    ("crowd-aversion", ["width=1000000"], "width, blocks"),
    ("crowd-common-noise", ["fine_steps=10000000"], "paths, fine_steps"),
    ("crowd-methods", ["held_paths=100000000"], "held_paths, steps"),
    ("large-crowd", ["players=100000000"], "players, steps, paths"),
    ("alpha-decay", ["players=[7,15,31,1000000]"], "players, draws"),
    ("mean-field-benchmark", ["game=garnet", "states=10000"], "states, actions, draws"),
    ("game-components", ["scored_episodes=100000000"], "scored_episodes, steps"),
    ("shared-equilibria", [f"rewards=[{','.join(map(str, range(9000)))}]", "updates=1000000"], "updates, rewards"),
    ("cvar", ["samples=100000000"], "samples, replications"),
    ("mean-field-learning", ["agents=[100000000]"], "agents, together, steps"),
    ("routing", ["nodes=10000000", "links=100"], "nodes, links"),
    ("clearing", ["agents=100000000"], "agents, prices"),
    ("reach-avoid", ["points=[5001,5001,501]"], "points"),
    ("games-in-games", ["points=99999999"], "points"),
    ("games-in-games", ["levels=10000"], "points, levels"),
    ("mean-field", ["points=100000", "steps=10000"], "points, steps"),
    ("mean-field-ergodic", ["points=90000000"], "points"),
    ("market-maker", ["steps=100000000"], "steps, inventory_max"),
    ("market-maker-survival", ["paths=100000000"], "paths"),
    ("regime-risk", ["inventory_max=1000", "steps=1000000"], "steps, inventory_max"),
    ("market-maker-real", ["seconds=1e9", "interval=0.01"], "seconds, interval"),
    ("exchange-fit", ["paths=100000000"], "paths, steps"),
    ("otc-market", ["episodes=100000000"], "episodes, steps"),
    ("otc-market", ["width=1000000"], "width"),
    ("taker-spectrum", ["takers=100000000"], "episodes, steps"),
    ("flow-response", ["other_providers=1000000", "flow_takers=1000000"], "episodes, steps"),
    ("emergent-behaviour", ["trainings=1000000"], "trainings, episodes, steps"),
    ("calibration-1", ["episodes=100000000"], "episodes, steps"),
    ("calibration-ablation", ["episodes=100000000"], "trainings, episodes, width"),
    ("calibrate", ["simulations=100000000"], "simulations"),
    ("forecast", ["width=100000000"], "width"),
    ("prosumers", ["members=10000000"], "members"),
    ("energy-market", ["scenarios=300", "members=10000000"], "members"),
]


@pytest.mark.parametrize(("study", "settings", "keys"), HUGE)
def test_what_does_not_fit_is_refused_by_the_sizes_to_lower(study, settings, keys, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(memory, "free_memory", lambda: GIGABYTES)
    assert main(["run", study, "--out", str(tmp_path / "out"), "--set", *settings]) == 2
    told = capsys.readouterr().err
    assert f"diffgames: {keys}: " in told and "6 GB are free" in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "replay"])  # its one size is bounded by itself
def test_every_study_says_what_it_needs_and_its_presets_need_little(name):
    study = find_study(name)
    assert study.memory is not None
    known = {field.name for field in fields_of(study.config)}
    for preset in study.presets:
        for keys, needed in study.memory(build_config(study, preset, {})[0]).items():
            assert set(keys.split(", ")) <= known
            assert 0 <= needed < 4e9, f"{preset}: {keys} need {memory.in_words(needed)}"


def test_the_noise_of_a_crowd_takes_what_is_said_once_more_for_its_states():
    config = AversionConfig()
    game = build_game(config, Quadratic(), networks.complete(4))
    grid = graded_grid(config.horizon, config.steps, config.grade)
    drawn = jax.eval_shape(lambda key: draw_noise(game, grid, key, 200).increments, jax.random.key(0))
    assert motion_memory(config, 200, config.steps) == 2 * math.prod(drawn.shape) * drawn.dtype.itemsize
