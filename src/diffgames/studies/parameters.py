"""From words on a command line to a study's configuration: every slip answered in one line that names the key.

Values are JSON where they parse, else text (`Text`); fields of a configuration inside a configuration are reached by
dots (`learning.clip=0.2`). Types are validated strictly by pydantic (no "3" for 3, no true for 1), numbers must be
finite and inside the bounds of their `Parameter`; outside its plausible range a warning is drawn.
"""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from diffgames.errors import InvalidInput, suggestion
from diffgames.studies.study import Parameter, Study


class Text(str):
    """A value as it was typed: JSON where it parses, else text."""

    __slots__ = ()


MOST = 10**8
"""The largest count that a parameter takes: more of anything is a slip, and would end the process where it is made."""

OPTIONS = ("seed", "seeds", "preset", "out", "resume")
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "psi": "ψ", "omega": "ω",
}  # fmt: skip


def parse_settings(words: list[str]) -> dict[str, Text]:
    """The `--set key=value` words as settings; the last one wins when a key is given twice."""
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise InvalidInput("--set", word, "key=value")
        settings[key.strip()] = Text(value)
    return settings


@dataclasses.dataclass(frozen=True)
class FieldWords:
    """One field of a configuration with the words that its annotation carries."""

    name: str
    type: Any
    default: Any
    parameter: Parameter

    @property
    def allowed(self) -> str:
        """What the field accepts, in words."""
        words, low, high = type_words(self.type), self.parameter.minimum, self.parameter.maximum
        if low is not None and high is not None:
            return f"{words} from {low:g} to {high:g}"
        if low is not None:
            return f"{words}, at least {low:g}"
        return f"{words}, at most {high:g}" if high is not None else words


def fields_of(config: type) -> Iterator[FieldWords]:
    """The fields of a configuration, those of a configuration inside it under dotted names."""
    hints = typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        hint, parameter = hints[field.name], Parameter()
        if get_origin(hint) is Annotated:
            parameter = next((item for item in get_args(hint)[1:] if isinstance(item, Parameter)), parameter)
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if dataclasses.is_dataclass(bare):
            for inner in fields_of(bare):  # pyright: ignore[reportArgumentType] - a dataclass is a type here
                value = default if default is dataclasses.MISSING else value_of(default, inner.name)
                yield dataclasses.replace(inner, name=f"{field.name}.{inner.name}", default=value)
        else:
            yield FieldWords(name=field.name, type=hint, default=default, parameter=parameter)


def value_of(config: Any, dotted: str) -> Any:
    """The value of the field with that dotted name."""
    for name in dotted.split("."):
        config = getattr(config, name)
    return config


def type_words(hint: Any) -> str:
    """A type in the words of a user: `list of number`, `integer or null`, `'buy' or 'sell'`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(item) for item in arguments)
    if origin is Literal:
        return " or ".join(repr(item) for item in arguments)
    if origin in (list, tuple) and arguments:
        if origin is tuple and Ellipsis not in arguments:
            return "list [" + ", ".join(type_words(item) for item in arguments) + "]"
        return f"list of ({type_words(arguments[0])})"
    if origin is dict:
        return f"object of ({type_words(arguments[1])}) by name"
    plain = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): "null"}
    return plain.get(hint, getattr(hint, "__name__", str(hint)))


def parameters_of(study: Study) -> dict[str, dict[str, Any]]:
    """Every parameter of a study for people and programs: type, shape, default, unit, meaning."""
    return {
        field.name: {
            "type": type_words(field.type),
            "shape": field.parameter.shape,
            "default": None if field.default is dataclasses.MISSING else to_jsonable_python(field.default),
            "unit": field.parameter.unit,
            "meaning": field.parameter.meaning,
            "allowed": field.allowed,
        }
        for field in fields_of(study.config)
    }


def study_json(study: Study) -> dict[str, Any]:
    """A study in words and names, as `diffgames list --json` prints it."""
    return {
        "name": study.name,
        "source": study.source,
        "shows": study.shows,
        "presets": {name: to_jsonable_python(dict(changes)) for name, changes in study.presets.items()},
        "minutes": dict(study.minutes),
        "parameters": parameters_of(study),
        "headline": {key: dataclasses.asdict(words) for key, words in study.headline.items()},
        "verifiable": study.verify is not None,
        "example": study.example,
    }


def parameter_values(config: Any) -> dict[str, Any]:
    """The values of a configuration as JSON, under the dotted names of its fields."""
    return {field.name: to_jsonable_python(value_of(config, field.name)) for field in fields_of(type(config))}


def text_values(config: Any) -> dict[str, Any]:
    """Those of `parameter_values` that may hold text of the user's own, and so the name of a file."""
    free = {field.name for field in fields_of(type(config)) if _takes_text(field.type)}
    return {name: value for name, value in parameter_values(config).items() if name in free}


def _takes_text(hint: Any) -> bool:
    return hint in (str, Any) or (get_origin(hint) is not Literal and any(map(_takes_text, get_args(hint))))


def build_config(study: Study, preset: str, settings: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The configuration of `preset` with `settings` on top, and the warnings that its values draw."""
    if preset not in study.presets:
        raise InvalidInput("--preset", preset, suggestion(preset, list(study.presets)))
    known = {field.name: field for field in fields_of(study.config)}
    merged: dict[str, Any] = {}
    for source in (study.presets[preset], settings):
        merged.update(_gathered(_flatten(source, known), known, merged))
    for key, value in merged.items():
        if key in OPTIONS:
            raise InvalidInput(key, value, f"no parameter: it is the option --{key}")
        if key not in known:
            raise InvalidInput(key, value, f"no parameter of that name; {suggestion(_meant(key, known), known)}")
    values = {key: validated(known[key], value) for key, value in merged.items()}
    warnings = [text for key, value in values.items() for text in _implausible(known[key], value)]
    try:
        return _construct(study.config, values), warnings
    except InvalidInput:
        raise
    except (ValueError, TypeError) as error:
        raise InvalidInput("parameters", study.name, str(error).splitlines()[0] if str(error) else "") from error


def _meant(key: str, known: Mapping[str, FieldWords]) -> str:
    """The parameter that `key` means by its Greek letter, its initials or a word of its meaning, or `key` itself.

    A name that is only misspelt comes before words of a meaning.
    """
    letter = difflib.get_close_matches(key.lower(), GREEK, n=1, cutoff=0.75)
    if letter:
        found = [name for name, field in known.items() if GREEK[letter[0]] in field.parameter.meaning]
        if found:
            return found[0]
    if difflib.get_close_matches(key, known, n=1, cutoff=0.6):
        return key
    for name in known:
        initials = "".join(word[0] for word in name.split("_") if word)
        if len(key) > 1 and key.lower() == initials.lower():
            return name
    word = re.compile(rf"\b{re.escape(key)}\b", re.IGNORECASE if len(key) > 1 else 0)
    return next((name for name, field in known.items() if word.search(field.parameter.meaning)), key)


def _flatten(source: Mapping[str, Any], known: Mapping[str, FieldWords]) -> dict[str, Any]:
    """Settings under dotted names: an object given for a whole inner configuration is spread over its fields."""
    flat: dict[str, Any] = {}
    for key, value in source.items():
        if isinstance(value, Text) and key not in known and any(name.startswith(f"{key}.") for name in known):
            value = _parsed(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping) and key not in known:
            flat.update(_flatten({f"{key}.{name}": item for name, item in value.items()}, known))
        else:
            flat[key] = value
    return flat


def _gathered(flat: Mapping[str, Any], known: Mapping[str, FieldWords], before: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of one entry of a dictionary, `provider.0`, put into the dictionary, `provider`."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        name, dot, entry = key.partition(".")
        hint = known[name].type if name in known else None
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if key in known or not dot or get_origin(bare) is not dict:
            found[key] = value
        else:
            given = found.get(name, before.get(name, {}))
            given = _parsed(given) if isinstance(given, Text) else given
            found[name] = {**(given if isinstance(given, Mapping) else {}), entry: str(value)}
    return found


def _construct(config: type, values: Mapping[str, Any], base: Any = None) -> Any:
    """Build a configuration, inner ones included, from dotted names; unnamed fields keep `base` or the defaults."""
    own: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        inner = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{field.name}.")}
        if field.name in values:
            own[field.name] = values[field.name]
        elif inner:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            start = getattr(base, field.name) if base is not None else default
            own[field.name] = _construct(type(start), inner, start)
    return config(**own) if base is None else dataclasses.replace(base, **own)


def _parsed(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)  # NaN and Infinity are not JSON

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):  # brackets nested without end are no value of any parameter
        return str(text)


def validated(field: FieldWords, value: Any) -> Any:
    """`value` as the field's type; text that parses as JSON may still be meant as text."""
    attempts = [value]
    if isinstance(value, Text):
        attempts = [_parsed(value), str(value)]
    attempts.append(_whole_numbers(attempts[0]))  # 1e3 is a fine integer
    adapter = TypeAdapter(field.type, config=ConfigDict(strict=True, allow_inf_nan=False))
    for attempt in attempts:
        try:
            result = adapter.validate_json(json.dumps(to_jsonable_python(attempt)))
        except (ValidationError, ValueError):
            continue
        low, high = field.parameter.minimum, field.parameter.maximum
        if not all((low is None or x >= low) and (high is None or x <= high) for x in _numbers(result)):
            continue
        if any(isinstance(x, int) and abs(x) > MOST for x in _numbers(result)):
            raise InvalidInput(field.name, result, f"{field.allowed}; no count above {MOST}, which no memory holds")
        if not _has_laws(field.type) and _is_ragged(result):
            raise InvalidInput(field.name, result, f"{field.allowed}; rows of one length")
        return result
    raise InvalidInput(field.name, str(value) if isinstance(value, Text) else value, field.allowed)


def _has_laws(hint: Any) -> bool:
    """Whether entries may be lists of stated lengths: a law's numbers, which need not be as many in every entry."""
    fixed = get_origin(hint) is tuple and Ellipsis not in get_args(hint)
    return fixed or any(map(_has_laws, get_args(hint)))


def _is_ragged(value: Any) -> bool:
    """Whether a list of lists has rows of several lengths."""
    if not isinstance(value, list | tuple):
        return False
    rows = [row for row in value if isinstance(row, list | tuple)]
    return (len(rows) == len(value) and len({len(row) for row in rows}) > 1) or any(map(_is_ragged, rows))


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [_whole_numbers(item) for item in value] if isinstance(value, list | tuple) else value


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _implausible(field: FieldWords, value: Any) -> Iterator[str]:
    if field.parameter.plausible is None:
        return
    low, high = field.parameter.plausible
    odd = [number for number in _numbers(value) if not low <= number <= high]
    if odd:
        unit = f" {field.parameter.unit}" if field.parameter.unit else ""
        yield f"{field.name} = {odd[0]:g}{unit} is outside its plausible range, {low:g} to {high:g}; is the unit right?"
