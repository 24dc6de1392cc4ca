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

    A0: Annotated[Matrix, Parameter("leader's drift", "1/time", shape="n0 × n0")] = 1.0
    B0: Annotated[Matrix, Parameter("leader's input", shape="n0 × k0")] = 2.0
    F0: Annotated[Matrix, Parameter("pull of the mean on the leader", shape="n0 × n")] = 0.5
    A: Annotated[Matrix, Parameter("followers' drift", "1/time", shape="n × n")] = 0.5
    B: Annotated[Matrix, Parameter("followers' input", shape="n × k")] = 1.0
    D: Annotated[Matrix, Parameter("leader's control in the followers' drift", shape="n × k0")] = 1.0
    F: Annotated[Matrix, Parameter("pull of the mean on followers", shape="n × n")] = 0.2
    G: Annotated[Matrix, Parameter("pull of the leader's state on followers", shape="n × n0")] = 0.4
    Gamma0: Annotated[Matrix, Parameter("leader tracks Γ0 m", shape="n0 × n")] = 0.8
    Gamma1: Annotated[Matrix, Parameter("followers track Γ1 x0 + Γ2 m", shape="n × n0")] = 0.3
    Gamma2: Annotated[Matrix, Parameter("followers track Γ1 x0 + Γ2 m", shape="n × n")] = 0.5
    Q0: Annotated[Matrix, Parameter("weight of the leader's distance", shape="n0 × n0")] = 1.0
    Q: Annotated[Matrix, Parameter("weight of a follower's distance", shape="n × n")] = 2.0
    R0: Annotated[Matrix, Parameter("leader's cost of its control", shape="k0 × k0")] = 0.5
    R: Annotated[Matrix, Parameter("follower's cost of its control", shape="k × k")] = 1.0
    R1: Annotated[Matrix, Parameter("follower's cost of the leader's control", shape="k0 × k0")] = 1.0
    R2: Annotated[Matrix, Parameter("follower's cross cost 2 u0ᵀR2 u1", shape="k0 × k")] = 0.5
    sigma0: Annotated[Matrix, Parameter("leader's noise", shape="n0 × w0")] = 0.1
    sigma: Annotated[Matrix, Parameter("followers' own noise", shape="n × w")] = 0.1
    x0: Annotated[float | tuple[float, ...], Parameter("leader's state at the start", shape="scalar or n0")] = 1.0
    x1: Annotated[
        float | tuple[float, ...], Parameter("mean of followers' states at the start", shape="scalar or n")
    ] = 0.5
    spread: Annotated[float, Parameter("standard deviation of followers' states at the start", minimum=0.0)] = 0.3
    finite_n: Annotated[
        tuple[int, ...], Parameter("numbers N of followers for the finite game", "followers", shape="sizes", minimum=2)
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
            f"block ({row}, {column}) of the {player}'s value at t = 0",
            shape="scalar or matrix",
            normalisation="x'Px (no ½)",
        )
        for key, (player, row, column) in BLOCKS.items()
    },
    **{
        key: Headline(f"{player}'s gain on {block} at t = 0", shape="scalar or matrix")
        for key, (player, block) in GAINS.items()
    },
}
"""The words of what both studies report of the limit."""
