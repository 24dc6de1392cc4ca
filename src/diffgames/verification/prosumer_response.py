"""The certificate of a crowd of prosumers: linear programs that the solver never saw.

A decision maker's cost is convex in its own plan, so it lies above its tangent: by any other plan x' it gains at most

    J(x) − J(x') ≤ ∇J(x)·(x − x') ≤ max over x' of ∇J(x)·(x − x'),

a linear program at the decision maker's marginal prices, for every agent apart. For who takes the price as given J is
linear, and the bound is the gain. The programs know a battery by its running sum, s_0 + Σ (η c − d/η) ∈ [0, S]. For the
cost to society the same bounds how far below the equilibrium's any plan's could be: the planner's optimum.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from diffgames.energy.prosumers import Choice, Prosumers, Reading
from diffgames.errors import RunFailed
from diffgames.verification.certificate import Certificate, Gap, exact_gap

ROUNDING = 1e-11  # of the terms that a gain is the sum of


def tangent_gains(crowd: Prosumers, choice: Choice, reading: Reading) -> Float[np.ndarray, " agents"]:
    """What each agent's plan could change at the marginal prices of its decision maker, € per agent."""
    price = crowd.marginal(choice, reading)
    now = (price * crowd.drawn(choice)).sum(0) + crowd.own_cost(choice)
    return now - np.array([least_cost(crowd, i, price[:, i]) for i in range(len(crowd.kind))])


def least_cost(crowd: Prosumers, agent: int, price: Float[np.ndarray, " hours"]) -> float:
    """The least that an agent pays at given prices, by HiGHS, €."""
    hours, one = len(price), np.eye(len(price))
    sums, none = np.tril(np.ones((hours, hours))), np.zeros((hours, hours))
    stored = np.hstack([crowd.efficiency * sums, -sums / crowd.efficiency, none, none])
    movable = crowd.flexible[agent] * crowd.load[:, agent]
    power, start = crowd.power[agent], crowd.start[agent]
    even = np.concatenate([np.zeros(2 * hours), np.ones(hours), -np.ones(hours)])
    limits = np.concatenate(
        [np.full(hours, crowd.capacity[agent] - start), np.full(hours, start), np.full(hours, power)]
    )
    cost = np.concatenate([crowd.wear + price, crowd.wear - price, price, crowd.moving - price])
    bounds = [(0.0, power)] * (2 * hours) + [(0.0, most) for most in movable] * 2
    found = linprog(
        cost,
        A_ub=np.vstack([stored, -stored, np.hstack([one, one, none, none])]),
        b_ub=limits,
        A_eq=np.vstack([stored[-1], even]),
        b_eq=np.zeros(2),
        bounds=bounds,
        method="highs",
    )
    if found.x is None:
        raise RunFailed(f"the reply of agent {agent} was not found: {found.message}", "look at its battery's numbers")
    return float(price @ crowd.load[:, agent] - np.maximum(price, 0.0) @ crowd.solar[:, agent] + found.fun)


def certify_prosumers(crowd: Prosumers, choices: dict[Reading, Choice], names: tuple[str, ...]) -> Certificate:
    """Gains per type in € per agent of agents who take the price (`mfg`) and of deciders for a type (`mftg`)."""
    entries: list[Gap] = []
    checks: dict[str, float] = {}
    for reading, choice in choices.items():
        gains, costs = tangent_gains(crowd, choice, reading), crowd.costs(choice)
        marginal = np.abs(crowd.marginal(choice, reading))
        sizes = (marginal * (np.abs(crowd.drawn(choice)) + crowd.load + crowd.solar)).sum(0)
        for k, name in enumerate(names if reading != "team" else ()):
            own = np.flatnonzero(crowd.kind == k)
            if reading == "mfg":
                place = own[gains[own].argmax()]
                label, value, gain, scale = f"{name}, each", costs[place], gains[place], sizes[place]
            else:
                label, value, gain, scale = f"{name}, as one", costs[own].mean(), gains[own].mean(), sizes[own].mean()
            words = "exact: the price is given" if reading == "mfg" else "at most: the tangent of a convex cost"
            entries.append(
                exact_gap(
                    label, -float(value), float(gain), ROUNDING * float(scale), selected=words, scale=float(scale)
                )
            )
        checks |= _checks(crowd, choice, reading)
        checks[f"{reading}: together at most €"] = float(crowd.weight @ gains)
    return Certificate(
        tuple(entries),
        how="linear programs at marginal prices (HiGHS), batteries as running sums",
        unseen="binaries: a battery may do both in shares of one hour, which pays at negative prices alone",
        checks=checks,
    )


def _checks(crowd: Prosumers, choice: Choice, reading: Reading) -> dict[str, float]:
    """By how much a plan breaks its limits, MW and MWh."""
    stored, movable = crowd.stored(choice), crowd.flexible * crowd.load
    over = [-part for part in choice] + [choice.charge + choice.discharge - crowd.power, choice.solar - crowd.solar]
    over += [choice.added - movable, choice.taken - movable, -stored, stored - crowd.capacity]
    ends = [np.abs(stored[-1] - crowd.start).max(), np.abs((choice.added - choice.taken).sum(0)).max()]
    return {f"{reading}: beyond limits": float(max(*(part.max() for part in over), *ends))}
