"""Aversion: players who keep their distance on the way to a common target (Section 6.2.1, Figure 1).

Gaussian kernel K = ½ exp(−100 |z|²) by default (∇K = −100 z exp(−100 |z|²), the paper's), everybody alike. The game is
symmetric, so that its potential is exact and α = 0, but not quadratic: linear gains are a first rung, and the network
of Appendix A on top of them reacts to others nonlinearly. Other kernels and networks are one setting away.

Forces between pairs cancel in the crowd's centre, which moves like a lone player: with start at zero on average at
v t, v = w d/(2c + w T), and so to 5/6 of the common target d. That mean paths stop short is the equilibrium.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import jax

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.distributed import DistributedGame
from diffgames.studies.context import RunContext
from diffgames.studies.crowd_flocking import outcome
from diffgames.studies.crowd_parameters import (
    CrowdParameters,
    KernelParameters,
    Matrix,
    build_game,
    crowd_memory,
    kernel_of,
    player_count,
)
from diffgames.studies.crowd_solution import CrowdSolution, certify, solve
from diffgames.studies.crowd_words import HEADLINE
from diffgames.studies.study import Parameter, Study, StudyResult, with_defaults
from diffgames.verification.certificate import Certificate


@dataclass(frozen=True, kw_only=True)
@with_defaults(targets=((0.5, 0.5),) * 4, terminal_weight=1.0, policy="ladder", grade=1.0, fine_steps=100)
class AversionConfig(CrowdParameters, KernelParameters):
    """The game, by kernel and network."""

    speed: Annotated[
        float | None,
        Parameter("bound of velocities' differences, for α with cucker-smale; null: none", "length/time", minimum=0.0),
    ] = None
    weights: Annotated[Matrix | None, Parameter("q_ij, i's care for j; null: 1 for all", shape="players x players")] = (
        None
    )
    symmetric: Annotated[bool, Parameter("`weights` are symmetric (then α = 0); checked")] = True


def game_of(config: AversionConfig) -> DistributedGame:
    """The game of the parameters."""
    n, kernel = player_count(config), kernel_of(config, config.speed)
    weights = networks.complete(n)
    if config.weights is not None:
        if len({len(row) for row in config.weights}) != 1:
            raise InvalidInput("weights", config.weights, f"a {n} x {n} matrix")
        weights = networks.checked_weights(config.weights, n, symmetric=config.symmetric)
    if networks.imbalance(weights) > 0:
        kernel.curvature()  # α needs it: refused here, before anything is learned
    return build_game(config, kernel, weights, kinetic=config.kernel == "cucker-smale")


def run(config: AversionConfig, context: RunContext) -> StudyResult:
    """Learn, value and certify."""
    game = game_of(config)
    solve_key, certify_key = jax.random.split(context.key)
    solution = solve(config, context, game, "aversion", solve_key)
    certificate = certify(config, context, game, solution.policy, "aversion", certify_key)
    found = outcome(config, {"aversion": solution}, {"aversion": certificate})
    return dataclasses.replace(found, warnings=[*found.warnings, *_beyond(config, solution)])


def _beyond(config: AversionConfig, solution: CrowdSolution) -> list[str]:
    """Whether velocities were further apart than α's bound supposes."""
    apart = solution.paths.attrs.get("velocities_apart", 0.0)
    if config.speed is None or apart <= config.speed:
        return []
    return [
        f"velocities differ by up to {apart:.3g} on sampled paths, more than speed = {config.speed:g} in alpha_bound"
    ]


def verify(config: AversionConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed."""
    certify_key = jax.random.split(context.key)[1]
    return certify(config, context, game_of(config), profile["aversion"], "aversion", certify_key)


STUDY = Study(
    name="crowd-aversion",
    source="Guo, Li & Zhang, arXiv 2508.01929, Section 6.2.1, Figure 1",
    shows="players who dislike crowds spread out at once and close in again near their common target",
    config=AversionConfig,
    run=run,
    memory=crowd_memory,
    verify=verify,
    presets={
        "quick": {
            "epochs": 16,
            "fine_epochs": 6,
            "network_rate": 2e-3,
            "deviator_updates": 160,
            "certificate_paths": 4000,
        },
        "paper": {"epochs": 60, "paths": 500},
    },
    minutes={"quick": 2.0, "paper": 15.0},
    headline=HEADLINE,
    example="diffgames run crowd-aversion --set kernel=indicator --set radius=0.2",
    published="Figure 1 without numbers; uniform weights are symmetric, so that α = 0 (Section 6.2.1)",
    figures={
        "paths_aversion": "players part at once, and close in again near the target",
    },
)
