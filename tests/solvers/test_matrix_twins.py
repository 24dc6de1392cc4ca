"""Matrix-valued games against their formulas written out with NumPy and SciPy: no scalar example hides a transpose.

Every size differs from every other one (states of leader and followers, controls, noises, types, regimes, laws), all
matrices are random, and nothing of the package's solvers enters the other side.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import block_diag, expm

from diffgames.games.mean_field import costate_map, typed_game, typed_linear_quadratic
from diffgames.games.regimes import regime_game
from diffgames.games.stackelberg import GAINS, stackelberg_game
from diffgames.solvers import solve
from diffgames.solvers.boundary_value import boundary_costates
from diffgames.solvers.regimes import solve_regimes, switching_of
from diffgames.solvers.riccati import values_to_go
from diffgames.studies.typed_lq import TypedConfig, game_of

LEAD, OWN, LEADS, FOLLOWS = 2, 3, 1, 2  # states of leader and follower, their controls
X0, X1, M = slice(0, 2), slice(2, 5), slice(5, 8)
LEADER = np.r_[0:2, 5:8]  # (x0, m) in (x0, x1, m)


def positive(rng, size, least=0.5):
    root = rng.normal(size=(size, size))
    return root @ root.T / size + least * np.eye(size)


def leader_and_crowd(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"A0": (LEAD, LEAD), "F0": (LEAD, OWN), "A": (OWN, OWN), "D": (OWN, LEADS), "F": (OWN, OWN)}
    shapes |= {"G": (OWN, LEAD), "Gamma0": (LEAD, OWN), "Gamma1": (OWN, LEAD), "Gamma2": (OWN, OWN)}
    found = {name: 0.4 * rng.normal(size=shape) for name, shape in shapes.items()}
    found |= {"B0": rng.normal(size=(LEAD, LEADS)), "B": rng.normal(size=(OWN, FOLLOWS))}
    found |= {"Q0": positive(rng, LEAD), "Q": positive(rng, OWN), "R0": positive(rng, LEADS)}
    found |= {
        "R": positive(rng, FOLLOWS, 1.0),
        "R1": positive(rng, LEADS),
        "R2": 0.3 * rng.normal(size=(LEADS, FOLLOWS)),
    }
    return found | {"sigma0": 0.2 * rng.normal(size=(LEAD, 3)), "sigma": 0.2 * rng.normal(size=(OWN, 1))}


def closed_loop(g, gains):
    """𝒜, U0 and U1 of formula 3.1; in discrete time, too."""
    K00, K10, K0, K1, K2 = gains
    lead = np.hstack([K00, np.zeros((LEADS, OWN)), K10])
    follow_, crowd = np.hstack([K0, K1, K2]), np.hstack([K0, np.zeros((FOLLOWS, OWN)), K1 + K2])
    none = np.zeros((OWN, OWN))
    drift = np.block(
        [[g["A0"], np.zeros((LEAD, OWN)), g["F0"]], [g["G"], g["A"], g["F"]], [g["G"], none, g["A"] + g["F"]]]
    )
    drift = drift + np.vstack([g["B0"], g["D"], g["D"]]) @ lead
    drift[X1] += g["B"] @ follow_
    drift[M] += g["B"] @ crowd
    return drift, lead, follow_


def stage_costs(g, lead, follow_):
    """E'QE + U1'RU1 + U0'R1U0 + U0'R2U1 + U1'R2'U0 of the follower, E0'Q0E0 + U'R0U of the leader."""
    miss = np.hstack([-g["Gamma1"], np.eye(OWN), -g["Gamma2"]])
    miss0 = np.hstack([np.eye(LEAD), -g["Gamma0"]])
    cross = lead.T @ g["R2"] @ follow_
    own = miss.T @ g["Q"] @ miss + follow_.T @ g["R"] @ follow_ + lead.T @ g["R1"] @ lead + cross + cross.T
    return own, miss0.T @ g["Q0"] @ miss0 + lead[:, LEADER].T @ g["R0"] @ lead[:, LEADER]


def continuous(g, horizon, rho):
    """S1, S0, (r0, r1) and the five gains at time 0, as printed but for the two misprints."""
    tilted = g["D"] - g["B"] @ np.linalg.solve(g["R"], g["R2"].T)
    noise0, noise = g["sigma0"] @ g["sigma0"].T, g["sigma"] @ g["sigma"].T

    def gains(own, lead):
        K00 = -np.linalg.solve(g["R0"], g["B0"].T @ lead[:LEAD, :LEAD] + tilted.T @ lead[LEAD:, :LEAD])
        K10 = -np.linalg.solve(g["R0"], g["B0"].T @ lead[:LEAD, LEAD:] + tilted.T @ lead[LEAD:, LEAD:])
        K0 = -np.linalg.solve(g["R"], g["R2"].T @ K00 + g["B"].T @ own[X1, X0])
        K1 = -np.linalg.solve(g["R"], g["B"].T @ own[X1, X1])
        return K00, K10, K0, K1, -np.linalg.solve(g["R"], g["R2"].T @ K10 + g["B"].T @ own[X1, M])

    def unpack(y):
        return y[:64].reshape(8, 8), y[64:89].reshape(5, 5), y[89:]

    def rate(_, y):
        own, lead, r = unpack(y)
        drift, *plays = closed_loop(g, gains(own, lead))
        reduced = drift[np.ix_(LEADER, LEADER)]
        cost, cost0 = stage_costs(g, *plays)
        added = [np.trace(lead[:LEAD, :LEAD] @ noise0), np.trace(own[X0, X0] @ noise0) + np.trace(own[X1, X1] @ noise)]
        d_own = cost - rho * own + own @ drift + drift.T @ own
        d_lead = cost0 - rho * lead + lead @ reduced + reduced.T @ lead
        return np.concatenate([d_own.ravel(), d_lead.ravel(), np.asarray(added) - rho * r])

    own, lead, r = unpack(solve_ivp(rate, (0, horizon), np.zeros(91), "DOP853", rtol=1e-11, atol=1e-13).y[:, -1])
    return own, lead, r, gains(own, lead)


def discrete(g, steps, alpha):
    """The same of the recursion 3.2."""
    own, lead, r0, r1 = np.zeros((8, 8)), np.zeros((5, 5)), 0.0, 0.0
    noise0, noise = g["sigma0"] @ g["sigma0"].T, g["sigma"] @ g["sigma"].T
    B, F, gains = g["B"], g["A"] + g["F"], ()
    for _ in range(steps):
        P01, P1 = own[X0, X1], own[X1, X1]
        W = B.T @ (P1 + own[X1, M])
        omega = g["R"] + alpha * W @ B
        Hx = -alpha * np.linalg.solve(omega, W @ g["G"] + B.T @ P01.T @ g["A0"])
        Hm = -alpha * np.linalg.solve(omega, W @ F + B.T @ P01.T @ g["F0"])
        Hu = -np.linalg.solve(omega, g["R2"].T + alpha * (W @ g["D"] + B.T @ P01.T @ g["B0"]))
        A, C = np.block([[g["A0"], g["F0"]], [g["G"] + B @ Hx, F + B @ Hm]]), np.vstack([g["B0"], g["D"] + B @ Hu])
        K = -np.linalg.solve(g["R0"] + alpha * C.T @ lead @ C, alpha * C.T @ lead @ A)
        K1 = -alpha * np.linalg.solve(g["R"] + alpha * B.T @ P1 @ B, B.T @ P1 @ g["A"])
        K00, K10 = K[:, :LEAD], K[:, LEAD:]
        gains = (K00, K10, Hx + Hu @ K00, K1, Hm + Hu @ K10 - K1)
        drift, *plays = closed_loop(g, gains)
        cost, cost0 = stage_costs(g, *plays)
        r0 = alpha * (r0 + np.trace(lead[:LEAD, :LEAD] @ noise0))
        r1 = alpha * (r1 + np.trace(own[X0, X0] @ noise0) + np.trace(P1 @ noise))
        own = cost + alpha * drift.T @ own @ drift
        lead = cost0 + alpha * (A + C @ K).T @ lead @ (A + C @ K)
    return own, lead, (r0, r1), gains


@pytest.mark.parametrize("kind", [pytest.param("continuous", marks=pytest.mark.slow), "discrete"])
def test_leader_and_crowd(kind):
    g = leader_and_crowd(0)
    if kind == "continuous":
        solution, twin = solve(stackelberg_game(horizon=0.6, discount=0.15, **g)), continuous(g, 0.6, 0.15)
    else:
        solution = solve(stackelberg_game(horizon=6, discount=-np.log(0.93), discrete=True, **g))
        twin = discrete(g, 6, 0.93)
    own, lead, constants, gains = twin
    leads, follows = np.asarray(solution.value(0.0))[:, 0]
    np.testing.assert_allclose(follows[:8, :8], own, atol=1e-10)
    np.testing.assert_allclose(leads[np.ix_(LEADER, LEADER)], lead, atol=1e-10)
    np.testing.assert_allclose([leads[-1, -1], follows[-1, -1]], constants, atol=1e-10)
    for place, gain in zip(GAINS.values(), gains, strict=True):
        np.testing.assert_allclose(solution.gain(*place), gain, atol=1e-10)


def typed_config(seed: int, reading, types: int = 3, n: int = 2) -> TypedConfig:
    """Three types of agents with two states, one control, three noises."""
    rng = np.random.default_rng(seed)
    lists = {name: 0.4 * rng.normal(size=(types, n, n)) for name in ("a", "kappa", "s")}
    lists |= {name: np.asarray([positive(rng, n) for _ in range(types)]) for name in ("q", "q_T")}
    lists |= {"b": rng.normal(size=(types, n, 1)), "sigma": 0.3 * rng.normal(size=(types, n, 3))}
    lists |= {"r": 1 + rng.uniform(size=(types, 1, 1)), "m0": rng.normal(size=(types, n))}
    lists |= {"var0": np.asarray([0.2 * positive(rng, n) for _ in range(types)])}
    return TypedConfig(share=(0.5, 0.3, 0.2), T=0.7, reading=reading, **{key: nested(v) for key, v in lists.items()})


def nested(array):
    """Tuples in place of an array's axes, as the command line gives them."""
    return tuple(map(nested, array)) if np.ndim(array) else float(array)


def costates_by_exponential(config: TypedConfig) -> np.ndarray:
    """p(0) of section 4's equations for mfg, mftg, team, with the adjoints of vectors."""
    share, m0 = np.asarray(config.share), np.asarray(config.m0)
    a, b, kappa, q, r, s, final = (np.asarray(getattr(config, k)) for k in ("a", "b", "kappa", "q", "r", "s", "q_T"))
    types, n = m0.shape
    makers = {"mfg": lambda t: [], "mftg": lambda t: [t], "team": lambda t: range(types)}[config.reading]

    def flow(y):
        m, p = y.reshape(2, types, n)
        mean = share @ m
        dm = [a[t] @ m[t] - b[t] @ np.linalg.solve(r[t], b[t].T @ p[t]) + kappa[t] @ mean for t in range(types)]
        dp = [-q[t] @ m[t] - s[t] @ mean - a[t].T @ p[t] for t in range(types)]
        for t in range(types):
            dp[t] = dp[t] - sum(share[o] * (kappa[o].T @ p[o] + s[o].T @ m[o]) for o in makers(t))
        return np.concatenate([*dm, *dp])

    size = types * n
    phi, end = expm(np.column_stack([flow(e) for e in np.eye(2 * size)]) * config.T), block_diag(*final)
    right = (phi[size:, :size] - end @ phi[:size, :size]) @ m0.ravel()
    return -np.linalg.solve(phi[size:, size:] - end @ phi[:size, size:], right)


def costates_by_feedback_nash(config: TypedConfig) -> np.ndarray:
    """p(0) of `nash`: ½ mᵀS_τ m with the other makers' feedback put in."""
    share, m0 = np.asarray(config.share), np.asarray(config.m0)
    a, b, kappa, q, r, s, final = (np.asarray(getattr(config, k)) for k in ("a", "b", "kappa", "q", "r", "s", "q_T"))
    types, n = m0.shape
    size, own = types * n, np.eye(types * n).reshape(types, n, types * n)
    mean = np.tensordot(share, own, 1)
    drift = np.vstack([a[t] @ own[t] + kappa[t] @ mean for t in range(types)])
    inputs = [own[t].T @ b[t] for t in range(types)]

    def rate(_, y):
        S = y.reshape(types, size, size)
        gains = [-np.linalg.solve(r[t], inputs[t].T @ S[t]) for t in range(types)]
        closed, out = drift + sum(inputs[t] @ gains[t] for t in range(types)), []
        for t in range(types):
            meet = own[t].T @ s[t] @ mean
            cost = own[t].T @ q[t] @ own[t] + meet + meet.T + gains[t].T @ r[t] @ gains[t]
            out.append(cost + S[t] @ closed + closed.T @ S[t])
        return np.asarray(out).ravel()

    start = np.asarray([own[t].T @ final[t] @ own[t] for t in range(types)]).ravel()
    S = solve_ivp(rate, (0, config.T), start, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1].reshape(types, size, size)
    return np.concatenate([own[t] @ S[t] @ m0.ravel() for t in range(types)])


@pytest.mark.parametrize("reading", ["mfg", *(pytest.param(one, marks=pytest.mark.slow) for one in ("mftg", "nash"))])
def test_agents_with_several_states(reading):
    config = typed_config(1, reading)
    game = game_of(config)
    values, _ = values_to_go(typed_linear_quadratic(game, reading), jnp.asarray([config.T]))
    twin = costates_by_feedback_nash(config) if reading == "nash" else costates_by_exponential(config)
    found = costate_map(game, reading, values[0]) @ np.asarray(config.m0).ravel()
    np.testing.assert_allclose(found, twin, atol=1e-9)


@pytest.mark.parametrize("reading", ["mfg", "mftg", "team"])
def test_the_boundary_value_problem_of_agents_with_several_states(reading):
    config = typed_config(1, reading)
    found = boundary_costates(game_of(config), reading, np.asarray(config.m0), config.T)
    np.testing.assert_allclose(np.ravel(found), costates_by_exponential(config), atol=1e-9)


@pytest.mark.slow
def test_regimes_with_matrices():
    """Four regimes, two states, two laws of jumps with shifts: inner and outer equations of 1.2, all their terms."""
    rng = np.random.default_rng(4)
    m, n, horizon = 4, 2, 0.8
    A, B, D = (scale * rng.normal(size=(m, n, k)) for scale, k in ((0.4, n), (1.0, 1), (0.4, 3)))
    Q, R, S = (np.asarray([positive(rng, k, 0.5 + add) for _ in range(m)]) for k, add in ((n, 0), (1, 0.5), (3, 2)))
    Q_T, noise = np.broadcast_to(np.eye(n), (m, n, n)), 0.3 * rng.normal(size=(m, n, 3))
    rate, scale, shift = (
        rng.uniform(0.2, 1, (m, 2)),
        0.3 * rng.normal(size=(m, 2, n, n)),
        0.2 * rng.normal(size=(m, 2, n)),
    )
    mu = rng.uniform(0.3, 1, (m, m)) * (1 - np.eye(m))
    mu -= np.diag(mu.sum(axis=1))

    def unpack(y):
        layers = y.reshape(2, m, n * n + n + 1)
        return [(one[:, : n * n].reshape(m, n, n), one[:, n * n : -1], one[:, -1]) for one in layers]

    def flow(_, y):
        (P, p, r), (K, kappa, k) = unpack(y)
        out = np.zeros((2, m, n * n + n + 1))
        for i in range(m):
            G = B[i] @ np.linalg.solve(R[i], B[i].T) - D[i] @ np.linalg.solve(S[i], D[i].T)
            closed, push = A[i] - G @ P[i], -G @ p[i]
            law = list(zip(rate[i], scale[i], shift[i], strict=True))
            dP = Q[i] + A[i].T @ P[i] + P[i] @ A[i] - P[i] @ G @ P[i] + sum(v * E.T @ P[i] @ E for v, E, _ in law)
            dp = closed.T @ p[i] + sum(v * E.T @ P[i] @ e for v, E, e in law)
            dr = -p[i] @ G @ p[i] + np.trace(noise[i].T @ P[i] @ noise[i]) + sum(v * e @ P[i] @ e for v, _, e in law)
            dK = P[i] + closed.T @ K[i] + K[i] @ closed + sum(v * E.T @ K[i] @ E for v, E, _ in law)
            dkappa = p[i] + closed.T @ kappa[i] + K[i] @ push + sum(v * E.T @ K[i] @ e for v, E, e in law)
            dk = r[i] + 2 * kappa[i] @ push + np.trace(noise[i].T @ K[i] @ noise[i])
            dk += sum(v * e @ K[i] @ e for v, _, e in law)
            out[0, i] = np.concatenate([(dP + np.tensordot(mu[i], P, 1)).ravel(), dp + mu[i] @ p, [dr + mu[i] @ r]])
            out[1, i] = np.concatenate(
                [(dK + np.tensordot(mu[i], K, 1)).ravel(), dkappa + mu[i] @ kappa, [dk + mu[i] @ k]]
            )
        return out.ravel()

    start = np.zeros((2, m, n * n + n + 1))
    start[:, :, : n * n] = np.eye(n).ravel()
    layers = unpack(solve_ivp(flow, (0, horizon), start.ravel(), "DOP853", rtol=1e-11, atol=1e-13).y[:, -1])
    game = regime_game(
        A=A, B=B, D=D, Q=Q, R=R, S=S, Q_T=Q_T, generator=mu, horizon=horizon, noise=noise,
        jump_rate=rate, jump_scale=scale, jump_shift=shift,
    )  # fmt: skip
    solution = solve_regimes(game, switching_of(mu))
    for values, (matrix, vector, number) in zip(
        (solution.inner.value(0.0)[0], solution.outer(0.0)), layers, strict=True
    ):
        np.testing.assert_allclose(values[:, :n, :n], matrix, atol=1e-9)
        np.testing.assert_allclose(values[:, :n, n], vector, atol=1e-9)
        np.testing.assert_allclose(values[:, n, n], number, atol=1e-9)


def test_a_typed_game_of_wide_noise_is_built_for_every_reading():
    data = {key: [1.0, 2.0] for key in ("a", "b", "kappa", "q", "r", "s", "q_T")}
    game = typed_game(share=[0.5, 0.5], horizon=1.0, sigma=[[[0.1, 0.2, 0.3]], [[0.3, 0.1, 0.0]]], **data)
    noise = np.asarray(typed_linear_quadratic(game, "mfg").coefficients(0.0).diffusion)[0, :, :4, -1]
    np.testing.assert_allclose(noise[:, 0] @ noise[:, 0], 0.14)
    np.testing.assert_allclose(noise[:, 1] @ noise[:, 1], 0.10)
