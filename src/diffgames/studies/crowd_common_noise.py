"""Flocking under common jumps alone (Section 6.2.3, Figure 4): the whole flock is thrown off course at once.

The game of `crowd-flocking` with uniform weights, no noise of the players' own (σ = γ = 0) and compensated Poisson
jumps of size γ₀ and intensity 0.25 per axis that all players share. The paper does not state γ₀; 0.3 is ours.
"""

from dataclasses import dataclass
from typing import Annotated

import jax

from diffgames.games import networks
from diffgames.games.kernels import Quadratic
from diffgames.studies import crowd_flocking
from diffgames.studies.context import RunContext
from diffgames.studies.crowd_parameters import CrowdParameters, build_game, crowd_memory, player_count
from diffgames.studies.crowd_solution import certify, solve
from diffgames.studies.crowd_words import HEADLINE
from diffgames.studies.study import Parameter, Study, StudyResult, with_defaults
from diffgames.verification.certificate import Certificate


@dataclass(frozen=True, kw_only=True)
@with_defaults(noise=0.0, jump_size=0.0, common_jump_size=0.3)
class CommonNoiseConfig(CrowdParameters):
    """The flocking game, moved by common noise."""

    kernel_scale: Annotated[float, Parameter("s in the kernel K = ½ s |z|²")] = 1.0


def game_of(config: CommonNoiseConfig):
    """The game of the parameters."""
    return build_game(config, Quadratic(config.kernel_scale), networks.complete(player_count(config)))


def run(config: CommonNoiseConfig, context: RunContext) -> StudyResult:
    """Learn, value and certify; two sample paths are shown, as in the paper."""
    game = game_of(config)
    solve_key, certify_key = jax.random.split(context.key)
    solution = solve(config, context, game, "common noise", solve_key)
    certificate = certify(config, context, game, solution.policy, "common noise", certify_key)
    return crowd_flocking.outcome(config, {"common noise": solution}, {"common noise": certificate}, samples=2)


def verify(config: CommonNoiseConfig, profile: dict, context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed."""
    certify_key = jax.random.split(context.key)[1]
    return certify(config, context, game_of(config), profile["common noise"], "common noise", certify_key)


STUDY = Study(
    name="crowd-common-noise",
    source="Guo, Li & Zhang, arXiv 2508.01929, Section 6.2.3, Figure 4",
    shows="jumps that all players share throw a flock off course together, and it realigns",
    config=CommonNoiseConfig,
    run=run,
    memory=crowd_memory,
    verify=verify,
    presets={"quick": {"deviator_updates": 160, "certificate_paths": 4000}, "paper": {"paths": 500, "epochs": 60}},
    minutes={"quick": 1.0, "paper": 4.0},
    headline=HEADLINE,
    example="diffgames run crowd-common-noise --set common_jump_size=0.5",
    published="Figure 4 without numbers; uniform weights are symmetric, so that α = 0",
    figures={
        "paths_common_noise": "one path: all are thrown off together at a jump, and realign",
    },
)
