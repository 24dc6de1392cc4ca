"""What a linear-quadratic game must fulfil, checked when it is built: each slip is told with the matrix it is in.

Shapes are checked always, numbers where they are known (not while a program is being traced). Indefinite costs of
controls and singular stage matrices are found by the solvers, which know the order of play.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jax.core import Tracer

from diffgames.errors import InvalidInput
from diffgames.games.differential import check_generator
from diffgames.games.names import check_names
from diffgames.numerics.equilibration import equilibrated, least_eigenvalue

if TYPE_CHECKING:
    from diffgames.games.linear_quadratic import LinearQuadraticGame


def check_game(game: "LinearQuadraticGame") -> None:
    """`InvalidInput`, naming the matrix, for a wrong shape or a number that cannot be."""
    _check_words(game)
    drift = game._sample(game.drift)
    if len(drift.shape) != 3 or drift.shape[1] != drift.shape[2]:
        raise InvalidInput("drift", f"shape {drift.shape}", "an array [regimes, n, n]")
    m, n, total = game.regime_count, game.size, sum(game.control_sizes)
    wanted: dict[str, tuple[Any, tuple[int | None, ...]]] = {
        "diffusion": (game.diffusion, (m, None, n, n)),
        "jump_scale": (game.jump_scale, (m, None, n, n)),
        "jump_rate": (game.jump_rate, (m, None)),
        "switch": (game.switch, (m, m, n, n)),
        "crowd_map": (game.crowd_map, (n, n)),
    }
    for player, size in zip(game.players, game.control_sizes, strict=True):
        for name, shape in {
            "own_input": (m, n, size),
            "crowd_input": (m, n, size),
            "state_cost": (m, n, n),
            "control_cost": (m, total, total),
            "cross_cost": (m, n, total),
            "terminal_cost": (m, n, n),
        }.items():
            wanted[f"{player.name}.{name}"] = (getattr(player, name), shape)
    for key, (value, shape) in wanted.items():
        if value is not None:
            _check_shape(game, key, value, shape)
    _check_numbers(game)
    if not game.discrete:
        _check_control_costs(game)


def _check_control_costs(game: "LinearQuadraticGame") -> None:
    """In continuous time the last tier's stage game is that of the control costs alone."""
    tier = game.tiers[-1]
    costs = [game.players[p].control_cost for p in tier]
    if not all(_known(cost) for cost in costs):
        return
    places = [game.control_slices[p] for p in tier]
    for p, place, cost in zip(tier, places, costs, strict=True):
        own = np.asarray(cost, float)[:, place, place]
        if least_eigenvalue(game.players[p].sign * own, np).min() <= 0:
            word = "positive" if game.players[p].sign > 0 else "negative"
            raise InvalidInput(
                f"{game.players[p].name}.control_cost",
                (own[0] if len(own) == 1 else own).tolist(),
                f"a {word} definite cost of the player's own control",
            )
    columns = np.concatenate([np.arange(place.start, place.stop) for place in places])
    system = np.concatenate(
        [np.asarray(cost, float)[:, place][:, :, columns] for place, cost in zip(places, costs, strict=True)], axis=1
    )
    spread = np.linalg.svd(equilibrated(system, np), compute_uv=False)
    if (spread.min(axis=-1) <= 1e-13 * spread.max(axis=-1)).any():
        names = ", ".join(game.players[p].name for p in tier)
        raise InvalidInput(
            f"control_cost of {names}", system.tolist(), "costs whose joint first-order conditions are not singular"
        )


def _check_words(game: "LinearQuadraticGame") -> None:
    check_names("players", [player.name for player in game.players])
    for player in game.players:
        if player.sign not in (1, -1):
            raise InvalidInput(f"{player.name}.sign", player.sign, "+1 (minimises) or -1 (maximises)")
    early = {index for tier in game.tiers[:-1] for index in tier}
    for index, player in enumerate(game.players):
        if player.crowd_input is not None:
            if index in early:
                raise InvalidInput(f"{player.name}.crowd_input", "an array", "None before the last tier of play")
            if game.crowd_map is None:
                raise InvalidInput("crowd_map", None, "a matrix [n, n], since a player has a crowd")
    if sum(size for _, size in game.blocks) != game.size or game.blocks[-1][1] != 1:
        raise InvalidInput("blocks", game.blocks, f"sizes that sum to n = {game.size}, the constant 1 last")


def _check_shape(game: "LinearQuadraticGame", key: str, value: Any, shape: tuple[int | None, ...]) -> None:
    found = game._sample(value).shape
    if len(found) != len(shape) or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
        words = ", ".join("any" if size is None else str(size) for size in shape)
        raise InvalidInput(key, f"shape {tuple(found)}", f"an array of shape ({words})")


def _check_numbers(game: "LinearQuadraticGame") -> None:
    names = ("drift", "diffusion", "jump_scale", "jump_rate", "switch", "crowd_map")
    pairs = {name: getattr(game, name) for name in names}
    for player in game.players:
        for name in ("own_input", "crowd_input", "state_cost", "control_cost", "cross_cost", "terminal_cost"):
            pairs[f"{player.name}.{name}"] = getattr(player, name)
    for key, value in pairs.items():
        if _known(value) and not np.all(np.isfinite(np.asarray(value))):
            raise InvalidInput(key, "not finite", "finite numbers")
    for key in ("drift", "diffusion", "jump_scale"):
        value = pairs[key]
        if not _known(value) or not np.asarray(value).size:
            continue
        last = np.asarray(value)[..., -1, :]
        kept = np.eye(game.size)[-1] if game.discrete and key == "drift" else np.zeros(game.size)
        if np.abs(last - kept).max() > 0:
            raise InvalidInput(key, last.tolist(), f"{kept.tolist()} as last row: the constant 1 stays as it is")
    if _known(game.jump_rate) and np.asarray(game.jump_rate).size and np.asarray(game.jump_rate).min() < 0:
        raise InvalidInput("jump_rate", np.asarray(game.jump_rate).tolist(), "intensities ≥ 0")
    if _known(game.crowd_map):
        last = np.asarray(game.crowd_map)[-1]
        if np.abs(last - np.eye(game.size)[-1]).max() > 0:
            raise InvalidInput("crowd_map", last.tolist(), "zeros and 1 as last row: the crowd sees the constant 1")
    check_span(game.horizon, game.discount, game.discrete)
    if (game.jump_scale is None) != (game.jump_rate is None):
        raise InvalidInput("jump_rate", game.jump_rate, "an array [regimes, laws] exactly where jump_scale is one")
    if game.generator is not None and not callable(game.generator) and _known(game.generator):
        generator = np.asarray(game.generator)
        if generator.shape != (game.regime_count,) * 2:
            raise InvalidInput("generator", f"shape {generator.shape}", f"({game.regime_count}, {game.regime_count})")
        check_generator(generator)
    elif game.generator is None and game.regime_count > 1:
        raise InvalidInput("generator", None, f"a matrix ({game.regime_count}, {game.regime_count}) of rates")


def check_span(horizon: Any, discount: Any, discrete: bool = False) -> None:
    """`InvalidInput` unless the horizon is a positive time, or whole number of steps, and the discount finite."""
    allowed = "a positive whole number of steps, or math.inf" if discrete else "a positive time, or math.inf"
    for key, value, words in (("horizon", horizon, allowed), ("discount", discount, "a finite number")):
        if isinstance(value, Tracer):
            continue
        number = np.asarray(value)
        if number.dtype.kind not in "iuf":
            raise InvalidInput(key, value, words)
        fine = number > 0 if key == "horizon" else np.isfinite(number)
        if key == "horizon" and discrete:
            fine &= ~np.isfinite(number) | (number == np.floor(number))
        if not np.all(fine):
            raise InvalidInput(key, value, words)


def _known(value: Any) -> bool:
    return value is not None and not callable(value) and not isinstance(value, Tracer)
