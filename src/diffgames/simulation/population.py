"""Large populations: N exchangeable players who meet through a statistic of the crowd, up to millions on one machine.

    dX^n = b(t, X^n, M, u^n) dt + σ(t, X^n, M, u^n) dW^n + σ₀(t, X^n, M, u^n) dW⁰ + Σ_l ∫ γ_l Ñ_l^n(dt, dz),
    M_t = (1/N) Σ_n φ(X^n_t),      u^n = profile(t, X^n, M),

W^n and the jumps are every player's own, W⁰ is common to all; the limit N → ∞ is the McKean–Vlasov equation of the
profile. The cost of a player is ∫₀ᵀ e^{−ρt} c(t, X^n, M, u^n) dt + e^{−ρT} g(X^n_T, M_T).

A step sees every player once, in chunks, and the crowd only through the sums that the last step left: what is held in
memory is the state of all players, N·d numbers, and the work of one chunk. Randomness is a function of the key, the
step and the chunk, so that a run can be repeated, and coupled with another, without storing it.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.jumps import JumpLaw
from diffgames.numerics.precision import keeping_double
from diffgames.simulation.jumps import JumpDraws, first_fault, jump, jump_draws, report_fault

CrowdProfile = Callable[[Float[Array, ""], Float[Array, " d"], Float[Array, " s"]], Float[Array, " k"]]


class Population(eqx.Module):
    """A population; every function takes one player (see the module's docstring).

    - `drift(t, x, m, u) -> [d]`, `diffusion(t, x, m, u) -> [d, noises]`, `common(t, x, m, u) -> [d, common]` or None
    - `running_cost(t, x, m, u) -> []`, `terminal_cost(x, m) -> []`
    - `statistic(x) -> [s]`: φ; the crowd is its mean
    - `initial(key) -> [d]`
    - `jumps`: laws whose rate and size see the player's own state, control (u,) and regime 0
    """

    drift: Callable[..., Float[Array, " d"]]
    diffusion: Callable[..., Float[Array, "d noises"]]
    running_cost: Callable[..., Float[Array, ""]]
    terminal_cost: Callable[..., Float[Array, ""]]
    statistic: Callable[[Float[Array, " d"]], Float[Array, " s"]]
    initial: Callable[[PRNGKeyArray], Float[Array, " d"]]
    horizon: float | Float[Array, ""]
    common: Callable[..., Float[Array, "d common"]] | None = None
    jumps: tuple[JumpLaw, ...] = ()
    discount: float | Float[Array, ""] = 0.0


class Crowd(eqx.Module):
    """A simulated population.

    `statistic` is M at every time; `spread` the standard deviation of φ over the players. `cost` is the mean over
    players. `standard_error` is that of N independent players around this one path of M and of the common noise: where
    M enters the cost, M's own chance comes on top (`simulate_crowds` has all of it). `state` holds the players at the
    last time.
    """

    time: Float[Array, " times"]
    statistic: Float[Array, "times s"]
    spread: Float[Array, "times s"]
    cost: Float[Array, ""]
    standard_error: Float[Array, ""]
    state: Float[Array, "players d"]

    def __repr__(self) -> str:
        error = 1.96 * float(self.standard_error)
        return (
            f"Crowd({self.state.shape[0]:,} players, {self.time.shape[0] - 1} steps to T = {float(self.time[-1]):g}; "
            f"mean cost, 95% interval: {float(self.cost):.6g} ± {error:.2g})"
        )


@keeping_double
def simulate_population(
    population: Population,
    profile: CrowdProfile,
    key: PRNGKeyArray,
    *,
    players: int,
    steps: int,
    chunk: int = 65_536,
) -> Crowd:
    """Simulate `players` players in `steps` Euler–Maruyama steps, `chunk` of them at a time.

    Raises `InvalidInput` for a jump rate that is negative or no number where a player meets it.
    """
    for name, value in (("players", players), ("steps", steps), ("chunk", chunk)):
        if value < 1:
            raise InvalidInput(name, value, "an integer, at least 1")
    chunk = min(chunk, players)
    crowd, fault = _simulate(population, profile, key, (players, steps, chunk))
    report_fault(fault)
    return crowd


def advance(
    population: Population,
    profile: CrowdProfile,
    t: Float[Array, ""],
    h: Float[Array, ""],
    x: Float[Array, "d players"],
    crowd: Float[Array, " s"],
    shared: Float[Array, " common"] | None,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "d players"], Float[Array, " players"], Float[Array, " sources"]]:
    """One step of a chunk of players (last axis), and their running cost over it; `shared` = ΔW⁰/√h.

    Last what `simulation.jumps.report_fault` reports.
    """
    count, dtype = x.shape[1], x.dtype
    noises = jax.eval_shape(population.diffusion, t, x[:, 0], crowd, profile_shape(population, profile)).shape[1]
    normal_key, jump_key, mark_key = jax.random.split(key, 3)
    normals = jax.random.normal(normal_key, (noises, count), dtype)
    laws = len(population.jumps)
    uniforms = jax.random.uniform(jump_key, (laws, count), dtype) if laws else jnp.zeros((0, count), dtype)
    draws = []
    for index, law in enumerate(population.jumps):
        own, more = (jax.random.fold_in(mark_key, number)[None] for number in (index, laws + index))
        draws.append(jump_draws(law, own, more, uniforms[index][None]))
    regime = jnp.zeros((), jnp.int32)

    def one(x: Array, normal: Array, draws: list[JumpDraws]) -> tuple[Array, Array, Array]:
        u = profile(t, x, crowd)
        moved = x + h * population.drift(t, x, crowd, u)
        moved = moved + jnp.sqrt(h) * (population.diffusion(t, x, crowd, u) @ normal)
        if population.common is not None:
            assert shared is not None
            moved = moved + jnp.sqrt(h) * (population.common(t, x, crowd, u) @ shared)
        faults = []
        for law, drawn in zip(population.jumps, draws, strict=True):
            jumped = jump(law, t, h, x, (u,), regime, drawn)
            moved = moved + jumped.change
            faults.append(jumped.fault)
        none = jnp.zeros((), dtype)  # there is no generator
        return moved, h * population.running_cost(t, x, crowd, u), jnp.stack([*faults, none])

    x, cost, faults = jax.vmap(one, in_axes=(-1, -1, -1), out_axes=-1)(x, normals, draws)
    return x, cost, first_fault(faults)


def profile_shape(population: Population, profile: CrowdProfile) -> Any:
    """Shape and type of a control."""
    x = jax.eval_shape(population.initial, jax.random.key(0))
    return jax.eval_shape(profile, jax.ShapeDtypeStruct((), x.dtype), x, jax.eval_shape(population.statistic, x))


def common_noise(population: Population, profile: CrowdProfile, key: PRNGKeyArray) -> Float[Array, " common"] | None:
    """One draw of the common noise, or None where there is none."""
    if population.common is None:
        return None
    x = jax.eval_shape(population.initial, jax.random.key(0))
    t, m = jax.ShapeDtypeStruct((), x.dtype), jax.eval_shape(population.statistic, x)
    shape = jax.eval_shape(population.common, t, x, m, profile_shape(population, profile)).shape
    return jax.random.normal(key, (shape[1],), x.dtype)


def sums(population: Population, x: Float[Array, "d players"], present: Float[Array, " players"]) -> Array:
    """Sums of φ and φ² over the players present: [2, s]."""
    values = jax.vmap(population.statistic, in_axes=-1, out_axes=-1)(x)
    return jnp.stack([values @ present, values**2 @ present])


@eqx.filter_jit
def _simulate(
    population: Population, profile: CrowdProfile, key: PRNGKeyArray, sizes: tuple[int, int, int]
) -> tuple[Crowd, Array]:
    players, steps, chunk = sizes
    chunks = -(-players // chunk)
    start_key, noise_key, common_key = jax.random.split(key, 3)
    numbers = jnp.arange(chunks, dtype=jnp.int32)

    def place(number: Array) -> tuple[Array, Array]:
        """Where the players of a chunk start, and which of them exist (the last chunk may be part empty)."""
        keys = jax.random.split(jax.random.fold_in(start_key, number), chunk)
        x = jax.vmap(population.initial, out_axes=-1)(keys)
        index = number * chunk + jnp.arange(chunk, dtype=jnp.int32)
        return x, (index < players).astype(x.dtype)

    x, present = jax.lax.map(place, numbers)
    dtype = x.dtype
    h = jnp.asarray(population.horizon, dtype) / steps
    discount = jnp.asarray(population.discount, dtype)
    total = jnp.sum(jax.lax.map(lambda part: sums(population, *part), (x, present)), axis=0) / players

    def step(carry: tuple[Array, ...], k: Array) -> tuple[tuple[Array, ...], Array]:
        x, cost, moments, fault = carry
        t, step_key = k.astype(dtype) * h, jax.random.fold_in(noise_key, k)
        shared = common_noise(population, profile, jax.random.fold_in(common_key, k))

        def part(inputs: tuple[Array, Array, Array, Array]) -> tuple[Array, ...]:
            number, x, cost, present = inputs
            own = jax.random.fold_in(step_key, number)
            x, spent, wrong = advance(population, profile, t, h, x, moments[0], shared, own)
            return x, cost + jnp.exp(-discount * t) * spent, sums(population, x, present), wrong

        x, cost, parts, wrong = jax.lax.map(part, (numbers, x, cost, present))
        fault = jnp.where(fault != 0, fault, first_fault(wrong.T))
        return (x, cost, jnp.sum(parts, axis=0) / players, fault), moments

    first = (x, jnp.zeros((chunks, chunk), dtype), total, jnp.zeros(len(population.jumps) + 1, dtype))
    (x, cost, last, fault), moments = jax.lax.scan(step, first, jnp.arange(steps, dtype=jnp.int32))
    moments = jnp.concatenate([moments, last[None]])
    terminal = jax.vmap(jax.vmap(population.terminal_cost, in_axes=(-1, None)), in_axes=(0, None))(x, last[0])
    cost = cost + jnp.exp(-discount * jnp.asarray(population.horizon, dtype)) * terminal
    mean = jnp.sum(cost * present) / players
    scatter = jnp.sum(present * (cost - mean) ** 2)
    crowd = Crowd(
        time=jnp.linspace(0.0, 1.0, steps + 1, dtype=dtype) * jnp.asarray(population.horizon, dtype),
        statistic=moments[:, 0],
        spread=jnp.sqrt(jnp.maximum(moments[:, 1] - moments[:, 0] ** 2, 0.0)),
        cost=mean,
        standard_error=jnp.sqrt(scatter / max(players - 1, 1)) / math.sqrt(players),
        state=jnp.moveaxis(x, 1, 2).reshape(-1, x.shape[1])[:players],
    )
    return crowd, fault
