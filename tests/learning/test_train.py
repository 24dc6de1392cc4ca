"""Training: known optima are reached, memory is used, runs resume and repeat bit for bit, unsound ones stop."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning import train as training
from diffgames.learning.policy import FixedProbabilities
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.rollout import evaluate
from diffgames.learning.standing import WINDOW, Compared
from diffgames.learning.train import (
    LearningWarning,
    Outcome,
    initial_profile,
    train,
    train_seeds,
    value_clip_notes,
)
from toy_games import Aim, Door, Duopoly, Recall

FAST = PPOConfig(learning_rate=1e-2, passes=8, minibatch=256, episodes=64)
SEEDS = range(4)


def learned(game, config, updates, *, seed=0, recurrent=False, width=16, **options):
    profile = initial_profile(game, jax.random.key(seed), width, recurrent)
    roles = tuple(role.name for role in game.roles)
    return train(game, profile, config, jax.random.key(seed + 1), updates, learn=roles, **options)


def mean_return(game, profile, role, explore=False):
    return float(evaluate(game, profile, jax.random.key(9), 256, explore)[0][role].mean())


def same(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def annealed(config, updates):
    """The rate falls to a hundredth: at a constant one a policy that has learned may be thrown off again, since
    advantages are standardised however small they are."""
    return dataclasses.replace(config, final_learning_rate=config.learning_rate / 100, annealing_updates=updates)


def every_return(game, config, updates, roles, profiles=None, *, recurrent=False):
    """Profiles of four trainings from four seeds, and the mean returns [training] of each role."""
    if profiles is None:
        profiles = [initial_profile(game, jax.random.key(seed), 16, recurrent) for seed in SEEDS]
    keys = [jax.random.key(seed + 1) for seed in SEEDS]
    trained = train_seeds([game] * len(SEEDS), profiles, annealed(config, updates), keys, updates, learn=roles)
    profiles = [result.profile for result in trained]
    returns = {role.name: [mean_return(game, profile, role.name) for profile in profiles] for role in game.roles}
    return profiles, returns


def test_a_continuous_and_a_discrete_optimum_are_reached():
    """Aim's optimum is 0 (standing still gives −1/3 per episode), Door's is 4 (guessing gives 1)."""
    assert min(every_return(Aim(), FAST, 40, ("archer",))[1]["archer"]) > -0.02
    assert min(every_return(Door(), FAST, 20, ("guest",))[1]["guest"]) > 3.9


def test_a_follower_answers_and_a_leader_leads():
    """Stackelberg's duopoly, learned backwards: the follower answers a leader who tries everything, then the leader
    earns nearly its optimum, 1/8 a step (at once both would have 1/9)."""
    game, config = Duopoly(), dataclasses.replace(FAST, learning_rate=5e-3, episodes=128)
    answered, _ = every_return(game, config, 60, ("follower",))
    _, returns = every_return(game, config, 60, ("leader",), answered)
    for leader, follower in zip(returns["leader"], returns["follower"], strict=True):
        assert leader / game.horizon > 0.96 / 8 and leader > follower + 0.02 * game.horizon


def test_only_a_recurrent_policy_remembers():
    game = Recall()
    assert min(every_return(game, FAST, 30, ("witness",), recurrent=True)[1]["witness"]) > 0.95
    assert max(every_return(game, FAST, 15, ("witness",))[1]["witness"]) < 0.65


class Slot:
    """A checkpoint kept in memory."""

    def __init__(self):
        self.tree = None

    def load(self, like):
        return self.tree

    def save(self, tree):
        self.tree = jax.tree.map(lambda leaf: leaf, tree)


class Interrupted(Exception):
    """Stands for a kill."""


def test_an_interrupted_run_resumes_bit_for_bit():
    game, slot = Aim(), Slot()

    def interrupt(done, metrics):
        if done == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        learned(game, FAST, 8, checkpoint=slot, save_every=2, progress=interrupt)
    assert int(slot.tree.index) == 4
    resumed, whole = learned(game, FAST, 8, checkpoint=slot), learned(game, FAST, 8)
    assert same(resumed.profile, whole.profile) and same(resumed.history, whole.history)
    assert resumed.updates == 8 and np.isfinite(whole.history["reward"]["archer"]).all()


def test_one_trace_serves_all_updates(monkeypatch):
    """The update is traced once however many there are; another run of the same shapes traces nothing."""
    traces = []
    original = training.advance
    monkeypatch.setattr(
        training, "_advance_once", eqx.filter_jit(lambda *words: (traces.append(1), original(*words))[1])
    )
    game, config = Aim(steps=3), dataclasses.replace(FAST, episodes=20)
    learned(game, config, 4)
    first = len(traces)
    learned(game, config, 6, seed=3)
    assert first >= 1 and len(traces) <= first + 1  # a longer history is a new shape of the outer function alone


def test_seeds_side_by_side_are_the_runs_one_by_one():
    """Up to rounding, which a mapped product does in another order."""
    game, config = Aim(), dataclasses.replace(FAST, learning_rate=1e-3)
    profiles = [initial_profile(game, jax.random.key(seed), 16) for seed in (0, 1)]
    keys = [jax.random.key(seed + 1) for seed in (0, 1)]
    together = train_seeds([game] * 2, profiles, config, keys, 3, learn=("archer",))
    for seed, result in enumerate(together):
        alone = learned(game, config, 3, seed=seed)
        for a, b in zip(jax.tree.leaves(alone.profile), jax.tree.leaves(result.profile), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-4)
        np.testing.assert_allclose(alone.history["reward"]["archer"], result.history["reward"]["archer"], atol=2e-4)


def test_games_of_other_shapes_are_not_learned_side_by_side():
    games = [Aim(steps=3), Aim(steps=4)]
    profiles, keys = [initial_profile(games[0], jax.random.key(0), 8)] * 2, [jax.random.key(1)] * 2
    with pytest.raises(InvalidInput, match="differ in their arrays alone"):
        train_seeds(games, profiles, FAST, keys, 1, learn=("archer",))


def test_float64_around_does_not_change_a_bit():
    """Explicit dtypes: the same numbers inside and outside an x64 context."""
    game, results = Aim(), []
    for wide in (True, False):
        with jax.enable_x64(wide):
            results.append(jax.tree.map(np.asarray, learned(game, FAST, 2).profile))
    assert same(*results)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(results[0]))


class Breaking(AbstractMarkovGame):
    """Aim, whose reward is not a number once an aim leaves the middle."""

    inner: Aim = Aim()

    @property
    def roles(self):
        return self.inner.roles

    @property
    def horizon(self):
        return self.inner.horizon

    def reset(self, key):
        return self.inner.reset(key)

    def observe(self, state, actions, role):
        return self.inner.observe(state, actions, role)

    def step(self, state, actions, key):
        state, rewards, records = self.inner.step(state, actions, key)
        wild = jnp.abs(actions["archer"][:, 0]) > 0.999
        return state, {"archer": jnp.where(wild, jnp.nan, rewards["archer"])}, records


def test_a_game_that_breaks_stops_the_training_with_its_reason():
    with pytest.raises(RunFailed, match="not finite"):
        learned(Breaking(), FAST, 5)
    result = learned(Breaking(), FAST, 5, throw=False)
    assert result.outcome is Outcome.BAD_GAME and result.updates == 0
    assert same(result.profile, initial_profile(Breaking(), jax.random.key(0), 16))


def test_diverging_training_keeps_the_last_good_state():
    """A learning rate that blows up: stopped, and the policy that is kept is finite."""
    result = learned(Aim(), dataclasses.replace(FAST, learning_rate=1e30), 20, throw=False)
    assert result.outcome in (Outcome.DIVERGED, Outcome.BAD_GAME, Outcome.COLLAPSED) and result.updates < 20
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.profile))


def test_what_cannot_learn_is_named():
    game = Door()
    fixed = {"guest": FixedProbabilities.of([1.0, 1.0, 1.0, 1.0])}
    with pytest.raises(InvalidInput, match=r"^learn"):
        train(game, fixed, FAST, jax.random.key(0), 1, learn=("guest",))
    with pytest.raises(InvalidInput, match=r"^learn"):
        train(game, fixed, FAST, jax.random.key(0), 1, learn=("host",))


PROGRAM = """
import json, sys
import jax, numpy as np
sys.path.insert(0, {tests!r})
from toy_games import Aim
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.train import initial_profile, train
config = PPOConfig(learning_rate=1e-3, passes=2, minibatch=256, episodes=64)
game = Aim()
result = train(game, initial_profile(game, jax.random.key(0), 16), config, jax.random.key(1), 3, learn=("archer",))
sums = [np.asarray(leaf, float).sum().item() for leaf in jax.tree.leaves(result.profile)]
print(json.dumps([jax.device_count(), sums, np.asarray(result.history["reward"]["archer"], float).tolist()]))
"""


@pytest.mark.slow
def test_several_devices_learn_the_same():
    """Two virtual devices share episodes and minibatches; numbers agree up to the order of summation."""
    results = []
    for count in (1, 2):
        environment = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}", "NPROC": "16"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(tests=str(Path(__file__).parents[1]))],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout.splitlines()[-1]))
    (one, sums, rewards), (two, other_sums, other_rewards) = results
    assert (one, two) == (1, 2)
    np.testing.assert_allclose(sums, other_sums, atol=2e-3)
    np.testing.assert_allclose(rewards, other_rewards, atol=2e-3)


def test_a_role_has_settings_of_its_own():
    """Of two roles in one game, that whose rate is next to nothing stays where it was."""
    game, still = Duopoly(), dataclasses.replace(FAST, learning_rate=1e-12)
    leader, follower = (role.name for role in game.roles)
    start = initial_profile(game, jax.random.key(0), 8)
    found = train(game, start, {leader: FAST, follower: still}, jax.random.key(1), 2, learn=(leader, follower)).profile

    def moved(role):
        pairs = zip(jax.tree.leaves(start[role]), jax.tree.leaves(found[role]), strict=True)
        return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)

    assert moved(leader) > 1e-2 and moved(follower) < 1e-9
    with pytest.raises(InvalidInput, match=follower):
        train(game, start, {leader: FAST}, jax.random.key(1), 1, learn=(leader, follower))
    with pytest.raises(InvalidInput, match="episodes"):
        other = {leader: FAST, follower: dataclasses.replace(FAST, episodes=8)}
        train(game, start, other, jax.random.key(1), 1, learn=(leader, follower))


@pytest.mark.filterwarnings("ignore::diffgames.learning.train.LearningWarning")
def test_the_profile_that_stood_highest_is_handed_back_beside_the_last():
    """A rate that grows until it throws off what was learned: the best on the way earns what the last has lost."""
    config = dataclasses.replace(FAST, final_learning_rate=0.3, annealing_updates=60, episodes=32)
    found = learned(Aim(), config, 60, throw=False)
    rewards = np.asarray(found.history["reward"]["archer"], float).mean(axis=1)
    standing = np.convolve(rewards, np.full(WINDOW, 1 / WINDOW), "valid")
    assert found.best_updates == np.argmax(standing) + WINDOW - 1 < found.updates - 10
    assert mean_return(Aim(), found.best, "archer") > mean_return(Aim(), found.profile, "archer") + 0.1


def test_the_latest_profile_that_is_good_enough_and_the_last_of_a_short_training_are_kept():
    """Rewards of aiming are at most zero and at least −4: everything is enough, and the latest is kept."""
    config = dataclasses.replace(FAST, episodes=4, passes=1)
    long = learned(Aim(steps=3), config, 14, compared=Compared((("archer", (0, 1)),), enough=-100.0))
    assert long.best_updates == 13
    short = learned(Aim(steps=3), config, 3)
    assert short.best_updates == 3 and same(short.best, short.profile)


def test_values_cut_at_their_clip_are_told():
    """Squared value errors that sit at the clip have no gradient: rewards of that size teach the values nothing."""
    notes = value_clip_notes({"value_loss": {"far": np.array([2500.0, 10.0]), "near": np.array([10.0, 0.4])}}, FAST)
    assert len(notes) == 1 and "far" in notes[0] and "scale the rewards" in notes[0]
    with pytest.warns(LearningWarning, match="value loss"):
        learned(Aim(), dataclasses.replace(FAST, value_clip=1e-9, passes=1, episodes=16), 1)
