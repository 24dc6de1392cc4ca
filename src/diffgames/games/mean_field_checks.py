"""What is no mean-field game on given cells, said before anything is solved; and what only calls for caution.

Functions are probed at every cell, under the mean of the starting law and the uniform one: there every feature of a law
with mass everywhere is felt, the logarithm of a density too. A coupling is probed for the monotonicity of Lasry & Lions
(2007), of which ⟨δ, (∂f_τ/∂m_τ) δ⟩ ≥ 0 for all δ of zero mass is a necessary part: without it several equilibria are
possible.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import AgentType, TypedMeanFieldGame, with_numbers
from diffgames.games.mean_field_market import check_market
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.numerics.precision import in_double

SAMPLES, PROBES = 64, 32


@in_double
def check_game(game: TypedMeanFieldGame, cells: Cells) -> list[str]:
    """`InvalidInput` for what is no mean-field game on these axes; in words what only calls for caution."""
    if not game.types:
        raise InvalidInput("types", 0, "at least one type")
    share = np.asarray(game.share)
    if not (share.min() > 0 and abs(share.sum() - 1.0) <= 1e-9):
        raise InvalidInput("share", share.tolist(), "positive shares that sum to one")
    if not float(game.horizon) > 0:
        raise InvalidInput("horizon", float(game.horizon), "a positive time")
    game = with_numbers(game)
    low, high = (np.asarray([float(getattr(one, f"control_{end}")) for one in game.types]) for end in ("low", "high"))
    for k in range(len(share)):
        if not low[k] <= high[k]:
            raise InvalidInput(f"types[{k}].control_low", low[k], f"at most control_high = {high[k]}")
    mass = game.start(cells)
    rng = np.random.default_rng(0)
    ends = np.maximum(low, -3.0)[:, None, None], np.minimum(high, 3.0)[:, None, None]
    controls = rng.uniform(ends[0], np.maximum(*ends), (len(share), SAMPLES, len(cells.axes)))
    places = cells.points()[:, rng.integers(0, cells.size, SAMPLES)].T
    probes = rng.standard_normal((len(share), PROBES, cells.size)) * mass[:, None]
    probes -= probes.sum(axis=-1, keepdims=True) * mass[:, None]
    try:
        found = _probed(game, cells, 0.5 * mass + 0.5 / cells.size, controls, places, probes)
    except KeyError as missing:
        name = missing.args[0] if missing.args else None
        if not isinstance(name, str) or name in game.features:
            raise
        raise InvalidInput("features", sorted(game.features), f"one named {name!r}, which is felt") from missing
    words = _outside(game, cells)
    for k, one in enumerate(jax.tree.map(np.asarray, found)):
        _check_type(f"types[{k}]", one, cells, bool(high[k] > low[k]))
        if min(form.min() + 1e-12 * np.abs(form).max() for form in one["forms"]) < 0:
            words.append(
                f"type {k} is drawn to its own kind: the coupling is not monotone, several equilibria possible"
            )
    if game.market is not None:
        check_market(game.market, game.share, jnp.asarray(low), jnp.asarray(high), float(game.horizon))
    return words


def check_effort(tolerance: float, longest: int) -> None:
    """`InvalidInput` for a tolerance that nothing meets, or no iterations."""
    if not tolerance > 0.0:
        raise InvalidInput("tolerance", tolerance, "above 0")
    if not longest >= 1:
        raise InvalidInput("longest", longest, "at least 1")


def edge_words(cells: Cells, mass: Float[np.ndarray, "*n K N"]) -> list[str]:
    """Words for every axis that cuts a line where there is mass."""
    found = []
    for d, axis in enumerate(cells.axes):
        ends = np.moveaxis(mass.reshape(*mass.shape[:-1], *cells.shape), mass.ndim - 1 + d, 0)[[0, -1]]
        most = float(ends.reshape(2, -1).max()) if axis.wall == "line" else 0.0
        if most > 1e-6:
            found.append(f"a cell at an end of {axis.name} holds {most:.2g} of the mass: cut the line further out")
    return found


def _check_type(key: str, found: dict[str, Any], cells: Cells, controlled: bool) -> None:
    """`InvalidInput` where the probes of one type are not finite, out of the box, or not convex in the control."""
    for name in ("diffusion", "drift", "running_cost", "terminal_cost", "control_cost"):
        if not np.all(np.isfinite(found[name])):
            raise InvalidInput(f"{key}.{name}", "not finite", "finite numbers on all axes, at a law with mass there")
    if found["diffusion"].min() < 0:
        raise InvalidInput(f"{key}.diffusion", float(found["diffusion"].min()), "σ, nowhere negative")
    for d, axis in enumerate(cells.axes):
        along = np.moveaxis(found["drift"][:, d].reshape(cells.shape), d, 0)
        worst = max(float(along[-1].max()), -float(along[0].min()))
        if axis.wall == "reflecting" and worst > 0:
            words = f"a drift that does not point out of the reflecting axis {axis.name}"
            raise InvalidInput(f"{key}.drift", worst, words)
    diagonal = np.einsum("sii->si", found["curvature"])
    if controlled and not diagonal.min() > 0:
        raise InvalidInput(f"{key}.control_cost", float(diagonal.min()), "strictly convex in the control")
    mixed = np.abs(found["curvature"] - diagonal[:, :, None] * np.eye(len(cells.axes))).max()
    if controlled and mixed > 1e-9 * diagonal.max():
        raise InvalidInput(f"{key}.control_cost", float(mixed), "a sum of functions of the control's components")


@eqx.filter_jit
def _probed(game: TypedMeanFieldGame, cells: Cells, mass, controls, places, probes) -> list[dict[str, Any]]:
    """Per type what its functions give at every cell, curvatures of the control cost, and ⟨δ, ∂f δ⟩ of both costs."""
    points = jnp.asarray(cells.points())
    still = jnp.zeros((len(mass), *points.shape))
    law = game.law(cells, mass, still)
    for name, one in game.features.items():
        if jnp.shape(one(law)) not in ((), (cells.size,)):
            raise InvalidInput(f"features[{name!r}]", list(jnp.shape(one(law))), "a number, or one for every cell")
    felt = game.felt(cells, mass, still)
    return [_of_type(game, cells, k, felt, mass, controls[k], places, probes[k]) for k in range(len(game.types))]


def _of_type(game, cells, k: int, felt, mass, controls, places, probes) -> dict[str, Any]:
    one, key, points = game.types[k], f"types[{k}]", jnp.asarray(cells.points())

    def shaped(name: str, found: Array, shape: tuple[int, ...]) -> Array:
        if found.shape != shape:
            words = "a number at every point" if len(shape) == 1 else f"{shape[1]} numbers at every point, one per axis"
            raise InvalidInput(f"{key}.{name}", list(found.shape[1:]), words)
        return found

    def costs(own: Array) -> tuple[Array, Array]:
        felt = game.felt(cells, mass.at[k].set(own), jnp.zeros((len(mass), *points.shape)))
        parts = [jax.vmap(each, in_axes=(1, 0))(points, felt) for each in (one.running_cost, one.terminal_cost)]
        return shaped("running_cost", parts[0], (cells.size,)), shaped("terminal_cost", parts[1], (cells.size,))

    (running, terminal), moved = jax.linearize(costs, mass[k])
    forms = jax.vmap(lambda probe: jnp.stack([probe @ part for part in moved(probe)]), out_axes=1)(probes)
    return {
        "diffusion": _noise(key, one, points),
        "drift": shaped("drift", jax.vmap(one.drift, in_axes=(1, 0))(points, felt), points.T.shape),
        "running_cost": running,
        "terminal_cost": terminal,
        "control_cost": shaped("control_cost", jax.vmap(one.control_cost)(controls, places), (SAMPLES,)),
        "curvature": jax.vmap(jax.hessian(one.control_cost))(controls, places),
        "forms": forms,
    }


def _noise(key: str, one: AgentType, points: Float[Array, "d N"]) -> Float[Array, "N d"]:
    try:
        return jax.vmap(one.noise, in_axes=1)(points)
    except ValueError as wrong:
        words = f"one number, or {len(points)}, one per axis"
        raise InvalidInput(f"{key}.diffusion", "another shape", words) from wrong


def _outside(game: TypedMeanFieldGame, cells: Cells) -> list[str]:
    """Words for every type that starts off the axes: its density is greatest beyond an end, where it is cut."""
    wide = tuple(
        axis if axis.wall == "periodic" else CellAxis(axis.name, axis.low - width, axis.high + width, 3 * axis.size)
        for axis in cells.axes
        for width in [axis.high - axis.low]
    )
    points = Cells(wide).points() if len(wide) <= 2 else cells.points()
    density = np.maximum(np.nan_to_num(game.starting(points), nan=0.0, posinf=0.0), 0.0)
    inside = np.ones(points.shape[1], bool)
    for d, axis in enumerate(cells.axes):
        inside &= (points[d] > axis.low) & (points[d] < axis.high)
    found = []
    for k, row in enumerate(density):
        if row[inside].max() < row[~inside].max(initial=0.0):
            held = row[inside].sum() / row.sum()
            found.append(f"type {k} starts with {held:.2g} of its density on the axes: they cut the rest off")
    return found
