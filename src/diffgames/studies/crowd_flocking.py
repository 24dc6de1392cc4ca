"""Flocking: players who feel drawn to one another on the way to their own targets (Section 6.2.2, Figures 2 and 3).

Quadratic kernel K = ½|z|², uniform weights (q_ij = 1) and two groups {2, 3}, {1, 4}; the game is linear-quadratic, so
that the learned potential stands beside its exact optimum. As in the paper's examples the interaction is not divided by
N − 1 (`normalise`). Weights of one's own go in as `weights`; said to be `symmetric` they must be.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.distributed import DistributedGame
from diffgames.games.kernels import Quadratic
from diffgames.studies import crowd_figures
from diffgames.studies.context import RunContext
from diffgames.studies.crowd_parameters import CrowdParameters, Matrix, build_game, crowd_memory, player_count
from diffgames.studies.crowd_solution import CrowdSolution, certify, merged, solve
from diffgames.studies.crowd_words import HEADLINE
from diffgames.studies.study import Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

Network = Literal["uniform", "groups", "weights"]


@dataclass(frozen=True, kw_only=True)
class FlockingConfig(CrowdParameters):
    """The game on one or several networks."""

    networks: Annotated[tuple[Network, ...], Parameter("networks to solve, one by one", shape="networks")] = (
        "uniform",
        "groups",
    )
    groups: Annotated[
        tuple[tuple[int, ...], ...], Parameter("who flocks with whom, from 1", shape="groups of players")
    ] = ((2, 3), (1, 4))
    weights: Annotated[
        Matrix | None, Parameter("q_ij of the network `weights`, i's care for j", shape="players x players")
    ] = None
    symmetric: Annotated[bool, Parameter("`weights` are symmetric (then α = 0); checked")] = True
    kernel_scale: Annotated[float, Parameter("s in the kernel K = ½ s |z|²")] = 1.0


def games_of(config: FlockingConfig) -> dict[str, DistributedGame]:
    """The game on each of the networks asked for."""
    n = player_count(config)
    if not config.networks or len(set(config.networks)) != len(config.networks):
        raise InvalidInput("networks", config.networks, "one or more different networks")
    found = {}
    for name in config.networks:
        if name == "weights":
            if config.weights is None:
                raise InvalidInput("weights", None, f"a {n} x {n} matrix, for the network `weights`")
            ragged = len({len(row) for row in config.weights}) != 1
            matrix = [[0.0]] if ragged else config.weights
            weights = networks.checked_weights(matrix, n, symmetric=config.symmetric)
        else:
            weights = networks.complete(n) if name == "uniform" else networks.groups(config.groups, n)
        found[name] = build_game(config, Quadratic(config.kernel_scale), weights)
    return found


def run(config: FlockingConfig, context: RunContext) -> StudyResult:
    """Learn, value and certify the game on every network."""
    solutions: dict[str, CrowdSolution] = {}
    certificates: dict[str, Certificate] = {}
    for index, (name, game) in enumerate(games_of(config).items()):
        solve_key, certify_key = jax.random.split(jax.random.fold_in(context.key, index))
        solutions[name] = solve(config, context, game, name, solve_key)
        certificates[name] = certify(config, context, game, solutions[name].policy, name, certify_key)
    return outcome(config, solutions, certificates)


def outcome(
    config: CrowdParameters,
    solutions: dict[str, CrowdSolution],
    certificates: dict[str, Certificate],
    *,
    samples: int = 1,
) -> StudyResult:
    """Numbers and figures of all networks; one network alone is not listed."""
    several = len(solutions) > 1
    rows = {
        name: {**found.headline, "gap_per_player": [entry.gap for entry in certificates[name].entries]}
        for name, found in solutions.items()
    }
    headline = {
        key: [row[key] for row in rows.values()] if several else next(iter(rows.values()))[key] for key in HEADLINE
    }
    certificate = merged(certificates)
    targets, start = np.asarray(config.targets), np.asarray(config.start)
    figures: dict[str, Any] = {
        f"paths_{name.replace(' ', '_')}": crowd_figures.crowd_paths(found.paths, targets, start, name, samples=samples)
        for name, found in solutions.items()
    }
    exact = {name: found.headline["potential_exact"] for name, found in solutions.items()}
    figures["learning"] = crowd_figures.potential_curve({n: s.losses for n, s in solutions.items()}, exact)
    figures["certificate"] = crowd_figures.gaps(certificate, _allowed(solutions, certificates))
    return StudyResult(
        headline=headline,
        certificate=certificate,
        warnings=_warnings(solutions, certificates),
        arrays={f"paths_{name}": found.paths for name, found in solutions.items()},
        profile={name: found.policy for name, found in solutions.items()},
        figures=figures,
    )


def _allowed(solutions: dict[str, CrowdSolution], certificates: dict[str, Certificate]) -> dict[str, float]:
    """α + optimisation error, which Lemma 2.1 allows every player to gain, where the optimum is known."""
    found = {}
    for name, solution in solutions.items():
        error = solution.headline["learning_error"]
        if error is not None:
            slack = solution.headline["alpha_bound"] + max(error, 0.0)
            slack += 2.0 * solution.headline["potential_standard_error"]
            for entry in certificates[name].entries:
                found[entry.label if len(solutions) == 1 else f"{name}: {entry.label}"] = slack
    return found


def _warnings(solutions: dict[str, CrowdSolution], certificates: dict[str, Certificate]) -> list[str]:
    allowed = _allowed(solutions, certificates)
    return [
        f"{entry.label} gains {entry.gain:.2g}, more than α + optimisation error = {allowed[entry.label]:.2g}"
        for entry in merged(certificates).entries
        if entry.label in allowed and entry.lower > allowed[entry.label]
    ]


def verify(config: FlockingConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed."""
    certificates = {}
    for index, (name, game) in enumerate(games_of(config).items()):
        certify_key = jax.random.split(jax.random.fold_in(context.key, index))[1]
        certificates[name] = certify(config, context, game, profile[name], name, certify_key)
    return merged(certificates)


STUDY = Study(
    name="crowd-flocking",
    source="Guo, Li & Zhang, arXiv 2508.01929, Section 6.2.2, Figures 2 and 3",
    shows="players who are drawn to one another flock on the way to their own targets; the network decides with whom",
    config=FlockingConfig,
    run=run,
    memory=crowd_memory,
    verify=verify,
    presets={
        "quick": {"deviator_updates": 160, "certificate_paths": 4000},
        "paper": {"policy": "ladder", "paths": 500, "epochs": 60},
    },
    minutes={"quick": 1.0, "paper": 10.0},
    headline=HEADLINE,
    example="diffgames run crowd-flocking --set groups=[[1,2],[3,4]]",
    published="figures of paths without numbers; uniform and grouped weights are symmetric, so that α = 0",
    figures={
        "paths_uniform": "all gather at one point before they part",
        "paths_groups": "each group gathers at a point of its own",
    },
)
