"""What each player of the market-making game could gain: one-sided best responses to a stored profile, by SciPy.

The profile is a table of quotes, predator push and efforts on a time grid, linear between grid times. Everything is
recomputed from the parameters and that table alone, in NumPy with LSODA, sharing no code with the solver (but for the
policy search of the committed reading); a fill's loss ζz² to its impact is a part of the change of Θ at it:

- value of the profile:  dΘ/dτ = −c(q) + wq + pay(w) + Σ Λ(u)(1 − e^{−γ(zu + Θ(q∓z) − Θ)})/γ + switching,
- the market maker's best response: the same with the supremum over u, searched by Newton's method on each point,
- the predator's: the infimum over w with the quotes frozen; pay(w) = w²/(2ξ) (`ce`) or w²/(2ξγ) (`utility`),
- attacker and stabilizer: their stage problem solved against the other's frozen effort, quotes and θ frozen.

Gaps are exact up to the interpolation of the table (second order in its step) and the tolerance of LSODA: in
certainty equivalents for the first two players, in units of stress × time for the other two. What interpolation leaves
open is by how much the profile's value moves when every other time of the table is left out; stored values say nothing
of it, since a profile that errs is as far from the values of another one as it loses. They are `checks`.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, no_type_check

import jax
import numpy as np
from scipy.integrate import solve_ivp

from diffgames.errors import RunFailed
from diffgames.games.market_making import MarketMakingGame, Units, dimensionless
from diffgames.solvers.market_making_committed import committed_gains
from diffgames.verification.certificate import Certificate, Gap, exact_gap

HOW = "exact: one-sided best responses on the inventory grid by another integrator (LSODA)"
TOLERANCE = 1e-9
"""Of LSODA, relative and absolute, in the game's own units; over a horizon some thirty times as much adds up."""
NODES = 40
EFFORTS = ("attack_effort", "stabilize_effort")


@no_type_check  # its methods are called tens of thousands of times, by this module alone
class _Frozen:
    """The game in NumPy and the stored profile as functions of τ = T − t."""

    def __init__(self, game: MarketMakingGame, profile: Mapping[str, Any]):
        self.game = game
        self.gamma, self.xi = float(game.gamma), float(game.xi)
        self.k = np.asarray(game.k)
        self.q = np.asarray(game.inventory, float)
        self.sizes = game.sizes
        self.flow = {-1: np.asarray(game.ask_flow), 1: np.asarray(game.bid_flow)}
        self.time = np.asarray(profile["time"], float)
        self.table = {
            name: np.nan_to_num(np.asarray(profile[name], float), nan=np.inf)
            for name in ("ask", "bid", "theta", *EFFORTS)
        }
        self.push = np.asarray(profile["predator"], float)
        base, attack, stabilize = (np.array(m) for m in (game.generator, game.attack, game.stabilize))
        for matrix in (base, attack, stabilize):
            np.fill_diagonal(matrix, 0.0)
        self.base, self.attack, self.stabilize = base, attack, stabilize
        self.impact = np.asarray(game.impact)[:, None]
        self.holding = self._holding()
        self.variance = np.asarray(game.sigma) ** 2 + np.asarray(game.jump_rate) * (
            np.asarray(game.jump_mean) ** 2 + np.asarray(game.jump_deviation) ** 2
        )

    def thinned(self) -> "_Frozen":
        """The same tables at half as many times."""
        coarse, end = copy.copy(self), self.time[-1]
        coarse.time = np.linspace(0.0, end, max((self.time.size - 1) // 2, 1) + 1)
        coarse.table = {name: np.stack([self.at(name, end - t) for t in coarse.time]) for name in self.table}
        return coarse

    def _holding(self) -> np.ndarray:
        """½γσ²q² + φq² − bq + (λ/γ)E[e^{−γqZ} − 1 + γqZ], the expectation by Gauss–Hermite quadrature."""
        game, q = self.game, self.q[None, :]
        sigma, drift = np.asarray(game.sigma)[:, None], np.asarray(game.drift)[:, None]
        cost = (0.5 * self.gamma * sigma**2 + float(game.running_penalty)) * q**2 - drift * q
        if self.gamma > 0:
            nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
            jump = np.asarray(game.jump_mean)[:, None] + np.asarray(game.jump_deviation)[:, None] * nodes
            exponent = -self.gamma * q[:, :, None] * jump[:, None, :]
            mean = (np.exp(exponent) - 1 - exponent) @ (weights / weights.sum())
            cost = cost + np.asarray(game.jump_rate)[:, None] / self.gamma * mean
        return cost

    def at(self, name: str, tau: float) -> np.ndarray:
        """A table at τ, linear in time."""
        table, last = self.table[name], self.time.size - 1
        where = np.clip((self.time[-1] - tau) / self.time[-1] * last, 0.0, last)
        left = min(int(where), last - 1)
        weight = where - left
        closed = np.isinf(table[left])
        mixed = np.where(closed, 0.0, table[left]) * (1 - weight) + np.where(closed, 0.0, table[left + 1]) * weight
        return np.where(closed, np.inf, mixed)

    def rates(self, attack: np.ndarray, stabilize: np.ndarray) -> np.ndarray:
        """μ_ij at every inventory, [N, N, K]."""
        pulled = self.attack[:, :, None] * attack[:, None, :]
        return self.base[:, :, None] + pulled - self.stabilize[:, :, None] * stabilize[:, None, :]

    def utility(self, gain: np.ndarray) -> np.ndarray:
        """(1 − e^{−γx})/γ."""
        return -np.expm1(-self.gamma * gain) / self.gamma if self.gamma > 0 else gain

    def pay(self) -> np.ndarray:
        """What the predator pays for its push, per unit of time."""
        unit = self.xi * (self.gamma if self.game.predator == "utility" else 1.0)
        return self.push**2 / (2 * unit) if unit > 0 else np.zeros_like(self.push)

    def played(self, offset: np.ndarray, size: int, change: np.ndarray) -> np.ndarray:
        """What the stored offset brings per unit of flow; nothing where the side is closed (infinite)."""
        held = np.where(np.isinf(offset), 0.0, offset)
        return np.exp(-self.k[:, None] * offset) * self.utility(size * held + change)

    def best(self, offset: np.ndarray, size: int, change: np.ndarray) -> np.ndarray:
        """What the best offset brings per unit of flow."""
        k = self.k[:, None] / size
        total = _newton_offset(k, self.gamma, change)
        return np.exp(-k * total) * self.utility(total + change)

    def moving(self, offset: np.ndarray, size: int, change: np.ndarray) -> np.ndarray:
        """What the stored offset changes in a table per unit of flow."""
        return np.exp(-self.k[:, None] * offset) * change

    def fills(
        self,
        tau: float,
        table: np.ndarray,
        value: Callable[[np.ndarray, float, np.ndarray], np.ndarray],
        *,
        priced: bool,
    ):
        """Σ over sides and sizes of flow · value(k, size, offset, change of `table`) where the trade is allowed.

        A `priced` table is one of money: what the impact of the fill loses then belongs to its change.
        """
        total = np.zeros_like(table)
        for sign, name in ((-1, "ask"), (1, "bid")):
            offsets = self.at(name, tau)
            for index, size in enumerate(self.sizes):
                here = slice(size, None) if sign < 0 else slice(None, -size)
                there = slice(None, -size) if sign < 0 else slice(size, None)
                change = table[:, there] - table[:, here]
                if priced:
                    change = change - size**2 * self.impact
                flow = self.flow[sign][:, index, None]
                total[:, here] += flow * value(offsets[:, here, index], size, change)
        return total


def certify_market_maker(game: MarketMakingGame, profile: Mapping[str, Any]) -> Certificate:
    """Gap of every player at the profile, the largest over all starting regimes and inventories at t = 0.

    `profile` has the arrays `time` [S], `theta`, `stress`, `attack_effort`, `stabilize_effort` [S, N, K], `ask`, `bid`
    [S, N, K, Z] (NaN where closed) and `predator` [N, K], the push w. Intervals are gain ± what the interpolation and
    the integrators leave undecided; `checks` tell how far the stored values are from those of the profile.
    """
    frozen, unit = _frozen(game, profile)
    game, thinned = frozen.game, frozen.thinned()
    played, best = frozen.played, frozen.best
    hurt = frozen.push * frozen.q + frozen.pay()
    pushing = frozen.xi * (frozen.gamma if game.predator == "utility" else 1.0)
    worst = np.broadcast_to(-0.5 * pushing * frozen.q**2, hurt.shape)
    value = _certainty_equivalent(frozen, played, hurt)
    blur = _moved(value, _certainty_equivalent(thinned, played, hurt))
    price, stress_unit = float(unit.price), float(unit.stress)
    checks = {"error of the stored theta": price * float(np.abs(value - frozen.table["theta"][0]).max())}
    entries = [_entry("market maker", value, _certainty_equivalent(frozen, best, hurt) - value, blur, price)]
    if frozen.xi > 0:
        entries.append(_entry("predator", -value, value - _certainty_equivalent(frozen, played, worst), blur, price))
    if game.switching == "strategic":
        stress = _stress(frozen, "")
        blur = _moved(stress, _stress(thinned, ""))
        checks["error of the stored stress"] = float(
            np.abs(stress * stress_unit - np.asarray(profile["stress"])[0]).max()
        )
        entries.append(_entry("attacker", stress, _stress(frozen, "attack") - stress, blur, stress_unit))
        entries.append(_entry("stabilizer", -stress, stress - _stress(frozen, "stabilize"), blur, stress_unit))
    return Certificate(tuple(entries), HOW, checks=checks)


def certify_committed(game: MarketMakingGame, profile: Mapping[str, Any]) -> Certificate:
    """The certificate of a profile in the committed reading.

    Market maker and predator as in `certify_market_maker` (they answer the committed policies); attacker and
    stabilizer search for another policy that the market maker then answers: a lower bound of what they could gain.
    """
    whole = certify_market_maker(game, profile)
    answer = [entry for entry in whole.entries if entry.label in ("market maker", "predator")]
    gains = committed_gains(game, np.asarray(profile["attack_effort"]), np.asarray(profile["stabilize_effort"]))
    searched = "policy search from no and from full effort"
    leaders = [
        exact_gap(label, *gains[name], 0.0, selected=searched)
        for label, name in (("attacker", "attack"), ("stabilizer", "stabilize"))
    ]
    return Certificate(
        (*answer, *leaders), HOW + "; committed policies: lower bound, gradient search", checks=whole.checks
    )


def profile_value(game: MarketMakingGame, profile: Mapping[str, Any]) -> np.ndarray:
    """θ(0) [N, K] of the stored profile by policy evaluation, independent of the solver."""
    frozen, unit = _frozen(game, profile)
    hurt = frozen.push * frozen.q + frozen.pay()
    return float(unit.price) * _certainty_equivalent(frozen, frozen.played, hurt)


def _frozen(game: MarketMakingGame, profile: Mapping[str, Any]) -> tuple[_Frozen, Units]:
    """Game and profile in units of the game's own, in which LSODA's absolute tolerance has a meaning."""
    with jax.enable_x64(True):
        scaled, unit = dimensionless(game)
    price, time = float(unit.price), float(unit.time)
    units = {"time": time, "theta": price, "ask": price, "bid": price, "predator": price / time}
    tables = {name: np.asarray(profile[name], float) / units.get(name, 1.0) for name in (*units, *EFFORTS)}
    return _Frozen(scaled, tables), unit


@no_type_check
def _newton_offset(k: np.ndarray, gamma: float, change: np.ndarray) -> np.ndarray:
    """argmax over x of e^{−kx}(1 − e^{−γ(x + D)})/γ by Newton's method on its first-order condition."""
    x = 1.0 / k - change  # the optimum at γ = 0; the condition k(1−e^{−γy})/γ = e^{−γy} is convex in y = x + D
    for _ in range(60):
        y = x + change
        decay = np.exp(-gamma * y)
        gain = -np.expm1(-gamma * y) / gamma if gamma > 0 else y
        step = (k * gain - decay) / (k * decay + gamma * decay)
        x = x - step
        if np.abs(step).max() < 1e-15:
            break
    return x


@no_type_check
def _certainty_equivalent(frozen: _Frozen, fill_value: Callable, hurt: np.ndarray) -> np.ndarray:
    shape = frozen.holding.shape

    def field(tau: float, flat: np.ndarray) -> np.ndarray:
        theta = flat.reshape(shape)
        rates = frozen.rates(frozen.at("attack_effort", tau), frozen.at("stabilize_effort", tau))
        switching = (rates * frozen.utility(theta[None] - theta[:, None])).sum(axis=1)
        return (hurt - frozen.holding + frozen.fills(tau, theta, fill_value, priced=True) + switching).ravel()

    game = frozen.game
    end = -float(game.terminal_penalty) * np.abs(frozen.q) - float(game.terminal_quadratic) * frozen.q**2
    return _integrate(field, np.broadcast_to(end, shape).ravel(), frozen.time[-1]).reshape(shape)


@no_type_check
def _stress(frozen: _Frozen, player: str) -> np.ndarray:
    """U(0) when `player` ("attack", "stabilize" or "" for nobody) plays its best stage action."""
    game, shape, n = frozen.game, frozen.holding.shape, frozen.k.size
    costs = {name: float(getattr(game, f"effort_{name}")) for name in ("attack", "stabilize")}
    most = {name: float(getattr(game, f"{name}_max")) for name in ("attack", "stabilize")}
    matrix = {"attack": frozen.attack, "stabilize": frozen.stabilize}

    def field(tau: float, flat: np.ndarray) -> np.ndarray:
        table, variance = flat[:-n].reshape(shape), flat[-n:]
        difference = table[None] - table[:, None]
        effort = {name: frozen.at(f"{name}_effort", tau) for name in costs}
        if player:
            gain = (matrix[player][:, :, None] * difference).sum(axis=1)
            cost, high = costs[player], most[player]
            effort[player] = np.clip(gain / cost, 0, high) if cost > 0 else high * (gain > 0)
        source = -frozen.at("theta", tau)
        if game.stress == "inventory":
            slope = frozen.gamma * variance + float(game.predator_drift) * tau
            source = 0.5 * frozen.q**2 * slope[:, None]
        source = source - 0.5 * costs["attack"] * effort["attack"] ** 2
        source = source + 0.5 * costs["stabilize"] * effort["stabilize"] ** 2

        rates = frozen.rates(effort["attack"], effort["stabilize"])
        change = source + frozen.fills(tau, table, frozen.moving, priced=False) + (rates * difference).sum(axis=1)
        base = frozen.base @ variance - frozen.base.sum(axis=1) * variance
        return np.concatenate([change.ravel(), frozen.variance + base])

    start = np.zeros(frozen.holding.size + n)
    return _integrate(field, start, frozen.time[-1])[:-n].reshape(shape)


def _integrate(field: Callable, start: np.ndarray, horizon: float) -> np.ndarray:
    found = solve_ivp(field, (0.0, horizon), start, method="LSODA", rtol=TOLERANCE, atol=TOLERANCE, t_eval=[horizon])
    if not found.success:
        raise RunFailed(f"the certificate could not be integrated: {found.message}", "look at the parameters' units")
    return found.y[:, -1]


def _moved(value: np.ndarray, coarse: np.ndarray) -> float:
    """What a value leaves undecided: how far half the times move it, and what LSODA's tolerance adds up to."""
    return float(np.abs(value - coarse).max()) + 30 * TOLERANCE * (1.0 + float(np.abs(value).max()))


def _entry(label: str, value: np.ndarray, gain: np.ndarray, blur: float, unit: float) -> Gap:
    where = np.unravel_index(int(gain.argmax()), gain.shape)
    regime, inventory = int(where[0]), int(where[1]) - (value.shape[1] - 1) // 2
    place = f"largest of all starting states: regime {regime}, inventory {inventory}"
    return exact_gap(label, float(value[where]) * unit, float(gain[where]) * unit, blur * unit, selected=place)
