"""Newton's method on the coupled Hamilton–Jacobi–Bellman and Fokker–Planck equations of a mean-field game on cells.

Unknowns are the values V_0 … V_{n−1} and the masses μ_1 … μ_n of all types (`solvers.mean_field_scheme`). With L the
implicit backward operator of the present policies and Lᵀ its transpose, the forward one, the Jacobian of the residuals

    R¹ = (V_j − V_{j+1})/dt − h(V_j, φ(μ_{j+1})),      R² = (μ_{j+1} − μ_j)/dt − A(V_j)ᵀ μ_{j+1}

is [[L + …, −E], [−G, Lᵀ + …]], E the derivative of the costs in the law, G of the transport in the values; what stands
for dots is the dependence on features that do not act at a point. It is applied by automatic differentiation, and GMRES
solves with [[L, 0], [−G, Lᵀ]], two sweeps through time with matrices factored once per step, as its preconditioner: the
rest is compact, and about ten products do. At the end one linear sweep of Fokker–Planck under the policies of V makes
masses positive and conserved to rounding; nothing is ever renormalized.

Picard iteration damps μ ← (1 − d) μ + d μ(V(μ)), V the best reply; `fictitious` play has d = 1/(k + 1) (Cardaliaguet
& Hadikhanloo 2017). `mirror` descent averages values instead, V ← (1 − d) V + d J with J what the policies of V cost
under the law they lead to, which is the regularized descent of Pérolat et al. (2022) with the control cost for mirror
map. They are kept for comparison, and say *cycles* where their residual stops falling.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_checks import check_effort, check_game, edge_words
from diffgames.games.mean_field_frozen import FrozenCrowd, frozen
from diffgames.games.mean_field_grid import TypedMeanFieldGame, with_numbers
from diffgames.numerics.cells import Cells
from diffgames.numerics.precision import in_double
from diffgames.solvers.mean_field_equations import FlowSystem
from diffgames.solvers.mean_field_scheme import MeanFieldScheme

PATIENCE = 15
"""Newton steps before a game of more diffusion is tried instead."""
METHODS = ("newton", "picard", "fictitious", "mirror")


@dataclass(frozen=True)
class MeanFieldSolution:
    """Values [n, K, N] at the starts of steps, masses [n + 1, K, N] and controls [n, K, d, N], and how it went.

    `residuals` holds, per iteration, the larger of the mean-square residuals of both equations (Newton), or the largest
    change of a density (the others). `status` is `solved`, `cycles` or `slow`; `cost` what each type pays.
    """

    scheme: MeanFieldScheme
    values: Float[np.ndarray, "n K N"]
    mass: Float[np.ndarray, "n1 K N"]
    control: Float[np.ndarray, "n K d N"]
    residuals: tuple[float, ...]
    status: str
    cost: Float[np.ndarray, " K"]
    method: str = "newton"
    cautions: tuple[str, ...] = field(default=())
    prices: Float[np.ndarray, "n K"] = field(default_factory=lambda: np.zeros((0, 0)))
    """Marginal prices at which a market clears."""

    @property
    def game(self) -> TypedMeanFieldGame:
        """The game that was solved."""
        return self.scheme.game

    @property
    def profile(self) -> FrozenCrowd:
        """Controls and laws, as `simulate` and `verify` take them; `InvalidInput` where agents have two states."""
        return frozen(self.game, self.scheme.cells, self.control, self.mass)

    @property
    def converged(self) -> bool:
        """Whether the equations hold to the tolerance."""
        return self.status == "solved"

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return len(self.residuals) - 1

    @property
    def dt(self) -> float:
        """Length of a step."""
        return float(self.scheme.game.horizon) / len(self.values)

    @property
    def mass_error(self) -> float:
        """Largest deviation of a type's total mass from one, at any time."""
        return float(np.abs(self.mass.sum(axis=-1) - 1.0).max())

    @property
    def density(self) -> Float[np.ndarray, "n1 K N"]:
        """Masses per volume."""
        return self.mass / self.scheme.cells.volume

    def moments(self, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of every type along an axis, [n + 1, K] each."""
        x = self.scheme.cells.points()[axis]
        mean = self.mass @ x
        return mean, self.mass @ x**2 - mean**2

    def __repr__(self) -> str:
        n, types, size = self.values.shape
        return (
            f"MeanFieldSolution({types} types, {size} cells, {n} steps; {self.method}: {self.status} after "
            f"{self.iterations} iterations, residual {self.residuals[-1]:.2g}; mass error {self.mass_error:.2g})"
        )


@in_double
def solve_mean_field(
    game: TypedMeanFieldGame,
    cells: Cells,
    steps: int,
    *,
    method: str = "newton",
    reading: str = "game",
    differences: str = "upwind",
    damping: float = 0.5,
    tolerance: float = 1e-9,
    longest: int = 60,
    begin: MeanFieldSolution | None = None,
    report: Callable[[int, float], None] = lambda iteration, residual: None,
    watch: Callable[[FlowSystem, np.ndarray], None] = lambda system, values: None,
) -> MeanFieldSolution:
    """Solve a game with a finite horizon on cells; `report` is told every residual, `watch` every iterate's values.

    Iterations start from the law at rest, or from the solution `begin` of a game near by on the same cells and steps.
    `InvalidInput` for what is no game on these cells. What is not solved is handed back and says so in `status`.
    """
    if method not in METHODS:
        raise InvalidInput("method", method, f"one of {', '.join(METHODS)}")
    if not np.isfinite(game.horizon):
        raise InvalidInput("horizon", game.horizon, "a finite time; solve_ergodic takes games without end")
    if steps < 1:
        raise InvalidInput("steps", steps, "at least 1")
    check_effort(tolerance, longest)
    if not 0.0 < damping <= 1.0:
        raise InvalidInput("damping", damping, "above 0, at most 1")
    cautions = check_game(game, cells)
    game = with_numbers(game)
    scheme = MeanFieldScheme(game, cells, reading, differences)
    if reading != "game" and scheme.law_of_speed:
        raise InvalidInput("reading", reading, "game, where a feature feels the controls")
    system = FlowSystem(scheme, steps)
    mass = np.repeat(system.start[None], steps + 1, axis=0)
    still = np.zeros((len(game.types), len(cells.axes), cells.size))
    values = np.repeat(np.asarray(scheme.terminal(jnp.asarray(system.start), jnp.asarray(still)))[None], steps, axis=0)
    if begin is not None:
        if begin.values.shape != values.shape:
            raise InvalidInput("begin", list(begin.values.shape), f"a solution with values {list(values.shape)}")
        values, mass = begin.values, begin.mass
    if method == "newton":
        run = functools.partial(newton, tolerance=tolerance)
    else:
        run = functools.partial(averaged, method=method, damping=damping, tolerance=max(tolerance, 1e-8))
    values, mass, residuals, status = run(system, values, mass, longest=longest, report=report, watch=watch)
    if method == "newton" and residuals[-1] > 1e3 * tolerance:
        mass = np.repeat(system.start[None], steps + 1, axis=0)
    local = system.local(values, mass)
    mass = system.law(local)
    cost = np.einsum("kn,kn->k", mass[0], system.paid(values, mass)[0])
    cautions += edge_words(cells, mass)
    end = tuple(residuals), status, cost, method, tuple(cautions), np.asarray(local.prices)
    return MeanFieldSolution(scheme, values, mass, np.asarray(local.control), *end)


def newton(system: FlowSystem, values, mass, tolerance: float, longest: int, report, watch) -> tuple:
    """Newton's method; where it fails, along games of more diffusion, each from the solution of the one before."""
    tried = _newton(system, values, mass, tolerance, min(longest, PATIENCE), report, watch)
    if tried[-1] == "solved":
        return tried
    width = max(axis.high - axis.low for axis in system.scheme.cells.axes)
    extra, ratio, residuals = 0.5 * width**2 / float(system.scheme.game.horizon), 0.25, list(tried[2])
    solved: float | None = None
    while len(residuals) <= longest:
        softer = FlowSystem(dataclasses.replace(system.scheme, extra=extra), system.steps)
        goal = tolerance if extra == 0.0 else 1e-3
        found = _newton(softer, values, mass, goal, min(longest - len(residuals), PATIENCE), report, watch)
        residuals += found[2][1:]
        if found[-1] == "solved":
            values, mass = found[:2]
            if extra == 0.0:
                return values, mass, residuals, "solved"
            solved, extra = extra, extra * ratio
            if extra < 1e-3 * _least_noise(system):
                extra = 0.0
        elif solved is None or ratio > 0.8:
            break
        else:
            ratio = ratio**0.5
            extra = solved * ratio
    return values, mass, residuals, "slow"


def _newton(system: FlowSystem, values, mass, tolerance: float, longest: int, report, watch) -> tuple:
    """Every step ends at the law of its policies; it is halved until the residual falls."""
    mass, size = system.settled(values, mass)
    residuals, step = [size], 1.0
    watch(system, values)
    while residuals[-1] > tolerance and len(residuals) <= longest:
        change, moved = system.newton_step(values, mass, min(0.1, max(1e-4, residuals[-1])))
        step = 1.0
        while step > 1e-4:
            tried = values - step * change
            led, size = system.settled(tried, np.concatenate([mass[:1], mass[1:] - step * moved]))
            if size < (1.0 - 1e-4 * step) * residuals[-1]:
                break
            step *= 0.5
        else:
            break
        values, mass = tried, led
        residuals.append(size)
        report(len(residuals) - 1, size)
        watch(system, values)
    return values, mass, residuals, "solved" if residuals[-1] <= tolerance else "slow"


def _least_noise(system: FlowSystem) -> float:
    """The least diffusion ½σ² of any type, that of the scheme where there is none."""
    points = jnp.asarray(system.scheme.cells.points())
    spreads = [0.5 * np.asarray(jax.vmap(one.noise, in_axes=1)(points)) ** 2 for one in system.scheme.game.types]
    return max(min(float(spread.min()) for spread in spreads), 1e-3 * system.scheme.cells.axes[0].spacing)


def averaged(
    system: FlowSystem, values, mass, method: str, damping: float, tolerance: float, longest: int, report, watch
) -> tuple:
    """Picard iteration and fictitious play average laws, mirror descent averages values; see the module's docstring."""
    residuals: list[float] = []
    for k in range(longest + 1):
        weight = 1.0 / (k + 1) if method == "fictitious" else damping
        if method == "mirror":
            mass = system.law(system.local(values, mass))
            new = system.paid(values, mass)
            size = float(np.abs(new - values).max())
            values = values + weight * (new - values)
        else:
            values = system.reply(values, mass)
            led = system.law(system.local(values, mass))
            size = float(np.abs(led - mass).max()) / system.scheme.cells.volume
            mass = mass + weight * (led - mass)
        residuals.append(size)
        report(k, size)
        watch(system, values)
        if size <= tolerance:
            return values, mass, residuals, "solved"
    recent = len(residuals) // 3
    falls = min(residuals[-recent:]) < 0.9 * min(residuals[: -recent or None]) if recent else True
    return values, mass, residuals, "slow" if falls else "cycles"
