"""Parameters of the mean-field Stackelberg studies; the defaults are the example of Huang & Yang's slides."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.stackelberg import BLOCKS, GAINS, SHAPES
from diffgames.studies.linear_quadratic_words import Matrix, as_vector
from diffgames.studies.study import Headline, Parameter


@dataclass(frozen=True, kw_only=True)
class StackelbergMatrices:
    """The matrices of `games.stackelberg`, each a number or a list of rows."""

    A0: Annotated[Matrix, Parameter(shape="n0 × n0", unit="1/time", meaning="leader's drift")] = 1.0
    B0: Annotated[Matrix, Parameter(shape="n0 × k0", meaning="leader's input")] = 2.0
    F0: Annotated[Matrix, Parameter(shape="n0 × n", meaning="pull of the mean on the leader")] = 0.5
    A: Annotated[Matrix, Parameter(shape="n × n", unit="1/time", meaning="followers' drift")] = 0.5
    B: Annotated[Matrix, Parameter(shape="n × k", meaning="followers' input")] = 1.0
    D: Annotated[Matrix, Parameter(shape="n × k0", meaning="leader's control in the followers' drift")] = 1.0
    F: Annotated[Matrix, Parameter(shape="n × n", meaning="pull of the mean on followers")] = 0.2
    G: Annotated[Matrix, Parameter(shape="n × n0", meaning="pull of the leader's state on followers")] = 0.4
    Gamma0: Annotated[Matrix, Parameter(shape="n0 × n", meaning="leader tracks Γ0 m")] = 0.8
    Gamma1: Annotated[Matrix, Parameter(shape="n × n0", meaning="followers track Γ1 x0 + Γ2 m")] = 0.3
    Gamma2: Annotated[Matrix, Parameter(shape="n × n", meaning="followers track Γ1 x0 + Γ2 m")] = 0.5
    Q0: Annotated[Matrix, Parameter(shape="n0 × n0", meaning="weight of the leader's distance")] = 1.0
    Q: Annotated[Matrix, Parameter(shape="n × n", meaning="weight of a follower's distance")] = 2.0
    R0: Annotated[Matrix, Parameter(shape="k0 × k0", meaning="leader's cost of its control")] = 0.5
    R: Annotated[Matrix, Parameter(shape="k × k", meaning="follower's cost of its control")] = 1.0
    R1: Annotated[Matrix, Parameter(shape="k0 × k0", meaning="follower's cost of the leader's control")] = 1.0
    R2: Annotated[Matrix, Parameter(shape="k0 × k", meaning="follower's cross cost 2 u0ᵀR2 u1")] = 0.5
    sigma0: Annotated[Matrix, Parameter(shape="n0 × w0", meaning="leader's noise")] = 0.1
    sigma: Annotated[Matrix, Parameter(shape="n × w", meaning="followers' own noise")] = 0.1
    x0: Annotated[float | tuple[float, ...], Parameter(shape="scalar or n0", meaning="leader's state at the start")] = (
        1.0
    )
    x1: Annotated[
        float | tuple[float, ...], Parameter(shape="scalar or n", meaning="mean of followers' states at the start")
    ] = 0.5
    spread: Annotated[float, Parameter(meaning="standard deviation of followers' states at the start", minimum=0.0)] = (
        0.3
    )
    finite_n: Annotated[
        tuple[int, ...],
        Parameter(shape="sizes", unit="followers", meaning="numbers N of followers for the finite game", minimum=2),
    ] = (5, 10, 20, 40, 80, 160)

    def matrices(self) -> dict[str, Any]:
        """The matrices by name."""
        return {name: getattr(self, name) for name in SHAPES}


def start_of(config: StackelbergMatrices, n0: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean states of leader and follower at the start."""
    return as_vector("x0", config.x0, n0), as_vector("x1", config.x1, n)


def second_moment(config: StackelbergMatrices, n0: int, n: int, followers: Any = None) -> Float[Array, "1 size size"]:
    """E[zzᵀ] at the start for z = (x0, x1, m, 1), or (x0, x, y, 1) with that many followers."""
    leader, follower = start_of(config, n0, n)
    z = jnp.concatenate([jnp.asarray(leader), jnp.asarray(follower), jnp.asarray(follower), jnp.ones(1)])
    moment = jnp.outer(z, z)
    variance = config.spread**2 * jnp.eye(n)
    moment = moment.at[n0 : n0 + n, n0 : n0 + n].add(variance)
    if followers is not None:
        moment = moment.at[n0 + n : n0 + 2 * n, n0 + n : n0 + 2 * n].add(variance / (followers - 1.0))
    return moment[None]


def checked_sizes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of the finite game, increasing and at least one."""
    if not sizes or any(b <= a for a, b in pairwise(sizes)):
        raise InvalidInput("finite_n", list(sizes), "increasing numbers of followers, at least one")
    return sizes


HEADLINE = {
    **{
        key: Headline(
            shape="scalar or matrix",
            meaning=f"block ({row}, {column}) of the {player}'s value at t = 0",
            normalisation="x'Px (no ½)",
        )
        for key, (player, row, column) in BLOCKS.items()
    },
    **{
        key: Headline(shape="scalar or matrix", meaning=f"{player}'s gain on {block} at t = 0")
        for key, (player, block) in GAINS.items()
    },
}
"""The words of what both studies report of the limit."""
