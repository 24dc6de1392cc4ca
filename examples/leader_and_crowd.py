"""A leader and its crowd (Huang & Yang): drifts, costs → nine Riccati blocks → gains over time → the certificate.

    dx0 = (A0 x0 + B0 u0 + F0 m) dt + σ0 dW0            the leader plays first,
    dx  = (A x + B u + D u0 + F m + G x0) dt + σ dW     every follower answers, and m is the mean of them all.

Run with `python examples/leader_and_crowd.py`; writes leader_and_crowd.png.
"""

import numpy as np

from diffgames import solve, verify
from diffgames.games.stackelberg import stackelberg_game
from diffgames.plotting import label, new_figure

game = stackelberg_game(
    A0=1.0,
    B0=2.0,
    F0=0.5,
    A=0.5,
    B=1.0,
    D=1.0,
    F=0.2,
    G=0.4,
    Gamma0=0.8,
    Gamma1=0.3,
    Gamma2=0.5,
    Q0=1.0,
    Q=2.0,
    R0=0.5,
    R=1.0,
    R1=1.0,
    R2=0.5,
    sigma0=0.1,
    sigma=0.1,
    horizon=1.0,
    discount=0.1,
)
solution = solve(game)
print(solution)
print(verify(solution))

time = np.linspace(0.0, 1.0, 101)
figure, (leader, follower) = new_figure(columns=2)
for block in ("x0", "x1", "m"):
    leader.plot(time, [solution.gain("leader", block, float(t))[0, 0] for t in time], label=f"on {block}")
    follower.plot(time, [solution.gain("follower", block, float(t))[0, 0] for t in time], label=f"on {block}")
label(leader, x=("time", ""), y=("gain", ""), title="Leader")
label(follower, x=("time", ""), y=("gain", ""), title="Follower")
leader.legend()
figure.savefig("leader_and_crowd.png", dpi=150)
