"""Trees of arrays on disk: written whole or not at all, guarded by a digest, read without pickle.

A file is one line of JSON, `{"format", "version", "sha256", "bytes", "structure"}`, followed by the leaves as
consecutive `.npy` blocks. Typed random keys are stored through their data. `structure` describes plain containers
(dictionaries, lists, tuples, numbers, strings) and equinox modules of registered classes field by field, so that a
profile of policies can be rebuilt from the file alone; any other tree is read into the structure of a `like`.
"""

import dataclasses
import hashlib
import importlib
import io
import json
import math
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.atomic import write_atomically
from diffgames.errors import InvalidInput
from diffgames.run_files import read

FORMAT, VERSION = "diffgames-tree", 1

STORABLE: dict[str, tuple[str, ...]] = {
    "diffgames.games.interbank": ("InterBankGame", "Lending"),
    "diffgames.games.markov": ("Continuous", "Discrete", "Role"),
    "diffgames.learning.policy": ("ActorCritic", "FixedProbabilities", "RecurrentActorCritic"),
    "diffgames.markets.ecn": ("ExchangeModel",),
    "diffgames.markets.ecn_memory": ("MemoryExchange",),
    "diffgames.markets.mixture": ("GaussianMixture",),
    "diffgames.markets.neural_exchange": ("MixtureDensityNetwork", "NeuralExchange", "Openings"),
    "diffgames.solvers.feedback": ("LinearFeedback", "Track"),
    "diffgames.solvers.policies": ("Centred", "Clock", "LinearGains", "LocalGains", "ResidualNetworks", "Sum"),
    "diffgames.studies.flow_response": ("RandomQuotes",),
    "equinox.nn._linear": ("Linear",),
    "equinox.nn._rnn": ("LSTMCell",),
}
"""The classes that files may name, by module: what profiles are made of."""

_storable: dict[str, type[eqx.Module]] = {}
Kind = TypeVar("Kind", bound=type[eqx.Module])


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_stored(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, bool | int | float | np.generic | jax.ShapeDtypeStruct)


def _describe(tree: Any) -> Any:
    """JSON description of a tree that can be rebuilt from it; raises `TypeError` for one that cannot."""
    if tree is None or isinstance(tree, str):
        return {"value": tree}
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        # jax.tree orders dictionaries by key, and the leaves follow that order
        return {"dict": {key: _describe(tree[key]) for key in sorted(tree)}, "order": list(tree)}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_describe(item) for item in tree]}
    if isinstance(tree, bool | int | float):
        return {"leaf": type(tree).__name__}
    if isinstance(tree, jax.Array) and _is_key(tree):
        return {"leaf": "key", "implementation": str(jax.random.key_impl(tree))}
    if eqx.is_array(tree) or isinstance(tree, np.generic):
        return {"leaf": "jax" if isinstance(tree, jax.Array) else "numpy"}
    if isinstance(tree, eqx.Module):
        kept = {field.name: field for field in dataclasses.fields(tree) if hasattr(tree, field.name)}
        fields = {
            name: _constant(getattr(tree, name)) if field.metadata.get("static") else _describe(getattr(tree, name))
            for name, field in kept.items()
        }
        _module_class(_name_of(type(tree)))
        return {"module": _name_of(type(tree)), "fields": fields}
    raise TypeError(f"a {type(tree).__name__} cannot be described")


def _constant(value: Any) -> Any:
    """JSON description of a static field, which is no leaf."""
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_constant(item) for item in value]}
    raise TypeError(f"a static {type(value).__name__} cannot be described")


def _rebuild(structure: Any, leaves: "_Leaves") -> Any:
    """The tree that `_describe` described, its leaves taken in order."""
    match structure:
        case {"value": value}:
            return value
        case {"dict": items, "order": order}:
            built = {key: _rebuild(item, leaves) for key, item in items.items()}
            return {key: built[key] for key in order}
        case {"list": items}:
            return [_rebuild(item, leaves) for item in items]
        case {"tuple": items}:
            return tuple(_rebuild(item, leaves) for item in items)
        case {"leaf": "key", "implementation": implementation}:
            return jax.random.wrap_key_data(jnp.asarray(leaves.next()), impl=implementation)
        case {"leaf": kind}:
            array = leaves.next()
            return {"jax": jnp.asarray, "numpy": lambda x: x, "bool": bool, "int": int, "float": float}[kind](array)
        case {"module": name, "fields": fields}:
            kind = _module_class(name)
            module, known = object.__new__(kind), {field.name for field in dataclasses.fields(kind)}
            if not set(fields) <= known:
                raise ValueError(f"the class {name} has no field {min(set(fields) - known)!r}")
            for field, item in fields.items():
                object.__setattr__(module, field, _rebuild(item, leaves))
            return module
        case _:
            raise ValueError(f"unknown structure {structure!r}")


def storable(kind: Kind) -> Kind:
    """Let files describe modules of a class of yours: a decorator, needed before one is written or read.

    A file that names a class which nobody registered is refused: its content alone must not choose what is built.
    """
    _storable[_name_of(kind)] = kind
    return kind


def _name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _module_class(name: str) -> type[eqx.Module]:
    """The registered class of that name; a module is imported only if it holds one of the package's own."""
    if name in _storable:
        return _storable[name]
    path, _, member = name.partition(":")
    if member not in STORABLE.get(path, ()):
        raise ValueError(f"the class {name} is not registered (diffgames.storage.storable)")
    return getattr(importlib.import_module(path), member)


class _Leaves:
    """Reads the consecutive arrays of a file."""

    def __init__(self, payload: bytes):
        self._file, self._size = io.BytesIO(payload), len(payload)

    def next(self) -> np.ndarray:
        if self.exhausted:
            raise ValueError("it holds fewer arrays than expected")
        self._check_claim()
        return np.load(self._file, allow_pickle=False)

    def _check_claim(self) -> None:
        """Compare the size that the next array's header claims with what is left, before memory is asked for."""
        start = self._file.tell()
        version = np.lib.format.read_magic(self._file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(self._file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > self._size - self._file.tell():
            raise ValueError("an array claims more than the file holds")
        self._file.seek(start)

    @property
    def exhausted(self) -> bool:
        return self._file.tell() == self._size


def _fill(like: Any, leaves: _Leaves) -> Any:
    """`like` with its arrays and numbers replaced by the stored ones, whose shapes and types must be the same."""

    def one(leaf: Any) -> Any:
        if not _is_stored(leaf):
            return leaf
        array = leaves.next()
        if isinstance(leaf, bool | int | float):
            return type(leaf)(array)
        expected = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        if array.shape != expected.shape or array.dtype != expected.dtype:
            raise ValueError(
                f"it holds {array.dtype}{list(array.shape)} where {expected.dtype}{list(expected.shape)} is expected"
            )
        if _is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        return array if isinstance(leaf, np.ndarray | np.generic) else jnp.asarray(array)

    return jax.tree.map(one, like)


def save_tree(path: Path, tree: Any, *, alone: bool = False) -> str:
    """Write a tree atomically; returns the digest of its leaves.

    `InvalidInput` names what cannot be rebuilt from the file alone, where that is asked for.
    """
    buffer = io.BytesIO()
    for leaf in jax.tree.leaves(tree):
        if _is_stored(leaf):
            np.save(buffer, np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf), allow_pickle=False)
    payload = buffer.getvalue()
    try:
        structure = _describe(tree)
    except (TypeError, ValueError) as error:
        if alone:
            allowed = f"plain containers, arrays and modules of registered classes; {error}"
            raise InvalidInput("profile", type(tree).__name__, allowed) from error
        structure = None  # can be read with a `like` only
    digest = hashlib.sha256(payload).hexdigest()
    head = {"format": FORMAT, "version": VERSION, "sha256": digest, "bytes": len(payload), "structure": structure}
    head["head_sha256"] = _head_digest(head)
    write_atomically(path, json.dumps(head).encode() + b"\n" + payload)
    return digest


def _head_digest(head: dict[str, Any]) -> str:
    body = {key: value for key, value in head.items() if key != "head_sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def load_tree(path: Path, like: Any = None, *, within: Path | None = None) -> Any:
    """Read a tree back exactly; a missing, damaged or unfitting file raises `InvalidInput` naming it.

    `within` is the run folder that the file lies in (default: its own folder): no link between them is followed.
    """
    allowed = "an undamaged file written by diffgames"
    content = read(path, within or path.parent)
    try:
        line, _, payload = content.partition(b"\n")
        head = json.loads(line)
        if head["format"] != FORMAT or head["version"] != VERSION:
            raise ValueError(f"format {head['format']} version {head['version']}")
        intact = len(payload) == head["bytes"] and hashlib.sha256(payload).hexdigest() == head["sha256"]
        if not intact or _head_digest(head) != head["head_sha256"]:
            raise ValueError("its digest does not match its content")
        structure = head["structure"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "its head is not readable" if isinstance(error, json.JSONDecodeError) else _short(error)
        raise InvalidInput("file", str(path), f"{allowed}; this one is damaged ({reason})") from error
    if like is None and structure is None:
        raise InvalidInput("file", str(path), "a tree of plain containers and modules, or a `like` to read it into")
    leaves = _Leaves(payload)
    try:
        tree = _rebuild(structure, leaves) if like is None else _fill(like, leaves)
        if not leaves.exhausted:
            raise ValueError("it holds more arrays than expected")
    except Exception as error:  # a structure that another program wrote may be of any shape
        raise InvalidInput("file", str(path), f"a file that fits this run ({_short(error)})") from error
    return tree


def _short(error: Exception) -> str:
    text = str(error).splitlines()
    return text[0] if isinstance(error, ValueError) and text else f"unexpected {type(error).__name__}"
