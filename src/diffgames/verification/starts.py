"""From where a profile is judged: the moments E[zzᵀ; I = i] of the start, z = (x, 1), and starts that show nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.differential import DifferentialGame, GaussianLaw, PointLaw, Profile
from diffgames.numerics.precision import in_double


@in_double
def all_starts(size: int) -> GaussianLaw:
    """A standard normal state: no direction is left out."""
    return GaussianLaw(jnp.zeros(size), jnp.eye(size))


def starting_moments(law: Any, regimes: int, every_regime: bool) -> Float[Array, "s m n n"]:
    """`law_moments`, or those of the law of x started in each of the regimes."""
    second = law_moments(law, regimes)
    if not every_regime:
        return second[None]
    return jnp.eye(regimes, dtype=second.dtype)[:, :, None, None] * jnp.sum(second, axis=0)[None, None]


def law_moments(law: Any, regimes: int, draws: int = 100_000) -> Float[Array, "m n n"]:
    """E[zzᵀ; I = i] of a law of (x, i): exact for point and Gaussian laws, of a fixed sample for others."""
    if isinstance(law, PointLaw | GaussianLaw):
        mean, regime = (law.state, law.regime) if isinstance(law, PointLaw) else (law.mean, law.regime)
        z = jnp.concatenate([mean, jnp.ones(1, mean.dtype)])
        second = jnp.outer(z, z)
        if isinstance(law, GaussianLaw):
            n = mean.shape[0]
            second = second.at[:n, :n].add(law.factor @ law.factor.T)
        return jnp.zeros((regimes, *second.shape), second.dtype).at[regime].set(second)
    x, i = jax.vmap(law)(jax.random.split(jax.random.key(0), draws))
    z = jnp.concatenate([x, jnp.ones((draws, 1), x.dtype)], axis=1)
    own = (i[:, None] == jnp.arange(regimes, dtype=i.dtype)[None]).astype(x.dtype)
    return jnp.einsum("bi,ba,bc->iac", own, z, z) / draws


def absorbing_start(game: DifferentialGame, profile: Profile) -> str:
    """Words where the start is absorbing under the profile, so that gains from there say nothing of other states."""
    law = game.initial
    if not isinstance(law, PointLaw) or game.regime_count > 1:
        return ""
    i = jnp.asarray(law.regime, jnp.int32)
    for share in (0.0, 0.31, 0.77):
        t = share * jnp.asarray(game.horizon, law.state.dtype)
        u = profile(t, law.state, i)
        moves = [game.drift(t, law.state, u, i), game.diffusion(t, law.state, u, i)]
        for jump in game.jumps:
            size = jump.size(t, law.state, u, jump.marks.quadrature()[0][0], i)
            moves.append(jump.rate(t, law.state, u, i) * size)
        if any(float(jnp.max(jnp.abs(move), initial=0.0)) > 0 for move in moves):
            return ""
    return f"other states than the start {np.asarray(law.state).tolist()}, which is absorbing; give another `initial`"
