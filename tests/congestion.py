"""The two-type congestion game that several tests share, with any share of its noise."""

import equinox as eqx
import jax.numpy as jnp

from diffgames.games.mean_field_grid import AgentType, MixtureDensity, TypedMeanFieldGame
from diffgames.numerics.cells import CellAxis, Cells


class Bump(eqx.Module):
    """An unnormalized Gaussian density."""

    mean: float
    deviation: float

    def __call__(self, x):
        return jnp.exp(-0.5 * ((x[0] - self.mean) / self.deviation) ** 2)


class Effort(eqx.Module):
    """½ r |u|²."""

    r: float

    def __call__(self, u, x):
        return 0.5 * self.r * jnp.sum(u**2)


class Crowded(eqx.Module):
    """c times the crowd's density, and k times the squared distance from d."""

    c: float
    k: float
    d: float

    def __call__(self, x, felt):
        return self.c * felt["crowd"] + self.k * (x[0] - self.d) ** 2


class Aim(eqx.Module):
    """½ (x − d)² at the end."""

    d: float

    def __call__(self, x, felt):
        return 0.5 * (x[0] - self.d) ** 2


def congestion(noise=1.0, shares=(0.6, 0.4), **more):
    """Types that want to be at ¼ and ¾, and away from the crowd."""
    data = zip(
        shares, (0.3, 0.2), (1.0, 0.5), (0.5, 1.0), (0.5, 1.0), (0.25, 0.75), (0.6, 0.4), (0.1, 0.15), strict=True
    )
    types = [
        AgentType(
            share=share,
            start=Bump(mean, deviation),
            diffusion=noise * sigma,
            control_cost=Effort(r),
            running_cost=Crowded(c, k, d),
            terminal_cost=Aim(d),
            **more,
        )
        for share, sigma, r, c, k, d, mean, deviation in data
    ]
    return TypedMeanFieldGame(tuple(types), {"crowd": MixtureDensity()}, 1.0)


def unit_interval(points):
    """[0, 1] between reflecting walls."""
    return Cells((CellAxis("x", 0.0, 1.0, points),))
