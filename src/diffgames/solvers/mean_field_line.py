"""Newton's step of a mean-field game on a line, one compiled program: two sweeps through time in a Krylov method.

On one axis that is not periodic the operators of a step are tridiagonal, those of all types one system, and LAPACK's
`gtsv` solves it inside of a scan over time. With M⁻¹ the two sweeps of `solvers.mean_field_newton` and J the Jacobian,
generalized conjugate residuals (Eisenstat, Elman & Schultz 1983) take

    z = M⁻¹r,  w = Jz,  w made orthogonal to earlier ones and to length one,  x ← x + ⟨r, w⟩ z,  r ← r − ⟨r, w⟩ w,

and z moved along with w: GMRES as long as no pair is forgotten; the oldest of `KEPT` is.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.numerics.cells import Cells
from diffgames.solvers.mean_field_scheme import MeanFieldScheme

KEPT, PRODUCTS = 16, 80


def on_a_line(cells: Cells) -> bool:
    """Whether the operators of a step are tridiagonal."""
    return len(cells.axes) == 1 and cells.axes[0].wall != "periodic"


def swept(
    up: Float[Array, "n K 1 N"],
    down: Float[Array, "n K 1 N"],
    dt: Float[Array, ""],
    right: Float[Array, "n K N"],
    forward: bool,
) -> Float[Array, "n K N"]:
    """L⁻¹ of what is paid at every step, or L⁻ᵀ, `forward` in time, of the masses that enter."""
    rises, falls, flat = (one.reshape(len(right), -1) for one in (up, down, right))
    above, below = (jnp.roll(falls, -1, axis=1), jnp.roll(rises, 1, axis=1)) if forward else (rises, falls)

    def step(last: Array, at: tuple[Array, ...]) -> tuple[Array, Array]:
        lower, middle, upper, entered = at
        now = jax.lax.linalg.tridiagonal_solve(-lower, middle, -upper, (entered + last / dt)[:, None])[:, 0]
        return now, now

    rows = below, 1.0 / dt + rises + falls, above, flat
    return jax.lax.scan(step, jnp.zeros_like(flat[0]), rows, reverse=not forward)[1].reshape(right.shape)


sweep = eqx.filter_jit(swept)


@eqx.filter_jit
def law_and_size(
    scheme: MeanFieldScheme, dt: Array, values: Array, later: Array, start: Array
) -> tuple[Float[Array, "n K N"], Float[Array, ""]]:
    """The law that the policies of `values` at the law `later` lead to, and the larger mean-square residual there."""
    at = scheme.equations(dt, values, later, start)[1]
    law = swept(at.up, at.down, dt, jnp.zeros_like(values).at[0].set(start / dt), True)
    first, second = scheme.equations(dt, values, law, start)[0]
    return law, jnp.sqrt(jnp.maximum(jnp.mean(first**2), jnp.mean(second**2) / scheme.cells.volume**2))


@eqx.filter_jit
def newton_step(
    scheme: MeanFieldScheme, dt: Array, values: Array, later: Array, start: Array, accuracy: Array
) -> Float[Array, "2 n K N"]:
    """The change of values and masses that Newton's method makes."""
    volume = scheme.cells.volume

    def densities(values: Array, later: Array) -> tuple[Array, tuple[Array, Array]]:
        (first, second), at = scheme.equations(dt, values, later, start)
        return jnp.stack([first, second / volume]), (at.up, at.down)

    residual, in_values, (up, down) = jax.linearize(lambda v: densities(v, later), values, has_aux=True)
    in_masses = jax.linearize(lambda m: densities(values, m)[0], later)[1]

    def preconditioned(left: Array) -> tuple[Array, Array]:
        change = swept(up, down, dt, left[0], False)
        moved = in_values(change)
        masses = swept(up, down, dt, volume * (left[1] - moved[1]), True)
        return jnp.stack([change, masses]), moved + in_masses(masses)

    return conjugate_residuals(preconditioned, residual, accuracy)


def conjugate_residuals(preconditioned: Callable[[Array], tuple[Array, Array]], right: Array, accuracy: Array) -> Array:
    """x with ‖right − Jx‖ ≤ accuracy ‖right‖, or what `PRODUCTS` products reach; r ↦ (M⁻¹r, JM⁻¹r) is given."""
    wanted = accuracy**2 * jnp.sum(right**2)

    def step(state: tuple) -> tuple:
        x, left, tried, images, count = state
        z, w = preconditioned(left)

        def apart(i: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
            along = jnp.vdot(images[i], pair[1])
            return pair[0] - along * tried[i], pair[1] - along * images[i]

        z, w = jax.lax.fori_loop(0, jnp.minimum(count, KEPT), apart, (z, w))
        size = jnp.maximum(jnp.sqrt(jnp.sum(w**2)), jnp.finfo(w.dtype).tiny)
        z, w = z / size, w / size
        along, place = jnp.vdot(left, w), count % KEPT
        return x + along * z, left - along * w, tried.at[place].set(z), images.at[place].set(w), count + 1

    def goes_on(state: tuple) -> Array:
        return (jnp.sum(state[1] ** 2) > wanted) & (state[-1] < PRODUCTS)

    none = jnp.zeros((KEPT, *right.shape), right.dtype)
    start = jnp.zeros_like(right), right, none, none, jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(goes_on, step, start)[0]
