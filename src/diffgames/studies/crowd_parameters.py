"""Parameters shared by the crowd studies (Guo, Li & Zhang, arXiv 2508.01929, Section 6.2)."""

import math
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games.crowd import crowd_game
from diffgames.games.distributed import DistributedGame
from diffgames.games.kernels import AbstractKernel, CuckerSmale, Gaussian, Quadratic, SmoothedIndicator
from diffgames.games.networks import Weights
from diffgames.solvers.policy_gradient import Schedule
from diffgames.studies.study import Parameter
from diffgames.verification.player_deviator import DeviatorBudget

Row = tuple[float, ...]
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PhysicsParameters:
    """What moves every player of any crowd, and what moving costs (equations 6.18–6.19)."""

    horizon: Annotated[float, Parameter("T", "time", minimum=1e-6)] = 1.0
    effort: Annotated[float, Parameter("weight c of the running cost c|u|²", minimum=1e-9)] = 0.1
    terminal_weight: Annotated[float, Parameter("w in the terminal cost ½ w |x − d|²", minimum=1e-9)] = 40.0
    noise: Annotated[float, Parameter("σ of the players' own noise", "length/√time", minimum=0.0)] = 0.1
    jump_size: Annotated[float, Parameter("γ, own jumps along each axis", "length", minimum=0.0)] = 0.1
    common_jump_size: Annotated[
        float, Parameter("γ₀, jumps shared by all players, along each axis", "length", minimum=0.0)
    ] = 0.0
    common_rate: Annotated[float, Parameter("intensity of the common jumps per axis", "1/time", minimum=0.0)] = 0.25

    def physics(self) -> dict[str, Any]:
        """Them by name, as `crowd_game` takes them."""
        return {one.name: getattr(self, one.name) for one in fields(PhysicsParameters)}


@dataclass(frozen=True, kw_only=True)
class MotionParameters(PhysicsParameters):
    """A few players from one start to targets of their own."""

    targets: Annotated[Matrix, Parameter("where each player wants to end", "length", shape="players x d")] = (
        (0.25, 0.0),
        (0.0, 0.5),
        (-0.75, 0.0),
        (0.0, -1.0),
    )
    start: Annotated[Row, Parameter("where everybody starts", "length", shape="d")] = (0.0, 0.0)
    rates: Annotated[Row, Parameter("intensity of own jumps per axis", "1/time", shape="players")] = (
        0.3,
        0.2,
        0.2,
        0.2,
    )
    common_noise: Annotated[
        float, Parameter("σ₀ of the noise shared by all players, per axis", "length/√time", minimum=0.0)
    ] = 0.0
    normalise: Annotated[
        bool, Parameter("divide the interaction by N − 1 (equation 6.1) or not (Section 6.2's examples)")
    ] = False


@dataclass(frozen=True, kw_only=True)
class KernelParameters:
    """How players feel those near them (Example 6.1)."""

    kernel: Annotated[
        Literal["gaussian", "indicator", "quadratic", "cucker-smale"],
        Parameter("interaction kernel (Example 6.1); with cucker-smale players steer their velocities"),
    ] = "gaussian"
    kernel_height: Annotated[float, Parameter("h of the kernel; negative turns aversion into attraction")] = 0.5
    kernel_rate: Annotated[float, Parameter("c in exp(−c |z|²)", "1/length²", minimum=1e-9)] = 100.0
    radius: Annotated[float, Parameter("personal space of the indicator", "length", minimum=1e-9)] = 0.1
    smoothing: Annotated[float, Parameter("softness of its edge", "length", minimum=1e-9)] = 0.05
    exponent: Annotated[float, Parameter("β of cucker-smale", minimum=0.0)] = 0.5


def kernel_of(config: KernelParameters, speed: float | None = None) -> AbstractKernel:
    """The kernel asked for; `speed` bounds differences of velocities in the α of cucker-smale."""
    if config.kernel == "gaussian":
        return Gaussian(config.kernel_rate, config.kernel_height)
    if config.kernel == "quadratic":
        return Quadratic(config.kernel_height)
    if config.kernel == "cucker-smale":
        return CuckerSmale(config.exponent, config.kernel_height, math.inf if speed is None else speed)
    return SmoothedIndicator(config.radius, config.smoothing, config.kernel_height)


@dataclass(frozen=True, kw_only=True)
class DescentParameters:
    """How the potential is minimised (Algorithm 1)."""

    policy: Annotated[
        Literal["linear", "ladder", "network"],
        Parameter("linear gains; gains, then gains plus residual network; the network of Appendix A alone"),
    ] = "linear"
    steps: Annotated[int, Parameter("Euler steps while learning", "steps", minimum=2)] = 50
    grade: Annotated[float, Parameter("grading of the steps towards T; 1 is uniform", minimum=1.0, maximum=6.0)] = 1.5
    epochs: Annotated[int, Parameter("epochs of 50 gradient steps, per rung", "epochs", minimum=1)] = 30
    fine_steps: Annotated[
        int, Parameter("Euler steps of the last epochs of the gains, and of judging", "steps", minimum=2)
    ] = 120
    fine_epochs: Annotated[int, Parameter("epochs on the fine steps", "epochs", minimum=1)] = 12
    paths: Annotated[int, Parameter("fresh paths per gradient step", "paths", minimum=2)] = 200
    learning_rate: Annotated[float, Parameter("Adam's rate for the gains", minimum=1e-9)] = 0.05
    decay: Annotated[float, Parameter("factor of the gains' rate per epoch", minimum=0.1, maximum=1.0)] = 0.9
    network_rate: Annotated[float, Parameter("Adam's rate for networks", minimum=1e-9)] = 1e-3
    knots: Annotated[int, Parameter("knots in time of the linear gains", "knots", minimum=2)] = 21
    width: Annotated[int | None, Parameter("network width; null: N d + 10", "units", minimum=1)] = None
    blocks: Annotated[int, Parameter("residual blocks of a network", "blocks", minimum=1)] = 4


@dataclass(frozen=True, kw_only=True)
class DeviatorParameters:
    """What the search for deviations may spend."""

    deviator_updates: Annotated[int, Parameter("of each of two deviators", "updates", minimum=1)] = 320
    deviator_paths: Annotated[int, Parameter("fresh paths per update", "paths", minimum=2)] = 200
    certificate_paths: Annotated[int, Parameter("held-out paths per interval", "paths", minimum=10)] = 8000


@dataclass(frozen=True, kw_only=True)
class JudgementParameters(DeviatorParameters):
    """How the learned profile is judged."""

    evaluation_paths: Annotated[int, Parameter("fresh paths behind the values", "paths", minimum=10)] = 16000
    bound: Annotated[
        float | None, Parameter("L, bound of every control's norm in L²; null: the largest measured", minimum=1e-9)
    ] = None
    alpha_updates: Annotated[int, Parameter("ascent steps of the search for α", "updates", minimum=1)] = 150


@dataclass(frozen=True, kw_only=True)
class CrowdParameters(JudgementParameters, DescentParameters, MotionParameters):
    """All of them."""


def player_count(config: MotionParameters) -> int:
    """How many players the targets name."""
    if not config.targets or not config.targets[0] or len({len(row) for row in config.targets}) != 1:
        raise InvalidInput("targets", config.targets, "rows of one length, one per player, none empty")
    return len(config.targets)


def build_game(
    config: MotionParameters, kernel: AbstractKernel, weights: Weights, *, kinetic: bool = False
) -> DistributedGame:
    """The crowd game of the parameters; `InvalidInput` where shapes do not fit."""
    targets, n = config.targets, player_count(config)
    d = len(targets[0])
    if len(config.start) != d:
        raise InvalidInput("start", config.start, f"{d} numbers, as every target has")
    if len(config.rates) not in (1, n):
        raise InvalidInput("rates", config.rates, f"one intensity, or one for each of {n} players")
    return crowd_game(
        kernel,
        weights,
        np.asarray(targets, float),
        start=np.asarray(config.start, float),
        **config.physics(),
        rates=np.broadcast_to(np.asarray(config.rates, float), (n,)),
        common_noise=config.common_noise,
        normalise=config.normalise,
        kinetic=kinetic,
    )


def motion_memory(config: MotionParameters, paths: int, steps: int) -> float:
    """Bytes of the noise and the states of all players on so many paths, in single precision."""
    return 4.0 * 2 * len(config.targets) * max(map(len, config.targets), default=0) * paths * steps


def crowd_memory(config: CrowdParameters) -> dict[str, float]:
    """Paths of learning and of judging, and the networks with Adam's two moments."""
    seen = min(config.evaluation_paths, 4000)
    found = {
        "paths, steps": motion_memory(config, config.paths, config.steps),
        "paths, fine_steps": motion_memory(config, config.paths, config.fine_steps),
        "evaluation_paths, fine_steps": motion_memory(config, seen, 2 * config.fine_steps),
        "evaluation_paths": 8.0 * 3 * config.evaluation_paths,
        "deviator_paths, fine_steps": motion_memory(config, config.deviator_paths, config.fine_steps),
    }
    if config.policy != "linear" and config.width is not None:
        found["width, blocks"] = 4.0 * 3 * config.blocks * config.width**2
    return found


def patience(config: PhysicsParameters) -> float:
    """2c/w: over so long before T effort is dearer than missing the target."""
    return 2.0 * config.effort / config.terminal_weight


def gains_schedule(config: DescentParameters) -> Schedule:
    """The descent of linear gains."""
    return Schedule(
        epochs=config.epochs, paths=config.paths, learning_rate=config.learning_rate, decay=config.decay, patience=10**6
    )


def fine_schedule(config: DescentParameters) -> Schedule:
    """The last epochs of the gains, on fine steps and with small rates, the second half averaged."""
    return Schedule(
        epochs=config.fine_epochs,
        paths=config.paths,
        learning_rate=0.1 * config.learning_rate,
        decay=config.decay,
        patience=10**6,
        average=0.5,
    )


def network_schedule(config: DescentParameters) -> Schedule:
    """The descent of networks: the paper's, reduce on plateau."""
    return Schedule(epochs=config.epochs, paths=config.paths, learning_rate=config.network_rate)


def deviator_budget(config: JudgementParameters) -> DeviatorBudget:
    """What a certificate may spend."""
    return DeviatorBudget(
        updates=config.deviator_updates, paths=config.deviator_paths, evaluation=config.certificate_paths
    )
