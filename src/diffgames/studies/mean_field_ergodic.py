"""A crowd without end that dislikes, or likes, its own density: the ergodic mean-field game with closed forms.

Agents dx = u dt + σ dW on the line minimize the mean per unit of time of ½u² + ½k x² + g F(m). With F = log m

    V = ½ a x²,   u = −a x,   m = N(0, σ²/2a),   a = −g/σ² + √(g²/σ⁴ + k),   λ = ½σ²a − ½g log(πσ²/a);

with F = m and σ → 0, m = (λ − ½k x²)⁺/g, λ = ½kR², R = (3g/2k)^{1/3} (`published` holds these values). The certificate
knows nothing of the solver's equations. With ψ = exp(−V/σ²) the best reply to the frozen law is the ground state of

    −½σ⁴ψ″ + (½k x² + g F(m)) ψ = λψ,

a symmetric eigenvalue problem, and a policy u settles at the density ∝ exp(∫ 2u/σ² dx): both on grids two and four
times as fine, with the stored law interpolated.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import equinox as eqx
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy.linalg import eigh_tridiagonal

from diffgames.errors import RunFailed
from diffgames.games.mean_field_grid import (
    AgentType,
    Felt,
    LogDensity,
    MixtureDensity,
    NormalDensity,
    QuadraticControl,
    TypedMeanFieldGame,
)
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_ergodic import solve_ergodic
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.study import Headline, Parameter, Study, StudyResult, headline_words
from diffgames.verification.certificate import Certificate, exact_gap


@dataclass(frozen=True, kw_only=True)
class ErgodicConfig:
    """The game and its grid."""

    coupling: Annotated[Literal["log", "linear"], Parameter("F: the logarithm of the density, or itself")] = "log"
    g: Annotated[float, Parameter("weight of F; below 0 the crowd attracts")] = 1.0
    k: Annotated[float, Parameter("weight of ½x²", minimum=1e-6)] = 1.0
    sigma: Annotated[float, Parameter("noise", "1/√time", minimum=0.02)] = 1.0
    width: Annotated[float, Parameter("the line is cut at ± this; 0: chosen by the game", minimum=0.0)] = 0.0
    points: Annotated[int, Parameter("cells of the line", "cells", minimum=16)] = 400


@dataclass(frozen=True, kw_only=True)
class ErgodicHeadline:
    """The feedback, the law and the mean cost, and what they leave to gain."""

    slope: Annotated[float, Headline("a of u = −a x, by least squares under the law", "1/time")]
    variance: Annotated[float, Headline("variance of the law")]
    exploitability: Annotated[
        float, Headline("gain by the best reply to the frozen law on a four times finer grid", "cost/time")
    ]
    iterations: Annotated[int, Headline("Newton steps, those of games of more noise included", "steps")]
    mass_error: Annotated[float, Headline("deviation of the total mass from one, nothing divided")]


class Confined(eqx.Module):
    """½k x² + g F."""

    k: float
    g: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return 0.5 * self.k * x[0] ** 2 + self.g * felt["crowd"]


def slope_of(config: ErgodicConfig) -> float:
    """a = −g/σ² + √((g/σ²)² + k) of the closed form with the logarithm, without a difference of large numbers."""
    ratio = config.g / config.sigma**2
    root = math.hypot(ratio, math.sqrt(config.k))
    return config.k / (ratio + root) if ratio > 0 else root - ratio


def cells_of(config: ErgodicConfig) -> Cells:
    """The line, cut where the law has next to nothing: seven deviations, and the support of the game without noise."""
    spread = config.sigma / math.sqrt(2.0 * math.sqrt(config.k))
    if config.coupling == "log":
        spread = config.sigma / math.sqrt(2.0 * slope_of(config))
    radius = (1.5 * max(config.g, 0.0) / config.k) ** (1.0 / 3.0) if config.coupling == "linear" else 0.0
    width = config.width or 7.0 * spread + radius
    return Cells((CellAxis("x", -width, width, config.points, "line"),))


def game_of(config: ErgodicConfig) -> TypedMeanFieldGame:
    """The game of the parameters."""
    agents = AgentType(
        share=1.0,
        start=NormalDensity(0.0, cells_of(config).axes[0].high / 4.0),
        diffusion=config.sigma,
        control_cost=QuadraticControl(1.0),
        running_cost=Confined(config.k, config.g),
    )
    return TypedMeanFieldGame((agents,), {"crowd": LogDensity() if config.coupling == "log" else MixtureDensity()})


def run(config: ErgodicConfig, context: RunContext) -> StudyResult:
    """Solve, certify and compare with the closed forms."""
    solution = solve_ergodic(game_of(config), cells_of(config))
    x, mass, control = solution.scheme.cells.points()[0], solution.mass[0], solution.control[0, 0]
    context.log(f"{solution.status} after {solution.iterations} steps, residual {solution.residuals[-1]:.2g}")
    profile = {"control": control, "mass": mass}
    if solution.status != "solved":
        raise RunFailed(
            f"Newton's method stops at a residual of {solution.residuals[-1]:.2g}",
            "take more points or more noise; a crowd that attracts (g < 0) may have no or several equilibria",
        )
    certificate = certify(config, profile)
    variance = float(mass @ x**2 - (mass @ x) ** 2)
    density = mass / solution.scheme.cells.volume
    exact, closed = _closed(config, x)
    coords = {"x": ("x", x, {"long_name": "x"})}
    law = xr.Dataset({"solved": ("x", density), "closed form": ("x", closed), "control": ("x", control)}, coords=coords)
    law["solved"].attrs |= {"long_name": "density"}
    law["closed form"].attrs |= {"long_name": "closed form" if config.coupling == "log" else "closed form, no noise"}
    law["control"].attrs |= {"long_name": "control u"}
    headline = ErgodicHeadline(
        slope=-float(mass @ (x * control)) / float(mass @ x**2),
        variance=variance,
        exploitability=certificate.gap,
        iterations=solution.iterations,
        mass_error=solution.mass_error,
    )
    return StudyResult(
        {**vars(headline), "lambda": float(solution.constant[0])},
        certificate=certificate,
        published=exact,
        warnings=list(solution.cautions),
        arrays={"law": law},
        profile=profile,
    )


def _closed(config: ErgodicConfig, x: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """The closed form's numbers, and its density at x; for the linear coupling those of no noise."""
    if config.coupling == "log":
        a = slope_of(config)
        variance = config.sigma**2 / (2.0 * a)
        constant = 0.5 * config.sigma**2 * a - 0.5 * config.g * math.log(math.pi * config.sigma**2 / a)
        density = np.exp(-0.5 * x**2 / variance) / math.sqrt(2.0 * math.pi * variance)
        return {"slope": a, "variance": variance, "lambda": constant}, density
    if config.g <= 0:
        return {}, np.full_like(x, np.nan)
    radius = (1.5 * config.g / config.k) ** (1.0 / 3.0)
    constant = 0.5 * config.k * radius**2
    density = np.maximum(constant - 0.5 * config.k * x**2, 0.0) / config.g
    return {"lambda": constant, "variance": 0.2 * radius**2}, density


def verify(config: ErgodicConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed."""
    return certify(config, profile)


def certify(config: ErgodicConfig, profile: dict[str, Any]) -> Certificate:
    """The gap of a profile against the law stored with it, on grids two and four times as fine."""
    cells, mass = cells_of(config), np.asarray(profile["mass"])
    found = [_on_finer(config, cells, factor, np.asarray(profile["control"]), mass) for factor in (2, 4)]
    (coarse, reply, _), (value, best, apart) = found
    gain = value - best
    entry = exact_gap("agent", -value, gain, abs(gain - coarse + reply), selected="")
    checks = {"mass error": float(abs(mass.sum() - 1.0)), "distance of the law from its policy, W1": apart}
    return Certificate((entry,), "ground state of the best reply's Schrödinger equation on two finer grids", "", checks)


def _on_finer(
    config: ErgodicConfig, cells: Cells, factor: int, control: np.ndarray, mass: np.ndarray
) -> tuple[float, float, float]:
    """The mean cost of the stored policy, that of the best reply, and how far the policy's law is from the stored."""
    coarse, fine = cells.points()[0], cells.refined(factor).points()[0]
    h, noise = fine[1] - fine[0], config.sigma**2
    density = mass / cells.volume
    logs = np.interp(fine, coarse, np.log(np.maximum(density, 1e-300)))
    felt = logs if config.coupling == "log" else np.exp(logs)
    field = 0.5 * config.k * fine**2 + config.g * felt
    u = np.interp(fine, coarse, control)
    tall = np.concatenate([[0.0], np.cumsum(h * (u[1:] + u[:-1]) / noise)])
    law = np.exp(tall - tall.max())
    law /= law.sum()
    value = float(law @ (0.5 * u**2 + field))
    side = np.full(len(fine) - 1, -0.5 * noise**2 / h**2)
    middle = noise**2 / h**2 + field
    middle[[0, -1]] -= 0.5 * noise**2 / h**2  # walls reflect
    best = float(eigh_tridiagonal(middle, side, eigvals_only=True, select="i", select_range=(0, 0))[0])
    stored = np.repeat(mass, factor) / factor
    return value, best, float(np.abs(np.cumsum(law - stored)).sum() * h)


def memory(config: ErgodicConfig) -> dict[str, float]:
    """The basis of the linear solves."""
    return {"points": 8.0 * 100 * config.points}


STUDY = Study(
    name="mean-field-ergodic",
    source="Lasry & Lions (2007), ergodic game with quadratic control; closed forms derived anew",
    shows="a crowd without end: feedback, law and mean cost to the digits of their closed forms",
    config=ErgodicConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"points": 1600}},
    minutes={"quick": 0.3, "paper": 0.5},
    headline={
        **headline_words(ErgodicHeadline),
        "lambda": Headline("λ, the mean cost per unit of time", "cost/time"),
    },
    example="diffgames run mean-field-ergodic --set coupling=linear sigma=0.1",
    published="closed forms: exact for the logarithm, the limit without noise for the linear coupling",
    figures={
        "law": Drawing(
            "the solved density lies on the closed form; agents steer to the middle",
            "law",
            lines("solved", "closed form"),
            lines("control"),
        )
    },
)
