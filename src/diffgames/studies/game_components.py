"""Which part of a game is common interest and which is conflict: the Hamiltonian weight of Definition 3.17.

Situations whose weight is known in closed form come first: V₁ = a·xy, V₂ = b·xy has ω_A = |a − b|/(|a − b| + |a + b|)
everywhere, and so has every game of two players whose values are own terms plus a·f(θ₁, θ₂) and b·f(θ₁, θ₂), such as a
crowd of two who move by feedback on their own states and feel each other with weights a and b. The crowd is measured by
automatic differentiation of its simulated values and by score functions of its Markov view, in which both explore.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.learning.policy import AbstractPolicy, Carry, Profile
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.simulation.as_markov import as_markov_game
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.exact_components import (
    ADJUSTMENTS,
    Numbers,
    closed,
    exact_weights,
    quadratic_weights,
    spirals,
    two_step_blocks,
)
from diffgames.studies.market_components import (
    SITUATIONS,
    MarketTraining,
    market_dataset,
    market_weights,
    over_training,
)
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.decomposition import (
    LinearFeedback,
    simulated_values,
)
from diffgames.verification.game_weights import (
    WeightEstimate,
    played_values,
    sampled_weight,
    scored_weight,
)

REACH = 5.0  # bound of the crowd's controls in its Markov view; they explore by e⁻¹ of it


@dataclass(frozen=True, kw_only=True)
class ComponentsConfig(MarketTraining):
    """The crowd of two and the samples behind its weights."""

    weights: Annotated[
        tuple[float, float], Parameter("a and b: how much each of the crowd of two feels the other", shape="2")
    ] = (1.0, 0.5)
    noise: Annotated[float, Parameter("noise of both", "length/√time", minimum=0.0)] = 0.3
    paths: Annotated[int, Parameter("simulated paths of a group, differentiated", "paths", minimum=2)] = 256
    steps: Annotated[int, Parameter("decisions of an episode of length 1", "steps", minimum=1)] = 5
    scored_episodes: Annotated[
        int, Parameter("episodes behind the score functions' weights", "episodes", minimum=32)
    ] = 262_144


@dataclass(frozen=True, kw_only=True)
class ComponentsHeadline:
    """Weights with intervals, beside what is known of them."""

    hamiltonian_weight: Annotated[
        dict[str, float | None],
        Headline(
            "ω_A, of the markets after the last update; null where no interaction is seen",
            shape="{situation: number}",
            optional=True,
            published="Figure 6",
        ),
    ]
    lower: Annotated[Numbers, Headline("lower end of its 95% interval", shape="{situation: number}")]
    upper: Annotated[Numbers, Headline("upper end of its 95% interval", shape="{situation: number}")]
    closed_form: Annotated[Numbers, Headline("ω_A in closed form, where it has one", shape="{situation: number}")]
    quadratic_weight: Annotated[
        Numbers, Headline("ω_A of the quadratic game, by what is taken out of S", shape="{what is removed: number}")
    ]
    cross_block: Annotated[
        Numbers, Headline("∂²V/∂θ₁∂θ₂ of the two-step game, all sixteen episodes enumerated", shape="{route: number}")
    ]
    distance: Annotated[
        Numbers, Headline("of V₁ = xy, V₂ = −xy from (0, 0) after 100 steps from (1, 1)", shape="{adjustment: number}")
    ]


class LinearGaussian(AbstractPolicy):
    """Raw action ~ N(gainᵀ o + bias, e^{2 log σ}) with a fixed σ, on the observed `features`."""

    gain: Float[Array, "features controls"]
    bias: Float[Array, " controls"]
    features: tuple[int, ...] = eqx.field(static=True)
    log_sigma: float = eqx.field(static=True, default=-1.0)

    def initial_carry(self, batch: int) -> Carry:
        return ()

    def __call__(self, carry: Carry, observation: Float[Array, "batch features"]) -> tuple[Carry, Array, Array]:
        mean = observation[:, np.asarray(self.features)] @ self.gain + self.bias[None]
        head = jnp.concatenate([mean, jnp.full_like(mean, self.log_sigma)], axis=1)
        return carry, head, jnp.zeros_like(mean[:, 0])


def crowd_weights(config: ComponentsConfig, context: RunContext) -> dict[str, WeightEstimate]:
    """ω_A of the crowd of two, on own states and on all, differentiated and by score functions."""
    a, b = config.weights
    game = crowd_game(
        Quadratic(),
        np.asarray([[0.0, a], [b, 0.0]]),
        np.asarray([[1.0], [-1.0]]),
        start=(0.3,),
        noise=config.noise,
        normalise=False,
    )
    view = as_markov_game(game, 1.0 / config.steps, bounds={f"player {p}": (-REACH, REACH) for p in (1, 2)})
    names, keys = [role.name for role in view.roles], jax.random.split(context.key, 4)
    feedback = (
        LinearFeedback(jnp.asarray([[-0.5]]), jnp.asarray([0.5]), (0,)),
        LinearFeedback(jnp.asarray([[-0.3]]), jnp.asarray([0.1]), (1,)),
    )
    policies = {"own states": ((-0.1,), (-0.06,)), "all states": ((-0.1, 0.04), (0.08, -0.06))}
    context.progress.update("crowd of two", 0.0)
    values = simulated_values(game, paths=config.paths, steps=config.steps)
    found = {"crowd, own states, on paths": sampled_weight(values, feedback, keys[0], groups=config.groups)}
    for place, (seen, gains) in enumerate(policies.items()):
        features = ((1,), (2,)) if seen == "own states" else ((1, 2), (1, 2))
        played = tuple(
            LinearGaussian(jnp.asarray(gain, jnp.float32)[:, None], jnp.asarray([0.1], jnp.float32), chosen)
            for gain, chosen in zip(gains, features, strict=True)
        )
        context.progress.update("crowd of two", (1 + place) / 3)
        smooth = played_values(view, config.paths)
        profile: Profile = dict(zip(names, played, strict=True))
        found[f"crowd, {seen}, differentiated"] = sampled_weight(smooth, played, keys[1], groups=config.groups)
        found[f"crowd, {seen}, score functions"] = scored_weight(
            view, profile, [(name, 0) for name in names], keys[2], episodes=config.scored_episodes, groups=config.groups
        )
    return found


def run(config: ComponentsConfig, context: RunContext) -> StudyResult:
    """Exact weights, the crowd's weights by both routes, and the adjustments."""
    if config.weights[0] == config.weights[1] == 0.0:
        raise InvalidInput("weights", config.weights, "two numbers that are not both zero")
    for key in ("scored_episodes", "market_episodes"):
        if getattr(config, key) % config.groups:
            raise InvalidInput(key, getattr(config, key), f"a multiple of groups = {config.groups}")
    exact = exact_weights()
    estimates = crowd_weights(config, context)
    known = {
        "1 and 0.5 times xy": 0.25,
        "zero-sum xy": 1.0,
        "common xy": 0.0,
        "matching pennies": 1.0,
        "coordination": 0.0,
    }
    known |= {name: closed(*config.weights) for name in estimates if "own states" in name}
    middle: dict[str, float | None] = {name: None if np.isnan(e.weight) else e.weight for name, e in estimates.items()}
    paths = spirals()
    lower = {**exact, **{name: one.lower for name, one in estimates.items()}}
    upper = {**exact, **{name: one.upper for name, one in estimates.items()}}
    arrays = {"weights": _weights(exact, estimates, known), "play": _play(paths)}
    if config.trainings:
        arrays["market"] = market = market_dataset(config, market_weights(config, context))
        for name in market.situation.values.tolist():
            value, *ends = (float(market[field].sel(situation=name)[-1]) for field in ("weight", "lower", "upper"))
            middle[name] = None if np.isnan(value) else value
            lower[name], upper[name] = ends
    return StudyResult(
        ComponentsHeadline(
            hamiltonian_weight={**exact, **middle},
            lower=lower,
            upper=upper,
            closed_form=known,
            quadratic_weight=quadratic_weights(),
            cross_block=two_step_blocks(),
            distance={how: float(np.linalg.norm(path[-1])) for how, path in zip(ADJUSTMENTS, paths, strict=True)},
        ),
        published={"hamiltonian_weight": {name: SITUATIONS[name].published for name in SITUATIONS if name in middle}},
        arrays=arrays,
    )


def _weights(exact: Numbers, estimates: dict[str, WeightEstimate], known: Numbers) -> xr.Dataset:
    names = [*exact, *estimates]
    ends = [
        (exact[n],) * 3 if n in exact else (estimates[n].weight, estimates[n].lower, estimates[n].upper) for n in names
    ]
    columns: dict[str, Any] = dict(zip(("weight", "lower", "upper"), np.asarray(ends, float).T, strict=True))
    columns["closed_form"] = np.asarray([known.get(name, np.nan) for name in names])
    return xr.Dataset({key: ("situation", value) for key, value in columns.items()}, coords={"situation": names})


def _play(paths: Float[np.ndarray, "adjustments times 2"]) -> xr.Dataset:
    coords: dict[str, Any] = {"adjustment": list(ADJUSTMENTS), "step": np.arange(paths.shape[1])}
    return xr.Dataset({n: (("adjustment", "step"), paths[..., i]) for i, n in enumerate("xy")}, coords=coords)


def _bars(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Every situation's interval, its weight, and the closed form."""
    ax = axes_or_new(ax)
    place = np.arange(data.sizes["situation"])[::-1]
    ax.hlines(place, data.lower, data.upper, color=COLOURS[0], lw=4, alpha=0.4, label="95% interval")
    ax.plot(data.weight, place, "o", color=COLOURS[0], label="measured")
    ax.plot(data.closed_form, place, "x", color=COLOURS[1], ms=9, label="closed form")
    ax.set_yticks(place, [str(name) for name in data.situation.values])
    ax.set_xlim(-0.03, 1.03)
    return label(ax, x=("Hamiltonian weight ω_A", ""), y=("", ""))


def _spirals(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    ax = axes_or_new(ax)
    for style, colour, how in zip(("-", "-", "--"), COLOURS, data.adjustment.values, strict=False):
        ax.plot(data.x.sel(adjustment=how), data.y.sel(adjustment=how), style, color=colour, label=str(how))
    return label(ax, x=("x", ""), y=("y", ""), title="V₁ = xy, V₂ = −xy")


def memory(config: ComponentsConfig) -> dict[str, float]:
    """Of every decision of both players some ten numbers; products of every pair of groups."""
    return {
        "scored_episodes, steps": 4.0 * 20 * config.scored_episodes * config.steps,
        "paths, steps": 8.0 * 20 * config.paths * config.steps,
        "groups": 8.0 * 3 * config.groups**4,
        "market_episodes, market_steps": 4.0 * 100 * config.market_episodes * config.market_steps,
        "width": 4.0 * 6 * config.width**2 * config.groups**2,
        "trainings, width": 4.0 * 12 * config.width**2 * config.trainings,
        "market_updates": 4.0 * 20 * config.market_updates,
        "checkpoints": 4.0 * 20 * config.checkpoints,
    }


STUDY = Study(
    name="game-components",
    source="Vadori et al., arXiv 2210.07184, Section 3.4 (Definition 3.17), its Jacobian formula corrected",
    shows="how much of a game is conflict (ω_A = 1) and how much common interest (0), by two routes with intervals",
    config=ComponentsConfig,
    run=run,
    memory=memory,
    presets={
        "quick": {},
        "paper": {
            "scored_episodes": 2_097_152,
            "paths": 1024,
            "market_updates": 100,
            "trainings": 5,
            "checkpoints": 10,
            "market_episodes": 131_072,
        },
    },
    minutes={"quick": 2.0, "paper": 40.0},
    headline=ComponentsHeadline,
    example="diffgames run game-components --set weights=[1,-0.5]",
    published="ω_A read off Figure 6, whose market is not stated: about .6, .2, .6 and 1",
    uncertified="no profile is offered as an equilibrium: weights are measured where the players stand",
    figures={
        "market": Drawing("weights with their bands, beside the paper's as dashed lines", "market", over_training),
        "weights": Drawing("measured weights lie on the closed forms, within their intervals", "weights", _bars),
        "play": Drawing(
            "plain gradient play spirals out; consensus and symplectic adjustment, here the same, spiral in",
            "play",
            _spirals,
            width=4.0,
            height=4.0,
        ),
    },
)
