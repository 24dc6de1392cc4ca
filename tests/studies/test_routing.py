"""The study `routing`: its query, its payments against what a flow allows, its certificate, and slips in words."""

import csv
import gzip
import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.energy.payment_graph import COLUMNS, scale_free_graph
from diffgames.studies.routing import RoutingConfig, _certificate, graph_of_config

SMALL = ["nodes=80", "links=3", "target=40", "amount=20000", "payments=12", "further=[5000]", "queries=3"]


def run(folder, *settings):
    assert main(["run", "routing", "--out", str(folder), "--set", *SMALL, *settings]) == 0
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routing") / "run"
    return folder, run(folder, "fees_compared=4")


def test_the_headline_agrees_with_itself(small):
    _, result = small
    said = result["headline"]
    assert said["costs"] == sorted(said["costs"]) and len(said["costs"]) == 5
    shares = [said["success_one_try"], said["success_single"], said["success"], said["feasible"]]
    assert shares == sorted(shares) and said["success_interval"][0] <= said["success"] <= said["success_interval"][1]
    assert said["amounts"] == [5000, 1_000_000] and said["success_by_amount"]["in parts"][-1] == said["success"]
    assert said["fee_least_ppm"] <= said["fee_compared_ppm"] * (1 + 1e-7) + 60 / 1_000_000
    assert said["success_by_amount"]["a flow"][-1] == said["feasible"]
    assert said["directions"]["component"] <= said["directions"]["cheapest"] <= said["directions"]["usable"]
    assert "published" not in result or not result["published"]
    latency = list(said["latency"].values())
    assert latency == sorted(latency)


def test_the_certificate_holds_and_is_reproduced(small):
    folder, result = small
    checks = result["certificate"]["checks"]
    assert checks["paths"] == checks["paths_of_yen"] == 5
    assert not any(checks[name] for name in ("alike", "not_between_the_ends", "not_simple", "steps_not_usable"))
    assert max(checks["cost_off"], checks["yen_off"]) < 1e-12
    assert main(["verify", str(folder)]) == 0


def test_a_forged_path_does_not_pass():
    config = RoutingConfig(nodes=80, links=3, target=40, amount=20_000)
    graph = graph_of_config(config, 0)
    direct = _certificate(config, graph, {"nodes": np.asarray([[0, 40]]), "costs": np.asarray([0.5])}).checks
    assert direct["steps_not_usable"] == 1 and direct["cost_off"] is None and direct["yen_off"] > 0.1
    loop = _certificate(config, graph, {"nodes": np.asarray([[0, 1, 0, -1]]), "costs": np.asarray([0.5])}).checks
    assert loop["not_simple"] == 1 and loop["not_between_the_ends"] == 1


def write(folder, **changed):
    """The synthetic graph as a file."""
    graph = scale_free_graph(80, 3, 1)
    names = ("channel", "source", "target", "capacity", "base_fee", "rate", "delay", "smallest", "largest", "disabled")
    columns = [np.asarray(changed.get(name, getattr(graph, name))).astype(int) for name in names]
    path = folder / "channels.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *np.stack(columns, axis=1).tolist()])
    return path


def test_a_file_is_routed_and_a_disconnected_one_refused_in_words(tmp_path, capsys):
    path = write(tmp_path)
    result = run(tmp_path / "run", f"graph={path}", "fees_compared=0", "destinations=random", "balances=bimodal")
    assert "fee_least_ppm" not in result["headline"] and result["headline"]["success"] <= result["headline"]["feasible"]
    graph = scale_free_graph(80, 3, 1)
    cut = write(tmp_path, disabled=(graph.target == 40))
    capsys.readouterr()
    slips = {
        ("target=40",): "target: 40 is not valid; allowed: a node that 20000 sat reach from 0",
        ("target=0",): "another node than the source",
        ("source=81",): "source: 81 is not valid; allowed: a node of the graph, which has 80 nodes from 0 to 79",
        ("amount=100000000",): "an amount that at least one direction of the graph carries",
    }
    for settings, said in slips.items():
        given = ["run", "routing", "--out", str(tmp_path / "no"), "--set", *SMALL, f"graph={cut}", *settings]
        assert main(given) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1 and not (tmp_path / "no").exists()


COSTS = [2.9388672, 4.32321697, 5.60068384, 5.71353909, 5.76094909]


@pytest.mark.slow
def test_the_recorded_query_on_the_mainnet_graph(shared_data, tmp_path):
    path = shared_data / "lightning" / "ln_mainnet_2026-02-03_directed.csv.gz"
    settings = ["source=0", "target=2134", "amount=100000", "k=5", "payments=8", "further=[]", "fees_compared=1"]
    result = run(tmp_path / "run", f"graph={path}", *settings)
    said, checks = result["headline"], result["certificate"]["checks"]
    assert [float(f"{cost:.9g}") for cost in said["costs"]] == [
        2.9388672,
        4.32321697,
        5.60068384,
        5.71353909,
        5.76094909,
    ]
    assert said["directions"] == {"usable": 58_812, "cheapest": 54_747, "component": 53_739}
    assert said["component"] == 4_521 and checks["yen_off"] < 1e-12 and checks["cost_off"] < 1e-12
    assert result["published"] == {"success": 0.82, "success_single": 0.77}
