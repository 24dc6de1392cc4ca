"""What stands in the JSON files of a run folder: one check where they are read, so that no reader of them stumbles.

A file whose digests match may still be of another shape: written by another program, or by a stranger. It is refused in
one line that names the file and the key. Keys that are not listed here may hold anything.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from diffgames.errors import InvalidInput
from diffgames.headline import numbers
from diffgames.run_files import read_json

Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _of_numbers(value: Any) -> Any:
    for name, number in numbers(value):
        if isinstance(number, bool) or not (number is None or isinstance(number, int | float)):
            raise ValueError(f"{name or 'it'} is no number")
    return value


Numbers = Annotated[Any, AfterValidator(_of_numbers)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)


class _HeadlineWords(_Shape):
    shape: str = "scalar"
    unit: str = ""
    meaning: str = ""
    published: str = ""
    normalisation: str | None = None
    timing: bool = False


class _ParameterWords(_Shape):
    unit: str = ""
    meaning: str = ""


class _Words(_Shape):
    source: str = ""
    shows: str = ""
    published: str = ""
    uncertified: str = ""
    figures: dict[str, str] = {}
    parameters: dict[str, _ParameterWords] = {}
    headline: dict[str, _HeadlineWords]


class _InputFile(_Shape):
    path: str
    sha256: str


class Config(_Shape):
    """config.json."""

    study: str
    preset: str
    seed: Seed
    parameters: dict[str, Any]
    words: _Words
    checksum: str
    target: str = ""
    source_sha256: str | None = None
    package_sha256: str = ""
    seeds: Annotated[int, Field(ge=1, lt=2**63)] = 1
    inputs: dict[str, _InputFile | None] = {}
    versions: dict[str, str] = {}
    device: str = ""
    started: str = ""


class _Failure(_Shape):
    reason: str
    remedy: str


class Result(_Shape):
    """result.json; `failure` stands beside the status "failed"."""

    study: str
    preset: str
    seed: Seed
    status: Literal["ok", "failed"]
    failure: _Failure | None = None
    seconds: Annotated[float, Field(ge=0.0)]
    headline: dict[str, Numbers]
    certificate: dict[str, Any] | None
    published: dict[str, Numbers]
    warnings: list[str]
    seeds: Annotated[int, Field(ge=1)] = 1
    interval95: dict[str, Numbers] = {}


class Manifest(_Shape):
    """manifest.json."""

    files: dict[str, str]
    checksum: str


def read_checked(path: Path, folder: Path, shape: type[BaseModel]) -> dict[str, Any]:
    """The content of a JSON file of the run in `folder`; `InvalidInput` names the file and the key of another shape."""
    content = read_json(path, folder)
    try:
        shape.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key, said = ".".join(map(str, first["loc"])) or "it", first["msg"]
        raise InvalidInput("file", str(path), f"an undamaged file of a run; its key {key}: {said}") from error
    if content.get("status") == "failed" and content.get("failure") is None:
        raise InvalidInput("file", str(path), "an undamaged file of a run; its key failure: a failed run says why")
    return content


def agree(config: Mapping[str, Any], result: Mapping[str, Any], path: Path) -> None:
    """`InvalidInput` where a result is not that of the configuration beside it."""
    for key in ("study", "preset", "seed"):
        if config[key] != result[key]:
            allowed = f"the result of the run in config.json; its key {key}: {result[key]!r}, there {config[key]!r}"
            raise InvalidInput("file", str(path), allowed)
