"""Exploitability of a learned profile, from below: train a deviator against everybody else's frozen policies.

For each agent asked for, several deviators are trained by the library's PPO in the game where that agent plays by
itself (`Deviation`), observing and doing exactly what it could before: one starts from a fresh policy, one from the
agent's own policy in the profile. On the way each is tried on *validation* episodes, both drawing its actions and
taking the most likely one; that with the highest lower bound (one-sided 95%) of its gain on those episodes is then
evaluated on *held-out* episodes that nothing was chosen on. (The highest mean would often be that of a gambler: a
risk-neutral deviator that holds a position earns much or little by chance, and tells nothing.) In both evaluations the
deviation and the profile play the same episodes with the same random numbers (types, connections, exogenous noise, the
others' draws), and the gain is the mean of paired differences.

What comes out is a lower bound of the true gap: no deviator of this budget and form does better than it says, another
might. The selection costs no honesty, since the held-out episodes do not know of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import AbstractPolicy, Profile, fresh_like
from diffgames.learning.ppo import PPOConfig, new_learner
from diffgames.learning.rollout import play
from diffgames.learning.train import Checkpoint, LearnerState, advance
from diffgames.verification.certificate import LOWER_BOUND, Budget, Certificate, CurvePoint, Gap, gap_of_pairs
from diffgames.verification.deviation import DEVIATOR, Deviation

Progress = Callable[[str, int, Mapping[str, Any]], None]
CAUTION = 1.645  # standard errors below a mean gain: a one-sided 95% bound


class BestResponse(NamedTuple):
    """What the search for one agent found: the deviator, how it plays, and the entry for a certificate."""

    policy: AbstractPolicy
    explore: bool
    gap: Gap


class Search(eqx.Module):
    """The state of a search over all agents of a role: members are [agent, start], trials [agent, start, draws]."""

    learners: LearnerState
    best_policy: AbstractPolicy
    best_score: Float[Array, " agents"]
    best_trial: Int[Array, "agents 3"]
    gain: Float[Array, "points agents starts 2"]
    error: Float[Array, "points agents starts 2"]
    done: Int[Array, ""]


def exploitability(
    game: AbstractMarkovGame,
    profile: Profile,
    agents: Mapping[str, tuple[str, int]],
    config: PPOConfig,
    key: PRNGKeyArray,
    *,
    updates: int,
    evaluations: int = 5,
    validation_episodes: int = 200,
    episodes: int = 400,
    width: int | None = None,
    checkpoint: Callable[[str], Checkpoint] | None = None,
    progress: Progress | None = None,
    played: AbstractMarkovGame | None = None,
) -> Certificate:
    """Certificate of the profile: what the named agents, {label: (role, index)}, could gain by deviating alone.

    Every deviator gets `updates` updates of `config`, and is tried `evaluations` times on `validation_episodes`; the
    gain comes from `episodes` held-out ones, played in batches of `validation_episodes`. `checkpoint(role)` keeps the
    search resumable, `progress(role, updates done, figures)` is told the training reward and the best validated bound
    of the gain, per agent. `played` as in `best_responses`.
    """
    for role, index in agents.values():
        Deviation(game, role, index)
    gaps: dict[str, Gap] = {}
    for number, role in enumerate(known.name for known in game.roles):
        labels = [label for label, (name, _) in agents.items() if name == role]
        if not labels:
            continue
        found = best_responses(
            game,
            profile,
            role,
            [agents[label][1] for label in labels],
            config,
            jax.random.fold_in(key, number),
            updates=updates,
            evaluations=evaluations,
            validation_episodes=validation_episodes,
            episodes=episodes,
            width=width,
            checkpoint=None if checkpoint is None else checkpoint(role),
            progress=None if progress is None else (lambda done, figures, role=role: progress(role, done, figures)),
            labels=labels,
            played=played,
        )
        gaps |= {label: response.gap for label, response in zip(labels, found, strict=True)}
    return Certificate(entries=tuple(gaps[label] for label in agents), how=LOWER_BOUND)


def best_response(
    game: AbstractMarkovGame,
    profile: Profile,
    role: str,
    index: int,
    config: PPOConfig,
    key: PRNGKeyArray,
    *,
    updates: int,
    **options: Any,
) -> BestResponse:
    """The best deviator found for one agent of a role; options as in `best_responses`."""
    return best_responses(game, profile, role, [index], config, key, updates=updates, **options)[0]


def best_responses(
    game: AbstractMarkovGame,
    profile: Profile,
    role: str,
    indices: Sequence[int],
    config: PPOConfig,
    key: PRNGKeyArray,
    *,
    updates: int,
    evaluations: int = 5,
    validation_episodes: int = 200,
    episodes: int = 400,
    width: int | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, Mapping[str, Any]], None] | None = None,
    labels: Sequence[str] | None = None,
    played: AbstractMarkovGame | None = None,
) -> list[BestResponse]:
    """The best deviators found for several agents of one role, trained by one compiled update.

    `played` is the game in which the agents earn what the profile has them earn, where it is not `game`: that in which
    they are played by functions (`games.fixed_agents`), say, while `game` leaves them to the deviator.
    """
    for name, least in (("updates", 1), ("evaluations", 1), ("validation_episodes", 2), ("episodes", 2)):
        if locals()[name] < least:
            raise InvalidInput(name, locals()[name], f"an integer ≥ {least}")
    deviations = Deviation(game, role, jnp.asarray(indices, jnp.int32))
    profiled = deviations if played is None else Deviation(played, role, jnp.asarray(indices, jnp.int32))
    start_key, train_key, validation_key, test_key = jax.random.split(key, 4)
    starts = starting_policies(game, profile, role, start_key, width)
    points = sorted({round(updates * k / evaluations) for k in range(evaluations + 1)})
    search = _begin(deviations, list(starts.values()), config, train_key, len(points))
    if checkpoint is not None:
        search = checkpoint.load(search) or search
    base = _returns(
        profiled, profile, _own(deviations, profile), _all(deviations, True), validation_key, validation_episodes
    )
    for point in range(int(search.done), len(points)):
        learners = search.learners
        for done in range(points[point - 1] if point else 0, points[point]):
            learners, reward = _improve(deviations, profile, learners, config)
            if progress is not None:
                progress(done + 1, {"reward": jax.device_get(reward), "gain": np.asarray(search.best_score)})
        search = _try(deviations, profile, learners, search, base, validation_key, validation_episodes)
        if checkpoint is not None:
            checkpoint.save(search)
    values = _held_out(deviations, profiled, profile, search, test_key, validation_episodes, episodes)
    budget = Budget(
        updates=updates,
        episodes=len(starts) * updates * config.episodes,
        agent_steps=len(starts) * updates * config.episodes * game.horizon,
    )
    labels = labels or [f"{role} {index}" for index in indices]
    return [_result(search, values, list(starts), points, budget, i, label) for i, label in enumerate(labels)]


def starting_policies(
    game: AbstractMarkovGame, profile: Profile, role: str, key: PRNGKeyArray, width: int | None = None
) -> dict[str, AbstractPolicy]:
    """Where deviators start: "fresh", a new policy of the profile's form; "warm", the profile's own if it can learn.

    A `width` other than the profile's, or a fixed policy, leaves only the fresh start.
    """
    own = profile[role]
    fresh = fresh_like(own, game.role(role), key, width)
    same = eqx.filter_eval_shape(lambda: fresh) == eqx.filter_eval_shape(lambda: own)
    return {"fresh": fresh, "warm": own} if same else {"fresh": fresh}


def _begin(
    deviations: Deviation, starts: list[AbstractPolicy], config: PPOConfig, key: PRNGKeyArray, points: int
) -> Search:
    agents = deviations.index.shape[0]

    def member(policy: AbstractPolicy, key: PRNGKeyArray) -> LearnerState:
        learner = new_learner(policy, config)
        zero = jnp.int32(0)
        return LearnerState(learners={DEVIATOR: learner}, key=key, index=zero, outcome=zero, history={})

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    keys = jax.random.split(key, (agents, len(starts)))
    learners = eqx.filter_vmap(lambda row: eqx.filter_vmap(member)(stacked, row))(keys)
    nothing = jnp.full((points, agents, len(starts), 2), jnp.nan, jnp.float32)
    return Search(
        learners=learners,
        best_policy=jax.tree.map(lambda leaf: leaf[:, 0], learners.learners[DEVIATOR].policy),
        best_score=jnp.full((agents,), -jnp.inf, jnp.float32),
        best_trial=jnp.zeros((agents, 3), jnp.int32),
        gain=nothing,
        error=nothing,
        done=jnp.int32(0),
    )


@eqx.filter_jit
def _improve(
    deviations: Deviation, profile: Profile, learners: LearnerState, config: PPOConfig
) -> tuple[LearnerState, Float[Array, "agents starts"]]:
    """One update of every member, one after another: each fills the machine, and compiles in half the time of all."""

    def member(index, state):
        state, metrics = advance(Deviation(deviations.game, deviations.target, index), profile, state, config)
        return state, metrics["reward"][DEVIATOR][0]

    return _each(lambda agent: _each(lambda state: member(agent[0], state), agent[1]), (deviations.index, learners))


@eqx.filter_jit
def _returns(
    deviations: Deviation,
    profile: Profile,
    policies: AbstractPolicy,
    explore: Bool[Array, " agents"],
    key: PRNGKeyArray,
    episodes: int,
) -> Float[Array, "agents episodes"]:
    """Episode returns of every agent, each deviating alone to its own entry of `policies`.

    Equal keys share everything but the deviators' choices. All evaluations, of the profile itself too, are this one
    compiled function with the same shapes: it is the market that takes long to compile.
    """

    def agent(one):
        index, policy, draws = one
        deviation = Deviation(deviations.game, deviations.target, index)
        lived, _ = play(deviation, {**profile, DEVIATOR: policy}, key, episodes, {DEVIATOR: draws})
        return jnp.sum(lived[DEVIATOR].reward[:, :, 0], axis=0)

    return _each(agent, (deviations.index, policies, explore))


def _each(function: Callable[[Any], Any], items: Any) -> Any:
    """`function` of every item along the leading axis of a tree's arrays, in turn, its results stacked."""
    arrays, rest = eqx.partition(items, eqx.is_array)
    return jax.lax.map(lambda item: function(eqx.combine(item, rest)), arrays)


def _own(deviations: Deviation, profile: Profile) -> AbstractPolicy:
    """The profile's own policy, once for every agent."""
    agents = deviations.index.shape[0]
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (agents, *leaf.shape)), profile[deviations.target])


def _all(deviations: Deviation, explore: bool) -> Bool[Array, " agents"]:
    return jnp.full(deviations.index.shape, explore)


def _try(
    deviations: Deviation,
    profile: Profile,
    learners: LearnerState,
    search: Search,
    base: Float[Array, "agents episodes"],
    key: PRNGKeyArray,
    episodes: int,
) -> Search:
    """Try every member on the validation episodes, drawing and not, and remember the best trial of every agent."""
    policies = learners.learners[DEVIATOR].policy
    differences = [
        [
            _returns(deviations, profile, _start(policies, start), _all(deviations, explore), key, episodes) - base
            for explore in (True, False)
        ]
        for start in range(search.gain.shape[2])
    ]
    return _remember(search, learners, jnp.stack([jnp.stack(row) for row in differences]))


def _start(policies: AbstractPolicy, start: int) -> AbstractPolicy:
    """Every agent's deviator that began from one of the starts."""
    return jax.tree.map(lambda leaf: leaf[:, start], policies)


@eqx.filter_jit
def _remember(
    search: Search, learners: LearnerState, difference: Float[Array, "starts draws agents episodes"]
) -> Search:
    gain = jnp.moveaxis(jnp.mean(difference, axis=-1), -1, 0)
    error = jnp.moveaxis(jnp.std(difference, axis=-1, ddof=1), -1, 0) / difference.shape[-1] ** 0.5
    # The profile's own policy, drawing, gains nothing: it is no deviation.
    unmoved = (search.done == 0) & (gain == 0) & (error == 0)
    bound = gain - CAUTION * error
    score = jnp.where(unmoved | ~jnp.isfinite(bound), -jnp.inf, bound).reshape(gain.shape[0], -1)
    winner = jnp.argmax(score, axis=1).astype(jnp.int32)
    top = jnp.max(score, axis=1)
    better = top > search.best_score
    start, draw = winner // 2, winner % 2

    def choose(old, new):
        picked = jax.vmap(lambda members, which: members[which])(new, start)
        return jnp.where(better.reshape(-1, *(1,) * (old.ndim - 1)), picked, old)

    trial = jnp.stack([jnp.broadcast_to(search.done, start.shape), start, draw], axis=1).astype(jnp.int32)
    return Search(
        learners=learners,
        best_policy=jax.tree.map(choose, search.best_policy, learners.learners[DEVIATOR].policy),
        best_score=jnp.where(better, top, search.best_score),
        best_trial=jnp.where(better[:, None], trial, search.best_trial),
        gain=search.gain.at[search.done].set(gain),
        error=search.error.at[search.done].set(error),
        done=search.done + 1,
    )


def _held_out(
    deviations: Deviation,
    profiled: Deviation,
    profile: Profile,
    search: Search,
    key: PRNGKeyArray,
    batch: int,
    episodes: int,
) -> tuple[Float[np.ndarray, "agents episodes"], Float[np.ndarray, "agents episodes"]]:
    """Returns of every agent at the profile and with its best deviator, on the same held-out episodes, in batches."""
    own, explore = _own(deviations, profile), search.best_trial[:, 2] == 0
    base, deviated = [], []
    for number in range(-(-episodes // batch)):
        batch_key = jax.random.fold_in(key, number)
        base.append(_returns(profiled, profile, own, _all(deviations, True), batch_key, batch))
        deviated.append(_returns(deviations, profile, search.best_policy, explore, batch_key, batch))
    return np.concatenate(base, axis=1)[:, :episodes], np.concatenate(deviated, axis=1)[:, :episodes]


def _result(
    search: Search,
    values: tuple[np.ndarray, np.ndarray],
    starts: list[str],
    points: list[int],
    budget: Budget,
    agent: int,
    label: str,
) -> BestResponse:
    point, start, draw = (int(part) for part in search.best_trial[agent])
    explore = draw == 0
    how = "drawing its actions" if explore else "taking the most likely action"
    gain, error = np.asarray(search.gain[:, agent], float), np.asarray(search.error[:, agent], float)
    curves = {
        name: [
            CurvePoint(updates=done, gain=float(g.max()), standard_error=float(e[g.argmax()]))
            for done, g, e in zip(points, gain[:, i], error[:, i], strict=True)
        ]
        for i, name in enumerate(starts)
    }
    base, deviated = (np.asarray(part[agent], float) for part in values)
    gap = gap_of_pairs(
        label,
        base,
        deviated,
        budget=budget,
        selected=f"{starts[start]} start, {how}, after {points[point]} updates",
        curves=curves,
    )
    return BestResponse(policy=jax.tree.map(lambda leaf: leaf[agent], search.best_policy), explore=explore, gap=gap)
