"""Calibration of a shared equilibrium while it is learned (CALSHEQ; Vadori et al., Algorithm 1).

Every episode b has its own supertype profile Λᵇ, a particle that is carried from update to update. One update is

    δΛᵇ ~ π^Λ(·|Λᵇ),   Λᵇ ← clip(Λᵇ + δΛᵇ),   play episode b with Λᵇ,   r^b from its statistics (`targets`),
    improve the agents' shared policies from all steps, and π^Λ from the B samples (Λᵇ, δΛᵇ, r^b), each by its PPO.

π^Λ is a Gaussian over the raw increments whose mean and deviation are networks of Λ. With `increments=False` it draws
Λ itself and sees a constant (the ablation *no state*). Assumption 4.1 wants the calibrator's rate to be of lower order
than the agents'; the paper's experiments take equal ones. A calibrator's `PPOConfig` with a `final_learning_rate` below
the agents' makes the ratio decay.

Without a calibrator the law of Λ is frozen: every episode draws its profile from given ones. New agents learn so under
a calibrated law, and under the single proposal of Bayesian optimization. What the agents learn from is the same.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, Target, flow_curve, flow_points, near, percentiles, reward
from diffgames.errors import RunFailed
from diffgames.learning import distribution
from diffgames.learning.policy import ActorCritic, Profile, actor_critic
from diffgames.learning.ppo import Learner, PPOConfig, improve, new_learner
from diffgames.learning.rollout import Experience, PerEpisode, play
from diffgames.learning.train import OUTCOMES, SAVE_EVERY, Checkpoint, Outcome, ProgressCallback, take_updates
from diffgames.markets.environment import OTCMarket
from diffgames.markets.market_state import StepRecord

LEARNING = "provider"  # the takers of a calibration are fixed


class Problem(eqx.Module):
    """What is calibrated to what; taker supertype k trades the size `market.takers.quantity.mean[k]`."""

    market: OTCMarket
    space: SupertypeProfile = eqx.field(static=True)
    targets: tuple[Target, ...]
    increments: bool = eqx.field(static=True, default=True)


class CalibrationState(eqx.Module):
    """All that is carried from update to update; `laws` are the particles, or the frozen law where no calibrator is."""

    agents: Learner
    calibrator: Learner | None
    laws: Float[Array, "laws components"]
    key: PRNGKeyArray
    index: Int[Array, ""]
    outcome: Int[Array, ""]
    history: dict[str, Any]


def new_calibrator(
    space: SupertypeProfile,
    increments: bool,
    key: PRNGKeyArray,
    width: int,
    config: PPOConfig,
    exploration: float | None = None,
) -> Learner:
    """A calibrator whose increments are zero on average, whatever Λ, and deviate by `exploration`.

    Its unit is half of an action's range; None is the deviation of any new policy, .61, by which one increment takes a
    probability of one half beyond an end of its range in two draws of five, so that particles are noise at first.
    """
    role = space.role(increments)
    policy = actor_critic(role, key, width)
    if exploration is not None and isinstance(policy, ActorCritic):
        bias = policy.head_bias.at[0, role.action.size :].set(math.log(exploration))
        policy = eqx.tree_at(lambda one: one.head_bias, policy, bias)
    return new_learner(policy, config)


def start(
    problem: Problem,
    fixed: Profile,
    agents: Learner,
    calibrator: Learner | None,
    laws: Float[Array, "laws components"],
    key: PRNGKeyArray,
    config: tuple[PPOConfig, PPOConfig],
    updates: int,
) -> CalibrationState:
    """The state before the first update, its history as long as it will get."""
    state = CalibrationState(agents, calibrator, laws, key, jnp.int32(0), jnp.int32(0), {})
    shapes = eqx.filter_eval_shape(_advance, problem, fixed, state, config)[1]
    history = jax.tree.map(lambda leaf: jnp.full((updates, *leaf.shape), jnp.nan, jnp.float32), shapes)
    return dataclasses.replace(state, history=history)


def calibrate(
    problem: Problem,
    fixed: Profile,
    state: CalibrationState,
    config: tuple[PPOConfig, PPOConfig],
    updates: int,
    *,
    checkpoint: Checkpoint | None = None,
    progress: ProgressCallback | None = None,
) -> CalibrationState:
    """Make updates until `updates` are done; `config` is the agents' and the calibrator's.

    The history holds per update: "reward" (mean of r^b), "share", "percentiles", "earned" (mean episode return per
    provider), "law" and "law_deviation" (mean and standard deviation of Λᵇ over episodes). Raises `RunFailed` where a
    policy is no longer finite.
    """
    state = take_updates(lambda s: update(problem, fixed, s, config), state, updates, checkpoint, SAVE_EVERY, progress)
    outcome = OUTCOMES[int(state.outcome)]
    if outcome is not Outcome.COMPLETED:
        raise RunFailed(f"{outcome.value} (after {int(state.index)} of {updates} updates)", outcome.remedy)
    return state


@eqx.filter_jit
def update(
    problem: Problem, fixed: Profile, state: CalibrationState, config: tuple[PPOConfig, PPOConfig]
) -> tuple[CalibrationState, dict[str, Any]]:
    """One update of Algorithm 1, or of the agents alone under a frozen law; and its metrics (see `calibrate`)."""
    following, metrics = _advance(problem, fixed, state, config)
    history = jax.tree.map(lambda past, now: past.at[state.index].set(now.astype(jnp.float32)), state.history, metrics)
    learned = jax.tree.leaves((following.agents, following.calibrator))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in learned]))
    outcome = jnp.where(finite, state.outcome, OUTCOMES.index(Outcome.DIVERGED)).astype(jnp.int32)
    return dataclasses.replace(following, history=history, outcome=outcome), metrics


@eqx.filter_jit
def measure(
    problem: Problem,
    profile: Profile,
    laws: Float[Array, "laws components"],
    key: PRNGKeyArray,
    episodes: int,
) -> tuple[Statistics, Float[Array, " episodes"], Float[Array, "episodes providers"]]:
    """Statistics, rewards and the providers' returns of episodes that draw their Λ from `laws`."""
    law_key, play_key = jax.random.split(key)
    drawn = laws[jax.random.randint(law_key, (episodes,), 0, laws.shape[0])]
    lived, seen = _play(problem, profile, drawn, play_key, episodes)
    return seen, reward(problem.targets, seen), jnp.sum(lived[LEARNING].reward, axis=0)


@eqx.filter_jit
def seen_under(
    problem: Problem, profile: Profile, laws: Float[Array, "episodes components"], key: PRNGKeyArray
) -> Statistics:
    """Statistics of one episode under each Λ."""
    return _play(problem, profile, laws, key, laws.shape[0])[1]


def statistics(problem: Problem, flow: Array, share: Array) -> Statistics:
    """From the lots that providers traded with each taker supertype [episodes, providers, sizes], and their shares."""
    member, sizes = _member(problem), problem.market.takers.quantity.mean
    trades = jnp.einsum("epq,pj->ejq", flow, member, precision="highest") / sizes[None, None, :]
    return Statistics(share=jnp.matmul(share, member, precision="highest"), percentiles=percentiles(trades, sizes))


class Move(NamedTuple):
    """The particles after one draw of the calibrator, and what it saw, drew and expected."""

    laws: Float[Array, "laws components"]
    seen: Float[Array, "laws components"]
    raw: Float[Array, "laws components"]
    head: Float[Array, "laws head"]
    value: Float[Array, " laws"]

    def experience(self, earned: Float[Array, " laws"]) -> Experience:
        """One step of one agent in every episode."""
        return Experience(*(leaf[None, :, None] for leaf in (self.seen, self.raw, self.head, self.value, earned)))


def move(space: SupertypeProfile, increments: bool, calibrator: Learner, laws: Array, key: PRNGKeyArray) -> Move:
    """δΛᵇ ~ π^Λ(·|Λᵇ), Λᵇ ← clip(Λᵇ + δΛᵇ)."""
    seen = space.seen(laws, increments)
    _, head, value = calibrator.policy((), seen)
    raw = distribution.sample(space.action(increments), head, key)
    return Move(space.moved(laws, raw, increments), seen, raw, head, value)


def settled(space: SupertypeProfile, increments: bool, calibrator: Learner, laws: Array, steps: int) -> Array:
    """The particles after so many of the calibrator's mean increments, without what it draws to explore."""

    def step(laws: Array, _: None) -> tuple[Array, None]:
        head = calibrator.policy((), space.seen(laws, increments))[1]
        return space.moved(laws, distribution.mode(space.action(increments), head), increments), None

    return jax.lax.scan(step, laws, None, length=steps)[0]


def _advance(
    problem: Problem, fixed: Profile, state: CalibrationState, config: tuple[PPOConfig, PPOConfig]
) -> tuple[CalibrationState, dict[str, Any]]:
    key, law_key, play_key, agent_key, calibrator_key = jax.random.split(state.key, 5)
    episodes = config[0].episodes
    moved: Move | None = None
    if state.calibrator is None:
        laws = state.laws[jax.random.randint(law_key, (episodes,), 0, state.laws.shape[0])]
    else:
        moved = move(problem.space, problem.increments, state.calibrator, state.laws, law_key)
        laws = moved.laws
    lived, seen = _play(problem, {**fixed, LEARNING: state.agents.policy}, laws, play_key, episodes)
    earned = reward(problem.targets, seen)
    agents, _ = improve(state.agents, problem.market.role(LEARNING), lived[LEARNING], config[0], agent_key)
    calibrator, carried = state.calibrator, state.laws
    if calibrator is not None and moved is not None:
        role = problem.space.role(problem.increments)
        calibrator, _ = improve(calibrator, role, moved.experience(earned), config[1], calibrator_key)
        carried = laws
    following = dataclasses.replace(
        state, agents=agents, calibrator=calibrator, laws=carried, key=key, index=state.index + 1
    )
    metrics = {
        "reward": jnp.mean(earned),
        "share": jnp.mean(seen.share, axis=0),
        "percentiles": jnp.mean(seen.percentiles, axis=0),
        "earned": jnp.mean(jnp.sum(lived[LEARNING].reward, axis=0), axis=0),
        "law": jnp.mean(laws, axis=0),
        "law_deviation": jnp.std(laws, axis=0),
    }
    return following, metrics


def _play(problem: Problem, profile: Profile, laws: Array, key: PRNGKeyArray, episodes: int):
    """Every role's experience, and the statistics of every episode."""
    points = flow_points(problem.targets)
    measures = [target.measure for target in problem.targets if target.measure is not None]

    def keep(record: StepRecord) -> dict[str, Any]:
        kept: dict[str, Any] = {"flow": jnp.sum(record.flow, axis=2), "share": record.running_share}
        if points:
            half, skew = record.spread_tweak / 2, record.skew_tweak
            price = jnp.stack([half + skew, half - skew], axis=-1)  # ε_ask, ε_bid, equation (26)
            weight, lots = near(price, points), jnp.sum(record.flow, axis=-1)
            kept["near"] = jnp.stack([jnp.sum(weight * lots[..., None], axis=2), jnp.sum(weight, axis=2)])
        for measure in measures:
            kept[measure.name] = jax.vmap(measure.of)(record)
        return kept

    games = PerEpisode(problem.market, laws, problem.space.install)
    lived, kept = play(games, profile, key, episodes, keep=keep)
    lots = jnp.sum(kept["flow"], axis=0)
    seen = statistics(problem, lots, kept["share"][-1])
    if points:
        member = _member(problem)
        traded, quotes = (jnp.einsum("tepk,pj->ejk", kept["near"][:, n], member) for n in (0, 1))
        sides = 2.0 * kept["near"].shape[0] * jnp.sum(member, axis=0)
        mean = jnp.einsum("epq,pj->ej", lots, member) / sides[None, :]
        seen = dataclasses.replace(seen, flow=flow_curve(traded, quotes, mean))
    if measures:
        seen = dataclasses.replace(seen, measured={m.name: jnp.mean(kept[m.name], axis=0) for m in measures})
    return lived, seen


def _member(problem: Problem) -> Float[Array, "providers supertypes"]:
    return jax.nn.one_hot(jnp.asarray(problem.market.provider_supertype), 2, dtype=jnp.float32)
