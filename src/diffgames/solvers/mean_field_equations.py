"""The coupled equations of a mean-field game on cells at all times: residuals, replies, laws, and a Newton step.

Unknowns are the values V_0 … V_{n−1} and the masses μ_1 … μ_n of all types (`solvers.mean_field_scheme`);
`solvers.mean_field_newton` states the residuals, and how their linearization is solved.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import RunFailed
from diffgames.numerics.cells import Resolvent
from diffgames.numerics.precision import in_double
from diffgames.solvers import mean_field_line
from diffgames.solvers.krylov import krylov
from diffgames.solvers.mean_field_scheme import Local, MeanFieldScheme


class FlowSystem:
    """The discrete equations of a game on [0, T] in `steps` steps, their derivatives, and the sweeps through time."""

    @in_double
    def __init__(self, scheme: MeanFieldScheme, steps: int):
        self.scheme, self.steps = scheme, steps
        self.dt = jnp.asarray(scheme.game.horizon, float) / steps
        self.on_a_line = mean_field_line.on_a_line(scheme.cells)
        self.start = scheme.game.start(scheme.cells)

    def local(self, values: np.ndarray, mass: np.ndarray) -> Local:
        """Hamiltonians, rates and controls at every step, as NumPy arrays."""
        return self._equations(values, mass)[1]

    def residual(self, values: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R¹ and R²."""
        return self._equations(values, mass)[0]

    @in_double
    def _equations(
        self, values: np.ndarray, mass: np.ndarray, prices: np.ndarray | None = None
    ) -> tuple[tuple[np.ndarray, np.ndarray], Local]:
        return jax.tree.map(np.asarray, _equations(self.scheme, self.dt, values, mass[1:], self.start, prices))

    def factored(self, local: Local) -> list[Resolvent] | Local:
        """1/dt − A of every step; on a line the rates say it."""
        if self.on_a_line:
            return local
        pairs = zip(local.up, local.down, strict=True)
        return [Resolvent(self.scheme.cells, up, down, 1.0 / float(self.dt)) for up, down in pairs]

    def backward(self, factors: list[Resolvent] | Local, right: np.ndarray) -> np.ndarray:
        """L⁻¹: values of the present policies, from what is paid at every step."""
        return self._swept(factors, right, forward=False)

    def forward(self, factors: list[Resolvent] | Local, right: np.ndarray) -> np.ndarray:
        """L⁻ᵀ: masses under the present policies, from what enters at every step."""
        return self._swept(factors, right, forward=True)

    @in_double
    def _swept(self, factors: list[Resolvent] | Local, right: np.ndarray, forward: bool) -> np.ndarray:
        if isinstance(factors, Local):
            return np.asarray(mean_field_line.sweep(factors.up, factors.down, self.dt, jnp.asarray(right), forward))
        found, last, dt = np.empty_like(right), np.zeros(right.shape[1:]), float(self.dt)
        for j in range(self.steps) if forward else range(self.steps - 1, -1, -1):
            last = found[j] = factors[j](right[j] + last / dt, transpose=forward)
        return found

    def law(self, local: Local) -> np.ndarray:
        """The law that the chains lead to, from the start: [n + 1, K, N]."""
        right = np.zeros((self.steps, *self.start.shape))
        right[0] = self.start / float(self.dt)
        return np.concatenate([self.start[None], self.forward(self.factored(local), right)])

    def reply(self, values: np.ndarray, mass: np.ndarray, tolerance: float = 1e-11) -> np.ndarray:
        """Values of the best reply to a law: policy iteration on all steps at once, each a linear sweep.

        Prices of a market are those that the given values make.
        """
        prices = None if self.scheme.game.market is None else np.asarray(self.local(values, mass).prices)
        for _ in range(60):
            (residual, _), local = self._equations(values, mass, prices)
            change = self.backward(self.factored(local), residual)
            values = values - change
            if np.abs(change).max() <= tolerance * (1.0 + np.abs(values).max()):
                return values
        raise RunFailed("the best reply to the law is not found in 60 policy iterations", "take more points or steps")

    def paid(self, values: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """What the policies of `values` cost from every cell and step, [n, K, N], as agents pay it under a law."""
        local = self.local(values, mass)
        right = np.array(local.paid)
        right[-1] += self._final(mass[-1], np.asarray(local.control[-1])) / float(self.dt)
        return self.backward(self.factored(local), right)

    @in_double
    def _final(self, mass: np.ndarray, control: np.ndarray) -> np.ndarray:
        plain = dataclasses.replace(self.scheme, reading="game")
        return np.asarray(plain.terminal(jnp.asarray(mass), jnp.asarray(control)))

    def exploitability(self, values: np.ndarray, mass: np.ndarray | None = None) -> Float[np.ndarray, " K"]:
        """What one agent of each type gains on the policies of `values` by the best reply to the law they lead to.

        `mass` [n + 1, K, N] is the law at which a market clears, where there is one.
        """
        if mass is None:
            mass = np.repeat(self.start[None], self.steps + 1, 0)
        mass = self.law(self.local(values, mass))
        paid = self.paid(values, mass)
        return np.einsum("kn,kn->k", self.start, (paid - self.reply(paid, mass))[0])

    def measure(self, values: np.ndarray, mass: np.ndarray) -> float:
        """The larger root-mean-square residual, costs and densities per unit of time."""
        first, second = self.residual(values, mass)
        second = second / self.scheme.cells.volume
        return float(max(np.sqrt(np.mean(first**2)), np.sqrt(np.mean(second**2))))

    def _arrays(self, values: np.ndarray, mass: np.ndarray) -> tuple[Array, Array, Array]:
        return jnp.asarray(values), jnp.asarray(mass[1:]), jnp.asarray(self.start)

    @in_double
    def settled(self, values: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, float]:
        """The law that the policies of `values` at a law lead to, [n + 1, K, N], and the residual there."""
        if self.on_a_line:
            later, size = mean_field_line.law_and_size(self.scheme, self.dt, *self._arrays(values, mass))
            return np.concatenate([self.start[None], later]), float(size)
        mass = self.law(self.local(values, mass))
        return mass, self.measure(values, mass)

    @in_double
    def newton_step(self, values: np.ndarray, mass: np.ndarray, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
        """The change of values and masses that Newton's method makes."""
        if self.on_a_line:
            arrays = self._arrays(values, mass)
            change, moved = mean_field_line.newton_step(self.scheme, self.dt, *arrays, jnp.asarray(accuracy))
            return np.asarray(change), np.asarray(moved)
        both, local = self._equations(values, mass)
        factors, residual, nothing = self.factored(local), np.stack(both), np.zeros_like(values)
        derivative = _linearized(self.scheme, self.dt, values, mass[1:], self.start)

        def swept(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            change = self.backward(factors, right[0])
            return change, self.forward(factors, right[1] - np.asarray(_applied(derivative, change, nothing)[1]))

        def product(right: np.ndarray) -> np.ndarray:
            return np.stack(_applied(derivative, *swept(right)))

        scale = np.asarray([1.0, 1.0 / self.scheme.cells.volume])[:, None, None, None]
        return swept(krylov(lambda y: scale * product(y / scale), scale * residual, accuracy) / scale)


@eqx.filter_jit
def _equations(scheme, dt, values, later, start, prices=None):
    return scheme.equations(dt, values, later, start, prices)


@eqx.filter_jit
def _linearized(scheme, dt, values, later, start):
    return jax.linearize(lambda v, m: scheme.equations(dt, v, m, start)[0], values, later)[1]


@eqx.filter_jit
def _applied(linear, *changes):
    return linear(*changes)
