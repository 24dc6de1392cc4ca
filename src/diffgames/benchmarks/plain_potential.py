"""One gradient step of Algorithm 1 as one would first write it in PyTorch: the peer of `alpha-potential`.

The crowd-aversion game of Section 6.2.1 with the networks of Appendix A, on given noise and weights: a Python loop over
time, one network per player, all pairs at once with paths as the first axis, equation 3.6 by Gauss–Legendre in r. An
independent reading of the formulas: its potential is Φ(u), ours Φ̂(u) = Φ(u) + Φ̂(0).
"""

from typing import Any

import numpy as np

from diffgames.games.potential import gauss_legendre


def torch_step(
    weights: dict[str, np.ndarray],
    noise: np.ndarray,
    times: np.ndarray,
    target: np.ndarray,
    *,
    effort: float,
    terminal_weight: float,
    rate: float,
    height: float,
    nodes: int = 8,
) -> tuple[Any, Any]:
    """(step, names): `step()` gives Φ and its gradients by name; noise is [steps, d, players, paths]."""
    import torch  # pyright: ignore[reportMissingImports] - a peer, of the extra `bench`

    torch.set_num_threads(1)  # its threads wait for one another in the many small steps
    tensors = {name: torch.tensor(np.array(value), requires_grad=True) for name, value in weights.items()}
    increments = torch.tensor(np.ascontiguousarray(noise.transpose(0, 3, 2, 1)))
    steps = [float(h) for h in np.diff(times)]
    goal = torch.tensor(target, dtype=torch.float32)
    points, shares = gauss_legendre(nodes)
    _, paths, players, d = increments.shape

    def network(i: int, inputs: Any) -> Any:
        width = tensors["last"].shape[2]
        rows = slice(i * width, (i + 1) * width)
        z = inputs @ tensors["first"][rows].T + tensors["first_bias"][rows]
        for block in range(tensors["inner"].shape[0]):
            w, b = tensors["inner"][block, :, i], tensors["inner_bias"][block, :, i]
            inside = torch.relu(z @ w[0].T + b[0])
            z = z + torch.relu(inside @ w[1].T + b[1])
        return tensors["scale"][i] * torch.tanh(z @ tensors["last"][i].T + tensors["last_bias"][i])

    def pull(x: Any, y: Any) -> Any:
        """Σ_{i≠j} ∫ y_i·∇K((x_i − x_j) − (1−r)(y_i − y_j)) dr."""
        z, difference = x[:, :, None] - x[:, None], y[:, :, None] - y[:, None]
        total = 0.0
        for r, share in zip(points, shares, strict=True):
            at = z - (1.0 - r) * difference
            slope = -2.0 * rate * height * at * torch.exp(-rate * (at**2).sum(-1, keepdim=True))
            total = total + share * (y[:, :, None] * slope).sum((1, 2, 3))
        return total

    def step() -> tuple[Any, dict[str, Any]]:
        x, y = torch.zeros(paths, players, d), torch.zeros(paths, players, d)
        total = torch.zeros(paths)
        for k, h in enumerate(steps):
            now = torch.full((paths, 1), float(times[k]))
            inputs = torch.cat([now, x.transpose(1, 2).reshape(paths, -1), y.transpose(1, 2).reshape(paths, -1)], 1)
            u = torch.stack([network(i, inputs) for i in range(players)], 1)
            total = total + h * (effort * (u**2).sum((1, 2)) + pull(x, y))
            x, y = x + h * u + increments[k], y + h * u
        for r, share in zip(points, shares, strict=True):
            total = total + share * terminal_weight * (y * (x - (1.0 - r) * y - goal)).sum((1, 2))
        loss = total.mean()
        gradients = torch.autograd.grad(loss, list(tensors.values()))
        return loss.detach(), dict(zip(tensors, gradients, strict=True))

    return step, list(tensors)
