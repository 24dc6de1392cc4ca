"""A crowd of thousands: everybody interacts with everybody, and no sum runs over all pairs while learning.

Players leave `starts` for `targets` (dealt out in turn, every player a little off, the same offset at both ends) and
dislike being close to one another; weights are 1/(N − 1) for all pairs, so α = 0 and the potential's minimiser is an
equilibrium. Sums over pairs are drawn in random groups, made by Fourier features, or exact (`games.interaction`).

What an approximation does is measured where the learned crowd is densest, halfway: relative errors of what players feel
and of the force on them, by group size and number of features. The potential is valued with exact sums, and the
certificate lets a sample of players deviate against exact sums too, however the profile was learned.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.crowd import crowd_game
from diffgames.games.distributed import DistributedGame, States
from diffgames.games.interaction import (
    AbstractInteraction,
    Pairs,
    RandomBatches,
    fourier_features,
    interaction_error,
)
from diffgames.solvers.distributed_paths import (
    Grid,
    Policy,
    draw_noise,
    graded_grid,
    potential_of_paths,
    trajectory,
)
from diffgames.solvers.policies import local_gains
from diffgames.solvers.policy_gradient import Schedule, learn_potential
from diffgames.studies import crowd_figures
from diffgames.studies.context import RunContext
from diffgames.studies.crowd_parameters import (
    DeviatorParameters,
    KernelParameters,
    Matrix,
    PhysicsParameters,
    kernel_of,
    patience,
)
from diffgames.studies.study import Headline, Parameter, Study, StudyResult, with_defaults
from diffgames.verification.certificate import Certificate
from diffgames.verification.player_deviator import DeviatorBudget, certify_players

MARKS = (0.25, 0.5, 0.75, 1.0)
"""Where along the horizon the crowd is looked at."""

Sums = Literal["batches", "fourier", "pairs"]


@dataclass(frozen=True, kw_only=True)
@with_defaults(terminal_weight=10.0, kernel_height=4.0, kernel_rate=8.0, radius=0.3, smoothing=0.15)
@with_defaults(deviator_updates=160, deviator_paths=32, certificate_paths=1000)
class LargeCrowdConfig(DeviatorParameters, KernelParameters, PhysicsParameters):
    """Who goes where, how pairs are summed, what learning and judging may spend."""

    players: Annotated[int, Parameter("N", "players", minimum=2)] = 1000
    starts: Annotated[Matrix, Parameter("where streams of players start", "length", shape="streams x d")] = (
        (-1.0, 0.0),
        (1.0, 0.0),
        (0.0, -1.0),
        (0.0, 1.0),
    )
    targets: Annotated[Matrix, Parameter("where each stream goes", "length", shape="streams x d")] = (
        (1.0, 0.0),
        (-1.0, 0.0),
        (0.0, 1.0),
        (0.0, -1.0),
    )
    scatter: Annotated[
        float, Parameter("deviation of players from their stream, at both ends", "length", minimum=0.0)
    ] = 0.15
    sums: Annotated[Sums, Parameter("pairs in random groups, by Fourier features (gaussian only), or all of them")] = (
        "batches"
    )
    group: Annotated[int, Parameter("size of a random group", "players", minimum=2)] = 8
    features: Annotated[int, Parameter("Fourier features", "features", minimum=1)] = 64
    rate: Annotated[float, Parameter("intensity of own jumps per axis", "1/time", minimum=0.0)] = 0.2
    steps: Annotated[int, Parameter("Euler steps", "steps", minimum=4)] = 24
    epochs: Annotated[int, Parameter("epochs of 50 gradient steps", "epochs", minimum=1)] = 12
    paths: Annotated[int, Parameter("fresh paths per gradient step", "paths", minimum=2)] = 8
    learning_rate: Annotated[float, Parameter("Adam's rate", minimum=1e-9)] = 0.05
    decay: Annotated[float, Parameter("factor of the rate per epoch", minimum=0.1, maximum=1.0)] = 0.8
    knots: Annotated[int, Parameter("knots in time of the gains", "knots", minimum=2)] = 9
    evaluation_paths: Annotated[int, Parameter("fresh paths behind the potential", "paths", minimum=2)] = 16
    sample: Annotated[
        int, Parameter("players drawn at random to deviate for the certificate", "players", minimum=1)
    ] = 8


def interaction_of(config: LargeCrowdConfig, sums: Sums, size: int, key: PRNGKeyArray) -> AbstractInteraction:
    """Sums over pairs, of groups of `size` or with as many features; the weight is 1/(N − 1)."""
    weight = jnp.asarray(1.0 / (config.players - 1))
    if sums == "pairs":
        return Pairs(kernel_of(config), weight, False)
    if sums == "batches":
        if config.players % size:
            raise InvalidInput("group", size, f"a size of groups that {config.players} players divide into")
        return RandomBatches(kernel_of(config), weight, size, False, key)
    return fourier_features(kernel_of(config), weight, size, len(config.targets[0]), key)


def game_of(config: LargeCrowdConfig, key: PRNGKeyArray) -> DistributedGame:
    """The crowd, its offsets and the randomness of its sums from `key`."""
    widths = {len(row) for row in (*config.starts, *config.targets)}
    if len(widths) != 1 or 0 in widths or len(config.starts) != len(config.targets):
        raise InvalidInput("targets", config.targets, "as many as starts, one or more, all of one length")
    if config.sample > config.players:
        raise InvalidInput("sample", config.sample, f"at most the {config.players} players")
    place_key, sum_key = jax.random.split(key)
    starts, targets = np.asarray(config.starts), np.asarray(config.targets)
    stream = streams(config)
    offset = config.scatter * np.asarray(jax.random.normal(place_key, (config.players, starts.shape[1])), float)
    size = config.group if config.sums == "batches" else config.features
    return crowd_game(
        kernel_of(config),
        np.zeros((0, 0)),
        targets[stream] + offset,
        start=starts[stream] + offset,
        rates=config.rate,
        **config.physics(),
        kinetic=config.kernel == "cucker-smale",
        interaction=interaction_of(config, config.sums, size, sum_key),
    )


def streams(config: LargeCrowdConfig) -> np.ndarray:
    """Which stream every player is in."""
    return np.arange(config.players) % len(config.starts)


def run(config: LargeCrowdConfig, context: RunContext) -> StudyResult:
    """Learn with the sums asked for, value and certify with exact ones."""
    place_key, learn_key, value_key, error_key, certify_key = jax.random.split(context.key, 5)
    game, grid = game_of(config, place_key), graded_grid(config.horizon, config.steps)
    schedule = Schedule(
        epochs=config.epochs, paths=config.paths, learning_rate=config.learning_rate, decay=config.decay, patience=10**6
    )
    found = learn_potential(
        game,
        local_gains(game, knots=config.knots, patience=patience(config), grade=1.0),
        grid,
        schedule,
        learn_key,
        checkpoint=context.checkpoint.slot("gains"),
        progress=lambda epoch, loss: context.progress.update("learning", epoch / config.epochs, potential=loss),
    )
    exact = eqx.tree_at(lambda g: g.costs.interaction, game, interaction_of(config, "pairs", 0, error_key))
    values = exact_values(context, exact, found.policy, grid, config.evaluation_paths, value_key)
    noise = draw_noise(game, grid, jax.random.fold_in(value_key, config.evaluation_paths), config.paths)
    path = eqx.filter_jit(trajectory)(game, found.policy, grid, noise)
    errors = approximation_errors(config, path.x[config.steps // 2, :, :, :1], error_key)
    own, approximation = errors[0], _as_dataset(errors)
    certificate = certify(config, context, game, found.policy, certify_key)
    crowd = crowd_at_marks(config, np.asarray(path.times, float), np.asarray(path.x, float))
    headline = {
        "potential": float(values.mean()),
        "potential_standard_error": float(values.std(ddof=1) / math.sqrt(values.size)),
        "felt_error": own.felt,
        "force_error": own.force,
        "potential_error": own.potential,
        "gap_per_player": [entry.gap for entry in certificate.entries],
        "sampled_players": [i + 1 for i in sampled(config, certify_key)],
        "mean_positions": crowd["mean"].sel(time=crowd["mark"].values[:3]).transpose("stream", ...).values,
        "seconds_per_step": found.seconds_per_step,
    }
    return StudyResult(
        headline=headline,
        certificate=certificate,
        arrays={"crowd": crowd, "approximation": approximation},
        profile={"policy": found.policy},
        figures={
            "crowd": crowd_figures.crowd_at_marks(crowd, np.asarray(config.targets)),
            "approximation": crowd_figures.sums_over_pairs(approximation),
            "learning": crowd_figures.potential_curve({config.sums: found.losses}, {}),
            "certificate": crowd_figures.gaps(certificate),
        },
    )


def exact_values(
    context: RunContext, game: DistributedGame, policy: Policy, grid: Grid, paths: int, key: PRNGKeyArray
) -> Float[np.ndarray, " paths"]:
    """The potential of every path, two paths at a time: N² pairs each are much."""

    @eqx.filter_jit
    def two(key: PRNGKeyArray) -> Float[Array, " two"]:
        return potential_of_paths(game, policy, grid, draw_noise(game, grid, key, 2))

    parts, calls = [], -(-paths // 2)
    for k in range(calls):
        context.progress.update("exact sums over pairs", k / calls)
        parts.append(np.asarray(two(jax.random.fold_in(key, k)), float))
    return np.concatenate(parts)[:paths]


@dataclass(frozen=True)
class Approximation:
    """Relative errors of one way to sum over pairs; `size` of groups, or number of features."""

    sums: Sums
    size: int
    felt: float
    force: float
    potential: float


def approximation_errors(config: LargeCrowdConfig, x: States, key: PRNGKeyArray) -> list[Approximation]:
    """Of the sums used (first), and of other sizes of groups and numbers of features, in the crowd x."""
    own: tuple[Sums, int] = (config.sums, {"batches": config.group, "fourier": config.features}.get(config.sums, 0))
    sizes: dict[Sums, tuple[int, ...]] = {
        "batches": tuple(size for size in range(2, 65) if config.players % size == 0),
        "fourier": (16, 64, 256, 1024) if config.kernel == "gaussian" else (),
    }
    ways = [own, *((sums, size) for sums, found in sizes.items() for size in found if (sums, size) != own)]
    t, exact = jnp.zeros((), x.dtype), interaction_of(config, "pairs", 0, key)
    rows = []
    for sums, size in ways:
        found = interaction_error(interaction_of(config, sums, size, key), exact, t, x, key, draws=16)
        rows.append(Approximation(sums, size, float(found.felt), float(found.force), float(found.potential)))
    return rows


def sampled(config: LargeCrowdConfig, key: PRNGKeyArray) -> tuple[int, ...]:
    """The players who deviate, from 0, drawn without replacement."""
    drawn = jax.random.permutation(jax.random.fold_in(key, 1), config.players)[: config.sample]
    return tuple(sorted(int(i) for i in drawn))


def certify(
    config: LargeCrowdConfig, context: RunContext, game: DistributedGame, policy: Policy, key: PRNGKeyArray
) -> Certificate:
    """The gap of the sampled players against exact sums."""
    context.progress.update("certificate", 0.0)
    budget = DeviatorBudget(
        updates=config.deviator_updates,
        paths=config.deviator_paths,
        validation=max(config.certificate_paths // 4, 10),
        evaluation=config.certificate_paths,
    )
    return certify_players(
        game,
        policy,
        graded_grid(config.horizon, config.steps),
        key,
        patience=patience(config),
        budget=budget,
        grade=1.0,
        react_to_all=False,
        players=sampled(config, key),
    )


def verify(config: LargeCrowdConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed."""
    place_key, *_, certify_key = jax.random.split(context.key, 5)
    return certify(config, context, game_of(config, place_key), profile["policy"], certify_key)


def crowd_at_marks(config: LargeCrowdConfig, times: np.ndarray, x: Float[np.ndarray, "times d n paths"]) -> xr.Dataset:
    """Everybody's position on one path at the marks, and the mean of every stream over paths at all times."""
    d = len(config.targets[0])
    marks = [round(mark * config.steps) for mark in MARKS]
    stream = streams(config)
    means = np.stack([x[:, :d, stream == s].mean(axis=(2, 3)) for s in range(len(config.starts))], axis=1)
    return xr.Dataset(
        {
            "position": (("mark", "player", "axis"), x[marks, :d, :, 0].transpose(0, 2, 1), {"units": "length"}),
            "mean": (("time", "stream", "axis"), means, {"units": "length"}),
        },
        coords={"time": times, "mark": times[marks], "stream_of": ("player", stream)},
    )


def _as_dataset(errors: list[Approximation]) -> xr.Dataset:
    columns = {name: ("row", [getattr(row, name) for row in errors]) for name in ("felt", "force", "potential")}
    coords = {name: ("row", [getattr(row, name) for row in errors]) for name in ("sums", "size")}
    return xr.Dataset(columns, coords=coords, attrs={"used": f"{errors[0].sums} {errors[0].size}"})


_RELATIVE = "relative, root mean square, of the sums used against all pairs, halfway"


def memory(config: LargeCrowdConfig) -> dict[str, float]:
    """Noise and states of all players on the paths of learning, of valuing and of a deviator."""
    moved = 4.0 * 2 * config.players * max(map(len, config.targets), default=0) * config.steps
    return {
        "players, steps, paths": moved * config.paths,
        "players, steps": moved * 2,
        "players, steps, deviator_paths": 0.5 * moved * config.deviator_paths,
    }


STUDY = Study(
    name="large-crowd",
    source="after Guo, Li & Zhang, arXiv 2508.01929, Section 6: crowds, N in the thousands",
    shows="an equilibrium of thousands of players learned without a sum over all pairs, certified against exact sums",
    config=LargeCrowdConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={
        "quick": {},
        "paper": {"players": 10_000, "evaluation_paths": 4, "deviator_paths": 16, "certificate_paths": 400},
    },
    minutes={"quick": 1.5, "paper": 15.0},
    headline={
        "potential": Headline(
            "Φ̂ of the learned profile on the Euler steps, all pairs summed",
            "cost",
            normalisation="½ w |x − d|², c|u|², each pair counted once, divided by N − 1",
        ),
        "potential_standard_error": Headline(
            "of the simulation behind `potential` at this learned profile; not the spread over trainings", "cost"
        ),
        "felt_error": Headline(f"of what players feel: {_RELATIVE}"),
        "force_error": Headline(f"of the force on players: {_RELATIVE}"),
        "potential_error": Headline(f"of the interaction's potential: {_RELATIVE}"),
        "gap_per_player": Headline("what each sampled player's deviator gains, at least zero", "cost", shape="sample"),
        "sampled_players": Headline("who they are, from 1", shape="sample"),
        "mean_positions": Headline(
            "mean positions of the streams at T/4, T/2, 3T/4", "length", shape="streams x 3 x d"
        ),
        "seconds_per_step": Headline("seconds per gradient step of all players", "s", timing=True),
    },
    example="diffgames run large-crowd --set players=4000 sums=fourier features=512",
    published="no crowd of thousands, and no numbers",
    figures={
        "crowd": "everybody at four times, one colour a stream: streams part and arrive",
    },
)
