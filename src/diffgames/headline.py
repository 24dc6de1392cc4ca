"""Headline values: what may stand in one, how they are laid flat, averaged over seeds and compared.

A headline value is a finite number, a nested list of numbers, or one level of {label: number or list}. Null inside of
one says "does not exist", and stands only where the study documents it; a whole value that does not exist is absent. A
number that is not finite is never passed on in silence.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diffgames.errors import RunFailed
from diffgames.studies.study import Headline


def plain(value: Any) -> Any:
    """Arrays and scalars of any library as Python numbers and lists; anything else is returned as it is."""
    if isinstance(value, Mapping):
        return {str(label): plain(item) for label, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.bool_):
        return bool(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return plain(np.asarray(value).tolist()) if hasattr(value, "shape") else value


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float | int | None]]:
    """Every number of a value under a flat name: `reward.provider`, `gap[1]`."""
    if isinstance(value, Mapping):
        for label, item in value.items():
            yield from numbers(item, f"{name}.{label}" if name else str(label))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from numbers(item, f"{name}[{position}]")
    else:
        yield name, value


def _finite_or_null(value: Any) -> Any:
    """`value` with what is not finite as null."""
    if isinstance(value, Mapping):
        return {label: _finite_or_null(item) for label, item in value.items()}
    if isinstance(value, list):
        return [_finite_or_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def checked_headline(headline: Mapping[str, Any], documented: Mapping[str, Headline]) -> dict[str, Any]:
    """The headline as JSON, every key documented, every number finite, optional values that do not exist left out.

    Raises `RunFailed` where a number is missing that the study does not document as one that may be, and `TypeError` or
    `KeyError`, the study's own mistakes, for a value of another kind or a key without words.
    """
    if unlike := set(headline) ^ set(documented):
        raise KeyError(f"headline keys and their documentation differ in {', '.join(sorted(unlike))}")
    result = {}
    for key, raw in headline.items():
        value = plain(raw)
        levels = value.values() if isinstance(value, Mapping) else [value]
        if any(isinstance(level, Mapping) for level in levels):
            raise TypeError(f"headline {key!r} has more than one level of labels")
        for name, number in numbers(value, key):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise TypeError(f"headline {name} is a {type(number).__name__}, not a number")
            if documented[key].optional or (number is not None and math.isfinite(number)):
                continue
            raise RunFailed(
                f"headline {name} is {'missing' if number is None else number}, not a finite number",
                "look at log.txt and the warnings; a smaller step, a lower learning rate or other data may help",
            )
        result[key] = _finite_or_null(value)
    return {key: value for key, value in result.items() if value is not None}


def over_seeds(headlines: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mean, and half-width of its 95% interval by Student's t, of every number over the seeds that have it.

    With n numbers of sample standard deviation s the half-width is t₀.₉₇₅(n − 1) s / √n; null below two numbers.
    """
    keys = list(dict.fromkeys(key for one in headlines for key in one))
    mean = {key: _combine([one.get(key) for one in headlines], _mean) for key in keys}
    half_width = {key: _combine([one.get(key) for one in headlines], _half_width) for key in keys}
    return mean, half_width


def _combine(values: Sequence[Any], rule: Any) -> Any:
    present = [value for value in values if value is not None]
    if not present:
        return None
    if isinstance(present[0], Mapping):
        return {label: _combine([value.get(label) for value in present], rule) for label in present[0]}
    if isinstance(present[0], list):
        length = max(len(value) for value in present)
        return [_combine([v[i] for v in present if i < len(v)], rule) for i in range(length)]
    return rule(np.asarray(present, float))


def _mean(sample: np.ndarray) -> float:
    return float(sample.mean())


def _half_width(sample: np.ndarray) -> float | None:
    if sample.size < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, sample.size - 1) * sample.std(ddof=1) / math.sqrt(sample.size))


def short_text(value: Any, most: int = 8) -> str:
    """A value in one short line: `0.1235`, `[1, 2, … 100 values]`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{label} {short_text(item, most)}" for label, item in value.items())
    if isinstance(value, list):
        shown = ", ".join(short_text(item, most) for item in value[:most])
        return f"[{shown}, … {len(value)} values]" if len(value) > most else f"[{shown}]"
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
