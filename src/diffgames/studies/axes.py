"""What the shapes of a study's parameters say of one another: parameters that share an axis have one length along it.

`shape="regimes (× n × n)"` names three axes, the last two only where entries are matrices (a number is 1×1);
`"regimes or scalar"` takes a number for all. A user who changes one such parameter must change the others with it, and
is told all of them at once.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from diffgames.errors import InvalidInput
from diffgames.studies.parameters import fields_of, value_of
from diffgames.studies.study import Study


def axis_lengths(shape: str, value: Any) -> dict[str, int]:
    """The length of every named axis of `value`; empty where it is a number for all, or of none of the shapes.

    Entries may be lists of their own (a range for a number), so that values may be deeper than their shape.
    """
    depth, alternatives = _depth(value), re.split(r",? or ", shape)
    if value is None or (depth == 0 and "scalar" in alternatives):
        return {}
    axes = [[name.strip(" ()") for name in re.split(r"×| x ", words.replace("(", ""))] for words in alternatives]
    fitting = [names for names in axes if len(names) == depth] or [names for names in axes if names != ["scalar"]][:1]
    for names in fitting:
        pairs = zip(names, _sizes(value, len(names)), strict=True)
        return {name: size for name, size in pairs if re.fullmatch(r"[A-Za-z][\w ]*", name)}
    return {}


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list | tuple) and value else int(isinstance(value, list | tuple))


def _sizes(value: Any, count: int) -> Iterator[int]:
    """Lengths along the first `count` axes; where there is a number already, it stands for one entry."""
    for _ in range(count):
        if isinstance(value, list | tuple):
            yield len(value)
            value = value[0] if value else 0.0
        else:
            yield 1


def disagreements(study: Study, config: Any) -> dict[str, dict[str, int]]:
    """Every axis along which parameters of a configuration differ in length: {axis: {parameter: length}}."""
    found: dict[str, dict[str, int]] = {}
    for field in fields_of(study.config):
        for axis, size in axis_lengths(field.parameter.shape, value_of(config, field.name)).items():
            found.setdefault(axis, {})[field.name] = size
    return {axis: sizes for axis, sizes in found.items() if len(set(sizes.values())) > 1}


def check_lengths(study: Study, config: Any) -> None:
    """Raise `InvalidInput` naming the parameters of one axis that differ in length."""
    for axis, lengths in disagreements(study, config).items():
        allowed = f"lists of one length, an entry for each of {axis}"
        raise InvalidInput(", ".join(lengths), list(lengths.values()), allowed)


def together(study: Study, config: Any, key: str, given: Collection[str]) -> str:
    """Which parameters must change with those that were given, in words; empty where the slip at `key` is another."""
    named = set(re.split(r", ", key))
    for axis, sizes in disagreements(study, config).items():
        asked = {name: size for name, size in sizes.items() if name in given}
        kept = {name: size for name, size in sizes.items() if name not in given and size not in asked.values()}
        if named & set(sizes) and asked and kept:
            told = ", ".join(f"{name} has {size}" for name, size in asked.items())
            return f"{axis}: {told}, but {', '.join(f'{n} {size}' for n, size in kept.items())}: give them together"
    return ""
