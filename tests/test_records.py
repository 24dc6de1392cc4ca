"""Trees on disk and run folders: read back exactly, or refused."""

import hashlib
import json
import os
import sys
import time

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from diffgames import records, storage
from diffgames.errors import InvalidInput
from diffgames.games.markov import Continuous, Role
from diffgames.storage import load_tree, save_tree
from diffgames.studies.context import CheckpointStore

CONFIG = {"study": "toy", "seed": 0, "preset": "quick", "parameters": {}, "words": {"headline": {}}}
TREE = {
    "weights": [jnp.arange(6, dtype=jnp.float32).reshape(2, 3), np.arange(3, dtype=np.int16)],
    "key": jax.random.key(5),
    "keys": jax.random.split(jax.random.key(6, impl="rbg"), 3),
    "history": ({"loss": jnp.asarray([0.1, jnp.nan], jnp.float64)}, 3, 0.1, True, None, "text"),
}


def same(a, b) -> bool:
    """Equal in structure, type and every bit."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False

    def bits(x):
        x = jax.random.key_data(x) if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        return (np.asarray(x).dtype, np.asarray(x).tobytes(), type(x))

    return all(bits(x) == bits(y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_tree_is_read_back_exactly_with_and_without_like(tmp_path):
    save_tree(tmp_path / "tree", TREE)
    assert same(load_tree(tmp_path / "tree"), TREE)
    assert same(load_tree(tmp_path / "tree", TREE), TREE)
    assert list(load_tree(tmp_path / "tree")) == list(TREE), "the order of a dictionary is kept"
    draws = [jax.random.normal(tree["key"], (3,)) for tree in (TREE, load_tree(tmp_path / "tree"))]
    assert np.array_equal(*draws)


def test_a_module_is_rebuilt_from_the_file_alone(tmp_path):
    role = Role(
        name="provider",
        count=2,
        observation_names=("inventory", "price"),
        action=Continuous(names=("spread",), low=(-1.0,), high=(1.0,)),
    )
    save_tree(tmp_path / "role", {"role": role})
    loaded = load_tree(tmp_path / "role")["role"]
    assert loaded == role and type(loaded) is Role


class Network(eqx.Module):
    """A module that holds a function, which a file cannot describe."""

    weight: jax.Array
    activation: object


def test_what_cannot_be_described_is_read_into_a_like(tmp_path):
    network = Network(jnp.ones(3), jnp.tanh)
    save_tree(tmp_path / "network", network)
    like = Network(jnp.zeros(3), jnp.tanh)
    assert same(eqx.filter(load_tree(tmp_path / "network", like), eqx.is_array), eqx.filter(network, eqx.is_array))
    with pytest.raises(InvalidInput, match="like"):
        load_tree(tmp_path / "network")


@pytest.mark.parametrize(
    "like",
    [
        {**TREE, "weights": [jnp.zeros((3, 2), jnp.float32), np.zeros(3, np.int16)]},
        {**TREE, "weights": [jnp.zeros((2, 3), jnp.float64), np.zeros(3, np.int16)]},
        {**TREE, "more": jnp.zeros(1)},
        {key: value for key, value in TREE.items() if key != "weights"},
    ],
    ids=["other shape", "other type", "more arrays", "fewer arrays"],
)
def test_a_tree_of_another_shape_is_refused(tmp_path, like):
    save_tree(tmp_path / "tree", TREE)
    with pytest.raises(InvalidInput, match="fits this run"):
        load_tree(tmp_path / "tree", like)


def test_every_damaged_byte_is_noticed(tmp_path):
    save_tree(tmp_path / "tree", TREE)
    content = (tmp_path / "tree").read_bytes()
    draw = np.random.default_rng(1)
    for position in draw.choice(len(content), 200, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(draw.integers(8))
        (tmp_path / "tree").write_bytes(damaged)
        with pytest.raises(InvalidInput, match="undamaged"):
            load_tree(tmp_path / "tree")
    for length in draw.choice(len(content), 20, replace=False):
        (tmp_path / "tree").write_bytes(content[:length])
        with pytest.raises(InvalidInput, match="undamaged"):
            load_tree(tmp_path / "tree")


class Planted:
    """Unpickling this would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("object.npy", np.asarray([Planted()], object), allow_pickle=True)
    save_tree(tmp_path / "tree", {"x": np.zeros(1)})
    import hashlib
    import json

    from diffgames.storage import _head_digest

    payload = (tmp_path / "object.npy").read_bytes()
    head = json.loads((tmp_path / "tree").read_bytes().partition(b"\n")[0])
    head |= {"sha256": hashlib.sha256(payload).hexdigest(), "bytes": len(payload)}
    head["head_sha256"] = _head_digest(head)
    (tmp_path / "tree").write_bytes(json.dumps(head).encode() + b"\n" + payload)
    with pytest.raises(InvalidInput):
        load_tree(tmp_path / "tree")
    assert not (tmp_path / "unpickled").exists()


def test_only_registered_classes_are_stored_and_rebuilt(tmp_path):
    """A class of the user's own is registered by a decorator; any other module's is neither imported nor built."""
    with pytest.raises(InvalidInput, match=r"Network is not registered \(diffgames.storage.storable\)"):
        save_tree(tmp_path / "tree", {"role": Network(jnp.ones(1), None)}, alone=True)
    storage.storable(Network)
    save_tree(tmp_path / "tree", {"role": Network(jnp.ones(1), None)}, alone=True)
    text = (tmp_path / "tree").read_bytes()
    assert load_tree(tmp_path / "tree")["role"].activation is None
    import json

    from diffgames.storage import _head_digest

    line, _, payload = text.partition(b"\n")
    head = json.loads(line.replace(f"{Network.__module__}:".encode(), b"antigravity:"))
    head["head_sha256"] = _head_digest(head)
    (tmp_path / "tree").write_bytes(json.dumps(head).encode() + b"\n" + payload)
    with pytest.raises(InvalidInput, match="antigravity:Network is not registered"):
        load_tree(tmp_path / "tree")
    assert "antigravity" not in sys.modules


def test_every_registered_name_is_a_class_of_its_module():
    for path, names in storage.STORABLE.items():
        for name in names:
            kind = storage._module_class(f"{path}:{name}")
            assert issubclass(kind, eqx.Module) and (kind.__module__, kind.__qualname__) == (path, name)


def test_a_finished_stage_is_not_repeated(tmp_path):
    from diffgames.progress import Progress
    from diffgames.studies.context import RunContext

    store = CheckpointStore(tmp_path / "checkpoints")
    context = RunContext(seed=0, folder=tmp_path, progress=Progress(quiet=True), checkpoint=store, log=print)
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(3), "words": ["a", "b"]}

    first, second = context.stage("fit", compute), context.stage("fit", compute)
    assert len(calls) == 1 and second["words"] == first["words"] and np.array_equal(first["x"], second["x"])


def test_newest_run_is_found_by_study_and_seed(tmp_path):
    def write(name, study, seed, started):
        (tmp_path / name).mkdir()
        records.write_config(
            tmp_path / name,
            CONFIG | {"study": study, "seed": seed, "started": started},
        )

    write("a", "toy", 0, "2026-01-01")
    write("b", "toy", 0, "2026-01-03")
    write("c", "toy", 1, "2026-01-04")
    write("d", "other", 0, "2026-01-05")
    assert records.newest_run(tmp_path, "toy", 0) == tmp_path / "b"
    assert records.newest_run(tmp_path, "toy", 2) is None


def test_new_folders_never_collide(tmp_path):
    folders = [records.new_folder(tmp_path, "toy", 0) for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.name.startswith("toy-seed0-") for folder in folders)


def test_arrays_keep_labels_and_units(tmp_path):
    data = xarray.Dataset({"price": ("time", [1.0, 2.0], {"units": "ticks"})}, coords={"time": [0, 1]})
    records.write_arrays(tmp_path, {"day": data})
    records.write_config(tmp_path, CONFIG)
    run = records.open_run(tmp_path)
    loaded = run.arrays("day")
    assert loaded.identical(data)
    with pytest.raises(InvalidInput, match="one of day"):
        run.arrays("night")
    with pytest.raises(InvalidInput, match="finished"):
        _ = run.headline
    with pytest.raises(InvalidInput, match="stored profile"):
        run.profile()


def test_arrays_claim_no_more_than_they_hold_and_nothing_that_lies_elsewhere(tmp_path):
    """HDF5 describes a terabyte of fill values in a few bytes, and data in any file by its name."""
    (tmp_path / "secret").write_bytes(bytes(24))
    records.write_config(tmp_path, CONFIG)

    def forged(plant):
        records.write_arrays(tmp_path, {"day": xarray.Dataset({"price": ("time", [1.0, 2.0, 3.0])})})
        with h5py.File(tmp_path / "arrays" / "day.nc", "r+") as file:
            del file["price"]
            plant(file)
            if file.get("price", getlink=True).__class__ is h5py.HardLink:
                file["price"].dims[0].attach_scale(file["time"])
        return records.open_run(tmp_path).arrays("day")

    assert forged(lambda file: file.create_dataset("price", data=np.arange(3.0)))["price"].sum() == 3.0
    for plant, said in (
        (lambda file: file.create_dataset("price", (2**37,), "f8", chunks=(2**20,)), "price claims more"),
        (lambda file: file.create_dataset("price", (3,), "f8", external=[(str(tmp_path / "secret"), 0, 24)]), "claims"),
        (lambda file: file.update(price=h5py.ExternalLink(str(tmp_path / "secret"), "/x")), "lies in another file"),
    ):
        with pytest.raises(InvalidInput, match=rf"day\.nc.*undamaged netCDF.*{said}"):
            forged(plant)


def test_the_stopwatch_adds_up_over_processes(tmp_path):
    first = records.Stopwatch(tmp_path)
    time.sleep(0.05)
    first.save()
    assert records.Stopwatch(tmp_path).seconds() >= 0.05
    (tmp_path / "checkpoints" / "seconds.json").write_text("{")
    assert records.Stopwatch(tmp_path).seconds() < 0.05, "a damaged timing is no reason to refuse a run"


def test_a_tree_names_no_module_that_starts_something_and_claims_no_more_than_it_holds(tmp_path):
    role = Role(name="a", count=1, observation_names=("x",), action=Continuous(names=("s",), low=(-1.0,), high=(1.0,)))
    save_tree(tmp_path / "role", {"role": role, "numbers": [np.arange(3.0)]})

    def forged(old, new, payload=lambda data: data):
        line, _, data = (tmp_path / "role").read_bytes().partition(b"\n")
        head = json.loads(line.replace(old, new))
        data = payload(data)
        head |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        head["head_sha256"] = storage._head_digest(head)
        (tmp_path / "forged").write_bytes(json.dumps(head).encode() + b"\n" + data)
        return tmp_path / "forged"

    assert load_tree(forged(b"", b""))["role"] == role
    for old, new in (
        (b"games.markov:Role", b"__main__:Role"),
        (b"games.markov:Role", b"games.differential:DifferentialGame"),
        (b'"count"', b'"__class__"'),
        (b'"dict": {', b'"dict": 3, "other": {'),
        (b'"list": [', b'"leaf": ['),
    ):
        with pytest.raises(InvalidInput, match="fits this run"):
            load_tree(forged(old, new))
    with pytest.raises(InvalidInput, match="unexpected KeyError"):
        load_tree(forged(b'"structure"', b'"something"'))
    huge = forged(
        b"", b"", lambda data: data.replace(b"'shape': (3,), }".ljust(24), b"'shape': (99999999,), }".ljust(24))
    )
    with pytest.raises(InvalidInput, match="claims more"):
        load_tree(huge)
