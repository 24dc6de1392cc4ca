"""The payment graph: what is read, what is refused and how it is said."""

import gzip

import numpy as np
import pytest

from diffgames.energy.payment_graph import COLUMNS, read_payment_graph
from diffgames.errors import InvalidInput
from payment_networks import small, synthetic

ROWS = [
    [0, 5, 7, 9000, 1000, 499, 144, 0, 1_000_000, 0],
    [0, 7, 5, 9000, 0, 11, 34, 1, 9_000_000, 1],
    [1, 5, 9, 500, 0, 0, 40, 1, 500_000, 0],
]


def write(folder, rows=ROWS, names=COLUMNS):
    text = "\n".join(",".join(map(str, line)) for line in [names, *rows])
    path = folder / "graph.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_a_file_is_read_by_the_names_of_its_columns(tmp_path):
    order = np.random.default_rng(0).permutation(len(COLUMNS))
    graph = read_payment_graph(
        write(tmp_path, [[row[place] for place in order] for row in ROWS], [COLUMNS[place] for place in order])
    )
    assert graph.nodes.tolist() == [5, 7, 9]
    assert graph.source.tolist() == [0, 0, 1] and graph.target.tolist() == [1, 2, 0]
    assert graph.capacity.tolist() == [9000, 500, 9000] and graph.rate.tolist() == [499, 0, 11]
    assert graph.disabled.tolist() == [False, False, True]
    assert graph.twin.tolist() == [2, -1, 0]
    assert graph.position("source", 9) == 2


@pytest.mark.parametrize(
    ("row", "column", "value", "said"),
    [
        (0, "base_msat", -1, "line 2.*base_msat of at least 0"),
        (1, "ppm", -3, "line 3.*ppm of at least 0"),
        (2, "htlc_min_msat", 500_001, "line 4.*a capacity of at least the HTLC minimum"),
        (2, "htlc_max_msat", 0, "line 4.*an HTLC minimum of at most the maximum"),
        (1, "capacity_sat", 8999, "line 3.*of one capacity"),
        (1, "src", 5, "line 3.*a channel between two nodes"),
        (1, "dst", 9, "line 3.*each direction of a channel once"),
        (2, "chan", 0, "line 4.*each direction of a channel once"),
        (0, "disabled", 2, "line 2.*disabled = 0 or 1"),
        (0, "capacity_sat", 0.5, "line 2.*an integer"),
        (0, "ppm", "free", "line 2.*a number where 'free' stands"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path, row, column, value, said):
    rows = [list(line) for line in ROWS]
    rows[row][COLUMNS.index(column)] = value
    with pytest.raises(InvalidInput, match=said):
        read_payment_graph(write(tmp_path, rows))


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="one column each of ppm"):
        read_payment_graph(write(tmp_path, [row[:5] + row[6:] for row in ROWS], [n for n in COLUMNS if n != "ppm"]))


def test_a_node_that_is_not_there_is_named():
    with pytest.raises(InvalidInput, match=r"source: 11 is not valid.*4 nodes from 0 to 30"):
        small().position("source", 11)


def test_the_synthetic_graph_keeps_the_rules_of_a_file_and_its_degrees_have_a_heavy_tail(tmp_path):
    graph = synthetic(nodes=400)
    names = ("channel", "capacity", "base_fee", "rate", "delay", "smallest", "largest", "disabled")
    channel, *policy = (np.asarray(getattr(graph, name)).astype(int) for name in names)
    columns = [channel, graph.nodes[graph.source], graph.nodes[graph.target], *policy]
    again = read_payment_graph(write(tmp_path, np.stack(columns, axis=1).tolist()))
    for name in (*names, "source", "target"):
        assert np.array_equal(getattr(again, name), getattr(graph, name)), name
    assert (graph.source[graph.twin] == graph.target).all()
    degree = np.bincount(graph.source)
    assert degree.max() > 10 * np.median(degree)


def test_the_mainnet_graph(shared_data):
    graph = read_payment_graph(shared_data / "lightning" / "ln_mainnet_2026-02-03_directed.csv.gz")
    assert (len(graph), len(graph.nodes), int((~graph.disabled).sum())) == (101_616, 17_324, 65_810)
