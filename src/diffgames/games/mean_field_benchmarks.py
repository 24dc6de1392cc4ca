"""The test games of the discrete mean-field literature, with the defaults of the packages that ship them.

- `lasry_lions_chain`: Bench-MFG 0.1.3, environment LasryLionsChain. States 0…6, actions −1, 0, 1, s' = clip(s + a + ε)
  with P(ε = ±1) = .025; r = −2|a| − 3(s − 3)² − 40 μ(s), γ = .9, stationary. Monotone as Lasry and Lions define it.
- `beach_bar`: Perrin et al. 2020 as in MFGLib 0.3. s' = clip(s + a + ε) on 4 states, P(ε = ±1) = .25; T = 2, the bar
  at 2; r = −|s − bar| − |a|/4 − log(μ(s) + 1e-20), from the uniform law.
- `crowd_motion`: Pérolat et al. 2021 as in MFGLib. 20 × 20 places, five moves, noise of the same five (½ none, ⅛ each
  else), T = 3; r = 10 (1 − ‖s − bar‖₁/40) − log(μ(s) + 1e-10); the bar moves from (10, 10) to (9, 11) at t = 2.
- `susceptible_infected`: Cui and Koeppl 2021 as in MFGLib. State 1 is infected, action 1 keeps distance; who goes out
  is infected with probability .81 μ(1), who is infected recovers with .3; r = −s − ½a; T = 50, μ_0 = (.4, .6).
- `garnet`: random games after Archibald et al. 1995. P = (1 − ρ) P⁰ + ρ Σ_y μ(y) P¹(y), all rows Dirichlet on
  `branching` states; r = r⁰(s, a) + c Σ_y M(s, y) μ(y), entries normal; M = (N + N')/2 ("potential"), (N − N')/2
  ("cyclic") or −N N'/S ("monotone"). Unlike in Bench-MFG's MF-Garnet the kernel is a mixture: nothing is clipped.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame


class Moves(eqx.Module):
    """P = kernel [S, A, S], plus Σ_y μ(y) tilt[y] where a tilt [S, S, A, S] is given."""

    kernel: Float[Array, "S A S"]
    tilt: Float[Array, "S S A S"] | None = None

    def __call__(self, t: Int[Array, ""], law: Float[Array, " S"]) -> Float[Array, "S A S"]:
        """The kernel at a law, the same at all times."""
        return self.kernel if self.tilt is None else self.kernel + jnp.tensordot(law, self.tilt, axes=1)


class Congestion(eqx.Module):
    """r = own_t(s, a) + Σ_y coupling(s, y) μ(y) − log_weight · log(μ(s) + floor)."""

    own: Float[Array, "times S A"]
    coupling: Float[Array, "S S"]
    log_weight: float = 0.0
    floor: float = 1e-20

    def __call__(self, t: Int[Array, ""], law: Float[Array, " S"]) -> Float[Array, "S A"]:
        """Rewards at a time and a law; a single row of `own` holds at all times."""
        crowd = self.coupling @ law - self.log_weight * jnp.log(law + self.floor)
        return self.own[jnp.minimum(t, len(self.own) - 1)] + crowd[:, None]


def _uniform(size: int) -> Array:
    return jnp.full(size, 1.0 / size)


def _walk(size: int, still: float) -> np.ndarray:
    """Kernel of s' = clip(s + a + ε), a and ε in {−1, 0, 1}."""
    kernel, chances = np.zeros((size, 3, size)), ((1 - still) / 2, still, (1 - still) / 2)
    for s in range(size):
        for a in range(3):
            for noise, chance in zip((-1, 0, 1), chances, strict=True):
                kernel[s, a, np.clip(s + a - 1 + noise, 0, size - 1)] += chance
    return kernel


def lasry_lions_chain() -> DiscreteMeanFieldGame:
    """The monotone chain of Bench-MFG."""
    moved, off = np.abs(np.arange(3) - 1), np.arange(7) - 3
    own = -2.0 * moved[None, :] - 3.0 * off[:, None] ** 2
    reward = Congestion(jnp.asarray(own)[None], jnp.asarray(-40.0 * np.eye(7)))
    kernel = Moves(jnp.asarray(_walk(7, 0.95)))
    return DiscreteMeanFieldGame(kernel, reward, _uniform(7), 0.9, None, "lasry-lions-chain")


def beach_bar() -> DiscreteMeanFieldGame:
    """People who want to be near the bar and apart from one another."""
    own = -np.abs(np.arange(4) - 2.0)[:, None] - np.abs(np.arange(3) - 1)[None, :] / 4
    reward = Congestion(jnp.asarray(own)[None], jnp.zeros((4, 4)), 1.0, 1e-20)
    return DiscreteMeanFieldGame(Moves(jnp.asarray(_walk(4, 0.5))), reward, _uniform(4), 1.0, 2, "beach-bar")


def crowd_motion(side: int = 20, moved: tuple[int, int] = (-1, 1)) -> DiscreteMeanFieldGame:
    """The beach in two dimensions, whose bar moves by `moved` at t = 2."""
    steps = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)])
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)
    kernel = np.zeros((side**2, 5, side**2))
    for a, action in enumerate(steps):
        for noise, chance in zip(steps, (0.125,) * 4 + (0.5,), strict=True):
            x, y = np.clip(places + action + noise, 0, side - 1).T
            kernel[np.arange(side**2), a, x * side + y] += chance  # one place each: no index stands twice
    bars = np.array([(side // 2, side // 2)] * 2 + [(side // 2 + moved[0], side // 2 + moved[1])] * 2)
    near = 10.0 * (1 - np.abs(places[None] - bars[:, None]).sum(-1) / (2 * side))
    own = jnp.asarray(np.repeat(near[:, :, None], 5, axis=2))
    reward = Congestion(own, jnp.zeros((side**2, side**2)), 1.0, 1e-10)
    return DiscreteMeanFieldGame(Moves(jnp.asarray(kernel)), reward, _uniform(side**2), 1.0, 3, "crowd-motion")


def susceptible_infected() -> DiscreteMeanFieldGame:
    """An epidemic in which keeping distance costs."""
    kernel = np.zeros((2, 2, 2))
    kernel[0, :, 0], kernel[1, :, 0], kernel[1, :, 1] = 1.0, 0.3, 0.7
    tilt = np.zeros((2, 2, 2, 2))
    tilt[1, 0, 0] = -0.81, 0.81
    own = jnp.asarray([[[0.0, -0.5], [-1.0, -1.5]]])
    moves = Moves(jnp.asarray(kernel), jnp.asarray(tilt))
    name = "susceptible-infected"
    return DiscreteMeanFieldGame(moves, Congestion(own, jnp.zeros((2, 2))), jnp.asarray([0.4, 0.6]), 1.0, 50, name)


Structure = Literal["monotone", "potential", "cyclic"]


def garnet(
    seed: int = 0,
    states: int = 10,
    actions: int = 4,
    branching: int = 4,
    structure: Structure = "monotone",
    *,
    crowding: float = 1.0,
    mixing: float = 0.2,
) -> DiscreteMeanFieldGame:
    """A random stationary game, γ = .9; `crowding` is c, `mixing` is ρ."""
    if not 1 <= branching <= states:
        raise InvalidInput("branching", branching, f"between 1 and the number of states, {states}")
    if not 0 <= mixing < 1:
        raise InvalidInput("mixing", mixing, "a share of the kernel in [0, 1)")
    rng = np.random.default_rng(seed)

    def rows(*shape: int) -> np.ndarray:
        reached = np.argsort(rng.random((*shape, states)), axis=-1)[..., :branching]
        chances = rng.dirichlet(np.ones(branching), size=shape)
        kernel = np.zeros((*shape, states))
        np.put_along_axis(kernel, reached, chances, axis=-1)
        return kernel

    base, tilt = rows(states, actions), rows(states, states, actions)
    own, drawn = rng.normal(size=(1, states, actions)), rng.normal(size=(states, states))
    forms = {"potential": (drawn + drawn.T) / 2, "cyclic": (drawn - drawn.T) / 2, "monotone": -drawn @ drawn.T / states}
    moves = Moves(jnp.asarray((1 - mixing) * base), jnp.asarray(mixing * tilt))
    reward = Congestion(jnp.asarray(own), jnp.asarray(crowding * forms[structure]))
    return DiscreteMeanFieldGame(moves, reward, _uniform(states), 0.9, None, "garnet")


GAMES: dict[str, Callable[[], DiscreteMeanFieldGame]] = {
    "lasry-lions-chain": lasry_lions_chain,
    "beach-bar": beach_bar,
    "crowd-motion": crowd_motion,
    "susceptible-infected": susceptible_infected,
    "garnet": garnet,
}
"""Name → the game with its defaults."""
