"""A crowd of prosumers of several types, whose mixture makes the price of every hour: a typed mean-field game.

A type τ has the share λ_τ of the crowd, its law n_τ agents of equal mass, w_i = λ_τ/n_τ. Agent i draws in hour t

    q_ti = load_ti + a_ti − r_ti + c_ti − d_ti − g_ti    MW,    g ≤ solar,  r ≤ φ_i load,  a ≤ φ_i load,  Σ_t a = Σ_t r,
    s_ti = s_{t−1,i} + η c_ti − d_ti/η,  0 ≤ s ≤ S_i,  s_Ti = s_0i,    c_ti + d_ti ≤ C_i,

with solar power used g, load taken away r and added at other hours a, and a battery. The mixture Q_t = Σ w_i q_ti makes
the price p_t = α_t + β Q_t (the supply curve, marginal cost), and i pays

    J_i = Σ_t p_t q_ti + o_i,      o_i = Σ_t wear (c_ti + d_ti) + moving r_ti      €.

With q̄_tτ = Σ_{i∈τ} w_i q_ti the three readings of `games.mean_field` minimize, each a quadratic program,

    `mfg`   every agent takes p as given:            Σ_t α Q + ½β Q²                 + Σ w_i o_i
    `mftg`  a decision maker for each whole type:    Σ_t α Q + ½β Q² + ½β Σ_τ q̄_τ²   + Σ w_i o_i
    `team`  one for all, Σ w_i J_i:                  Σ_t α Q +  β Q²                 + Σ w_i o_i

(potentials: their derivatives in type τ's plan are those of its own cost; Monderer & Shapley 1996, Rosen 1965). The
first is also the cost to society, of making Q and of what agents bear: price takers are efficient, types and the team,
who hold back to move the price, are not. The team pays least, all told, and generators earn least.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from diffgames.errors import InvalidInput
from diffgames.numerics.quadratic_program import quadratic_optimum

Hourly = Float[np.ndarray, "hours agents"]
Each = Float[np.ndarray, " agents"]
Reading = Literal["mfg", "mftg", "team"]
READINGS: tuple[Reading, ...] = ("mfg", "mftg", "team")


class Choice(NamedTuple):
    """What agents do, [hours, agents] each: charge, discharge, use of solar power, load added, load taken away, MW."""

    charge: Hourly
    discharge: Hourly
    solar: Hourly
    added: Hourly
    taken: Hourly


@dataclass(frozen=True)
class Prosumers:
    """The crowd; see the module. Raises `InvalidInput` for what cannot be.

    Attributes:
        share: λ of the types. kind: type of every agent. load, solar: MW. flexible: φ, share of load that may move.
        capacity, start: MWh. power: MW each way. intercept, slope: α_t in €/MWh, β in €/MWh per MW.
        efficiency: η, each way. wear, moving: €/MWh.
    """

    share: Float[np.ndarray, " types"]
    kind: Int[np.ndarray, " agents"]
    load: Hourly
    solar: Hourly
    flexible: Each
    capacity: Each
    start: Each
    power: Each
    intercept: Float[np.ndarray, " hours"]
    slope: float
    efficiency: float = 0.95
    wear: float = 2.0
    moving: float = 10.0

    def __post_init__(self):
        if not (self.share.min() > 0 and abs(self.share.sum() - 1.0) <= 1e-9):
            raise InvalidInput("share", self.share.tolist(), "positive shares that sum to one")
        for name in ("load", "solar", "flexible", "capacity", "start", "power", "slope", "wear", "moving"):
            values = np.asarray(getattr(self, name))
            if not np.isfinite(values).all() or values.min() < 0:
                raise InvalidInput(name, float(np.nanmin(values)), "finite numbers ≥ 0")
        if not np.isfinite(self.intercept).all():
            raise InvalidInput("intercept", "not finite", "a price in €/MWh for every hour")
        if (over := self.start - self.capacity).max() > 0:
            i = int(over.argmax())
            raise InvalidInput("start", float(self.start[i]), f"at most the battery's capacity, {self.capacity[i]} MWh")
        if self.flexible.max() > 1 or not 0 < self.efficiency <= 1:
            raise InvalidInput("flexible, efficiency", [self.flexible.max(), self.efficiency], "shares of at most one")

    @property
    def weight(self) -> Each:
        """w, that of every agent in the mixture."""
        return (self.share / np.bincount(self.kind, minlength=len(self.share)))[self.kind]

    @property
    def members(self) -> Float[np.ndarray, "types agents"]:
        """w_i where i is of the type, else 0."""
        return self.weight * (self.kind == np.arange(len(self.share))[:, None])

    def drawn(self, choice: Choice) -> Hourly:
        """q."""
        return self.load + choice.added - choice.taken + choice.charge - choice.discharge - choice.solar

    def price(self, choice: Choice) -> Float[np.ndarray, " hours"]:
        """p = α + β Q."""
        return self.intercept + self.slope * self.drawn(choice) @ self.weight

    def own_cost(self, choice: Choice) -> Each:
        """o in €."""
        return (self.wear * (choice.charge + choice.discharge) + self.moving * choice.taken).sum(0)

    def costs(self, choice: Choice) -> Each:
        """J in €."""
        return self.price(choice) @ self.drawn(choice) + self.own_cost(choice)

    def society(self, choice: Choice) -> float:
        """What it costs to make Q, the area under the supply curve, and what agents bear, in €: to be minimized."""
        total = self.drawn(choice) @ self.weight
        return float(self.intercept @ total + 0.5 * self.slope * total @ total + self.weight @ self.own_cost(choice))

    def marginal(self, choice: Choice, reading: Reading) -> Hourly:
        """What one more MW drawn by an agent costs its decision maker, by agent's mass, €/MWh."""
        price, flow = self.price(choice)[:, None], self.drawn(choice)
        own = {"mfg": 0.0, "mftg": flow @ self.members.T[:, self.kind], "team": (flow @ self.weight)[:, None]}
        return np.broadcast_to(price + self.slope * own[reading], flow.shape)

    def stored(self, choice: Choice) -> Hourly:
        """s at the end of every hour, MWh."""
        return self.start + np.cumsum(self.efficiency * choice.charge - choice.discharge / self.efficiency, axis=0)

    def idle(self) -> Choice:
        """Nobody uses a battery or moves load, and all solar power is used."""
        none = np.zeros_like(self.load)
        return Choice(none, none, self.solar, none, none)

    def without_storage(self) -> "Prosumers":
        """The same crowd with its batteries taken away."""
        none = np.zeros_like(self.capacity)
        return replace(self, capacity=none, start=none, power=none)


def solve(crowd: Prosumers, reading: Reading) -> Choice:
    """The equilibrium of a reading (for `team` the optimum), exact to the rounding of an interior-point method.

    Prices are unique for β > 0, plans of agents alike may not be. `RunFailed` where the program is not solved.
    """
    if reading not in READINGS:
        raise InvalidInput("reading", reading, ", ".join(READINGS))
    hours, agents = crowd.load.shape
    cells, weight = hours * agents, crowd.weight
    upper = [np.tile(crowd.power, hours)] * 2 + [crowd.solar.ravel()] + [(crowd.flexible * crowd.load).ravel()] * 2
    own = [np.full(2 * cells, crowd.wear), np.zeros(2 * cells), np.full(cells, crowd.moving)]
    signs = np.repeat([1.0, -1.0, -1.0, 1.0, -1.0], cells)
    flows: Any = sp.hstack([sp.kron(sp.identity(hours), weight[None])] * 5) @ sp.diags_array(signs)
    rows, right, slack = _own_rows(crowd)
    cost = np.concatenate(own) * np.tile(np.tile(weight, hours), 5) + flows.T @ crowd.intercept
    limit = np.concatenate([*upper, slack])
    cost = np.concatenate([cost, np.zeros(len(slack))])
    kept = np.flatnonzero(limit > 0)
    groups = crowd.members if reading == "mftg" else np.zeros((0, agents))
    groups = np.vstack([weight, groups]) if crowd.slope > 0 else groups[:0]
    curvature = np.repeat(crowd.slope * np.where(np.arange(len(groups)) == 0, 1.0 + (reading == "team"), 1.0), hours)
    totals: Any = sp.vstack([sp.hstack([sp.kron(sp.identity(hours), row[None])] * 5) for row in groups] or [flows[:0]])
    totals = sp.hstack([totals @ sp.diags_array(signs), sp.csr_array((len(curvature), len(slack)))])
    fixed = (crowd.load @ groups.T).T.ravel()
    free = np.concatenate([np.zeros(len(kept), bool), np.ones(len(curvature), bool)])
    equal: Any = sp.block_array(
        [
            [sp.csr_array(rows)[:, kept], sp.csr_array((len(right), len(curvature)))],
            [sp.csr_array(totals)[:, kept], -sp.identity(len(curvature))],
        ]
    )
    used = np.flatnonzero(np.abs(equal).sum(axis=1) > 0)
    x = quadratic_optimum(
        np.concatenate([cost[kept], np.zeros(len(curvature))]),
        np.concatenate([np.zeros(len(kept)), curvature]),
        sp.csr_array(equal)[used],
        np.concatenate([right, -fixed])[used],
        np.concatenate([limit[kept], np.full(len(curvature), np.inf)]),
        free,
    )
    found = np.zeros(5 * cells + len(slack))
    found[kept] = x[: len(kept)]
    return Choice._make(found[: 5 * cells].reshape(5, hours, agents))


def _own_rows(crowd: Prosumers) -> tuple[Any, np.ndarray, np.ndarray]:
    """Rows of agents' own limits on (choice, s_1 … s_{T−1}, room for power), right sides, and limits of the slack."""
    hours, agents = crowd.load.shape
    each, cells = sp.identity(agents), hours * agents
    one, zero = sp.identity(cells), sp.csr_array((cells, cells))
    step = sp.kron(sp.eye_array(hours, hours - 1) - sp.eye_array(hours, hours - 1, k=-1), each)
    day = sp.kron(np.ones((1, hours)), each)
    stored = [-crowd.efficiency * one, one / crowd.efficiency, zero, zero, zero, step, None]
    power = [one, one, zero, zero, zero, None, one]
    moved = [None, None, None, day, -day, None, None]
    ends = np.zeros((hours, agents))
    ends[0] += crowd.start
    ends[-1] -= crowd.start
    right = np.concatenate([ends.ravel(), np.tile(crowd.power, hours), np.zeros(agents)])
    slack = np.concatenate([np.tile(crowd.capacity, hours - 1), np.tile(crowd.power, hours)])
    return sp.block_array([stored, power, moved]), right, slack
