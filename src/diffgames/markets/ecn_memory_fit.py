"""Fitting the exchange agent with memory: cells of like states, the propagator of order flow, and how traces fade.

The chain's tables are the recorded transitions, joined by their mirror images (unless `mirrored` is false); `ecn_cells`
says which are alike, `resilience` what stays of a push, of a wide spread and of a hole in the book. The energy score of
the validation and the test part is that of cells fitted to the first 70% of the time; the model handed back is then
fitted to the whole record, and is compared with the whole. A transition's state passes on to the next one in the
record; the last passes on to the first.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.markets.ecn_cells import States, fit_cells, states_of
from diffgames.markets.ecn_fit import DECAY_FLOOR, ORDER_SIZE_POINTS, decay_slope
from diffgames.markets.ecn_memory import Memory, MemoryExchange
from diffgames.markets.ecn_samples import Transitions, order_sizes, paired, sampled, swapped
from diffgames.markets.ecn_scores import LevelPaths, recorded_statistics, simulated_statistics
from diffgames.markets.fit_report import FitReport, by_part, cautions, of_record
from diffgames.markets.level2 import Level2
from diffgames.markets.resilience import closing_of_spread, impact_of_flow, refilling_of_depth

DRAWS = 64  # of a score


def fit_memory(
    snapshots: Level2, *, levels: int = 5, least: int = 80, mirrored: bool = True, step: float = 1.0, seed: int = 0
) -> tuple[MemoryExchange, FitReport]:
    """Fit the exchange agent with memory and report how well it fits.

    Args:
        snapshots: level-2 data, read or synthetic.
        levels: m, modelled levels per side.
        least: transitions that a cell has at the least; with fewer, more of what comes next is kept, and an agent that
            knows the record by heart can foresee more.
        mirrored: whether bid and ask are to have one law.
        step: seconds per step; data recorded more often are sampled at this interval.
        seed: of ties between the trees' splits, and of the score's draws.

    Raises `InvalidInput` where the data have fewer levels or too few rows, or a setting makes no sense.
    """
    if least < 2:
        raise InvalidInput("cell", least, "an integer ≥ 2")
    data, samples = sampled(snapshots, levels, step, 10 * least)
    states = _both(samples, step, mirrored)
    impact, closing, refilling = impact_of_flow(data, step), closing_of_spread(data), refilling_of_depth(data)
    both = samples.joined(samples.mirrored()) if mirrored else samples
    offsets = _offsets(data, levels)
    mean_volume = both.before.mean(axis=0)
    gap = max(float(offsets[:, [levels - 1, -1]].mean()) / max(levels - 1, 1), 1.0)
    slope = decay_slope(mean_volume)

    def table(values):
        return jnp.asarray(values, jnp.float32)

    cell = fit_cells(states, least, seed).of(states)
    memory = _memory(both, cell, mirrored)
    first, count, members = _successors(cell, len(samples))
    model = MemoryExchange(
        rows=jnp.asarray(len(both), jnp.int32),
        volumes=table(both.after),
        changed=table(both.after != both.before),
        residual=table(both.after / both.before ** memory[(both.mid_change != 0).astype(int)]),
        memory=table(memory),
        most=table(both.after.max(axis=0)),
        offsets=table(np.concatenate([offsets, swapped(offsets)]) if mirrored else offsets),
        spread=table(both.spread),
        mid_change=table(both.mid_change),
        first=jnp.asarray(first, jnp.int32),
        count=jnp.asarray(count, jnp.int32),
        members=jnp.asarray(members, jnp.int32),
        impact=table(impact.weights),
        kept=table(np.append(np.exp(-1.0 / impact.times), 1.0)),
        spread_kept=table(closing.kept),
        volume_kept=table(refilling.kept),
        decay=table(max(slope / gap, DECAY_FLOOR)),
        gap=table(gap),
        widest=table(samples.spread.max()),
        usual=table(np.median(samples.spread)),
        order_sizes=table(order_sizes(snapshots, ORDER_SIZE_POINTS)),
        mean_volume=table(mean_volume),
        volatility=table(samples.mid_change.std() / 2),
        tick=table(snapshots.tick),
    )
    notes = _notes(data, samples, slope, model)
    return model, _report(data, samples, model, slope, notes, (least, seed, mirrored, step, len(np.unique(cell))))


def simulate_memory(model: MemoryExchange, key: jax.Array, paths: int, steps: int) -> LevelPaths:
    """Paths of the exchange agent alone, from transitions drawn at random."""
    return _paths(model, jax.random.split(key, paths), steps)


@eqx.filter_jit
def _paths(model: MemoryExchange, keys: jax.Array, steps: int) -> LevelPaths:
    def path(key):
        opening, running = jax.random.split(key)
        _, start = model.open(opening, 128)

        def body(memory: Memory, key):
            after = model.advance(memory, key)
            moved = 2 * (after.ask - memory.ask) - (after.spread - memory.spread)
            return after, (after.volumes, after.spread, moved)

        return jax.lax.scan(body, start, jax.random.split(running, steps))[1]

    volume, spread, moved = jax.vmap(path)(keys)
    return LevelPaths(volume=volume, spread=spread, mid_change=moved)


def free_lunch(model: MemoryExchange) -> float | None:
    """Lots from which on half the push of an order exceeds what it pays a lot in the mean book; None where none does.

    With a push that is linear in the lots no round trip earns as long as an order pays at least half of its push,
    ½ G(0) Q a lot: the quadratic form of a convex, falling G is not negative (Gatheral, 2010).
    """
    levels, gap = model.levels, float(model.gap)
    volume = np.asarray(model.mean_volume, float).reshape(2, levels).mean(axis=0)
    deep = np.arange(1, 200)
    place = np.concatenate([gap * np.arange(levels), gap * (levels - 1) + deep]) + float(model.usual) / 2
    lots = np.concatenate([volume, volume[-1] / gap * np.exp(-float(model.decay) * deep)])
    size = np.cumsum(lots)
    pays = np.cumsum(lots * place) / size < float(model.impact.sum()) * size / 2
    return float(size[np.argmax(pays)]) if pays.any() else None


def _both(samples: Transitions, step: float, mirrored: bool) -> States:
    states = states_of(samples, step)
    return states.joined(states_of(samples.mirrored(), step)) if mirrored else states


def _successors(cell: np.ndarray, record: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each transition: where the cell of the state after it begins in the list of members, its size; that list."""
    number, begins, sizes, members = _grouped(cell)
    rows = np.arange(len(cell))
    after = rows // record * record + (rows + 1) % record  # the next of the record, or of its mirror image
    return begins[number[after]], sizes[number[after]], members


def _offsets(data: Level2, levels: int) -> np.ndarray:
    """Ticks from the best to each level after each transition, [transitions, 2m]."""
    ask = data.ask_price[:, :levels] - data.ask_price[:, :1]
    bid = data.bid_price[:, :1] - data.bid_price[:, :levels]
    return (np.concatenate([bid, ask], axis=1) // data.tick)[1:][paired(data, levels)].astype(float)


def _energy_scores(
    samples: Transitions, states: States, least: int, seed: int, mirrored: bool, step: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Per part, the energy score of a step drawn from the cell of the present state, and its standard error.

    Cells and their transitions are those of the training part; coordinates and scale are those of `ecn_scores`.
    """
    train = samples.parts()["train"]
    pool = train.joined(train.mirrored()) if mirrored else train
    known = _both(train, step, mirrored)
    cells = fit_cells(known, least, seed)

    scale = pool.scale()
    memory = _memory(pool, cells.of(known), mirrored)
    _, first, sizes, members = _grouped(cells.of(known))
    where = np.searchsorted(np.unique(cells.of(known)), cells.of(states))
    rng = np.random.default_rng(seed)
    drawn = members[first[where, None] + (rng.random((len(where), DRAWS)) * sizes[where, None]).astype(int)]
    held = memory[(pool.mid_change != 0).astype(int)]
    moved = np.round((pool.after / pool.before**held)[drawn] * samples.before[:, None] ** held[drawn])
    found = np.where(pool.after[drawn] != pool.before[drawn], np.maximum(moved, 1.0), samples.before[:, None])
    simulated = np.concatenate(
        [found - samples.before[:, None], pool.spread[drawn][..., None], pool.mid_change[drawn][..., None]], axis=-1
    )
    simulated, truth = simulated / scale, samples.outcome()[:, None] / scale
    apart = np.linalg.norm(simulated[:, : DRAWS // 2] - simulated[:, DRAWS // 2 :], axis=-1).mean(axis=1)
    score = np.linalg.norm(simulated - truth, axis=-1).mean(axis=1) - apart / 2
    return by_part(score, samples)


def _memory(samples: Transitions, cell: np.ndarray, mirrored: bool) -> np.ndarray:
    """ρ_i where the mid stays and where it moves: how far what differs within a cell persists, in [0, 1], [2, 2m].

    It is the regression of ln V'_i on ln V_i over a cell's transitions that change the level. With it the residual
    V'/V^ρ, drawn anew, keeps the variance.
    """
    moved = (samples.mid_change != 0)[:, None]
    return np.stack([_persistence(samples, cell, mirrored, part) for part in (~moved, moved)])


def _persistence(samples: Transitions, cell: np.ndarray, mirrored: bool, part: np.ndarray) -> np.ndarray:
    changed = (samples.after != samples.before) & part
    size = np.maximum(np.apply_along_axis(lambda c: np.bincount(cell, c), 0, changed.astype(float)), 1.0)

    def within(values: np.ndarray) -> np.ndarray:
        sums = np.apply_along_axis(lambda column: np.bincount(cell, column), 0, values * changed)
        return (values - (sums / size)[cell]) * changed

    before, after = within(np.log(samples.before)), within(np.log(samples.after))
    products, squares = (before * after).sum(axis=0), (before**2).sum(axis=0)
    if mirrored:
        products, squares = products + swapped(products), squares + swapped(squares)
    return np.clip(products / np.maximum(squares, 1e-12), 0.0, 1.0)


def _grouped(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number of each entry's cell, where each cell begins, its size, and the entries cell by cell."""
    _, number, sizes = np.unique(cell, return_inverse=True, return_counts=True)
    return number, np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes, np.argsort(cell, kind="stable")


def _notes(data: Level2, samples: Transitions, slope: float, model: MemoryExchange) -> tuple[str, ...]:
    notes = []
    if slope < DECAY_FLOOR:
        notes.append(f"volumes do not fall with depth (log slope {-slope:+.3f} per level): α is at least {DECAY_FLOOR}")
    notes += cautions(data, samples)
    if (lots := free_lunch(model)) is not None:
        notes.append(f"an order of {lots:.0f} lots pushes the mid further than walking the book costs: round trips pay")
    if not np.asarray(model.impact).any():
        notes.append(
            "order flow does not move the recorded mid: agents' orders move it only while they widen the spread"
        )
    return tuple(notes)


def _report(
    data: Level2,
    samples: Transitions,
    model: MemoryExchange,
    slope: float,
    notes: tuple[str, ...],
    settings: tuple[int, int, bool, float, int],
) -> FitReport:
    least, seed, mirrored, step, cells = settings
    energy, error = _energy_scores(samples, states_of(samples, step), least, seed, mirrored, step)
    return FitReport(
        **of_record(data, samples),
        mirrored=mirrored,
        step=step,
        energy_score=energy,
        energy_score_error=error,
        decay=float(model.decay),
        decay_slope=slope / float(model.gap),
        recorded=recorded_statistics(*((samples, samples.mirrored()) if mirrored else (samples,))),
        simulated=simulated_statistics(
            simulate_memory(model, jax.random.key(seed), paths=64, steps=1000), settling=100
        ),
        notes=notes,
        cells=cells,
    )
