"""What a study is: one claim of a paper, reproduced.

A study is a frozen configuration, a function `run(config, context) -> StudyResult`, and the words a reader needs to
judge the numbers: unit and meaning of every parameter and of every headline value, each said once. A study of yours:

    @dataclass(frozen=True)
    class Config:
        paths: Annotated[int, Parameter("simulated paths", "paths", minimum=1)] = 1000

    @dataclass(frozen=True)
    class Means:
        mean: Annotated[float, Headline("sample mean")]

    def run(config, context):
        draws = jax.random.normal(context.key, (config.paths,))
        return StudyResult(Means(mean=float(draws.mean())), arrays={"draws": ...})

    STUDY = Study(name="my-study", ..., config=Config, run=run, headline=Means,
                  figures={"draws": Drawing("where the draws lie", "draws", lines("draw"))})

run with `diffgames run my_file.py:STUDY --set paths=5000`.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffgames.errors import RunFailed

if TYPE_CHECKING:
    from diffgames.studies.context import RunContext
    from diffgames.studies.drawing import Drawing


@dataclass(frozen=True)
class Parameter:
    """The words and bounds of one field of a configuration, attached by `Annotated[type, Parameter(meaning, unit)]`.

    `minimum` and `maximum` are enforced (for every number in a list); outside `plausible` a warning is drawn.
    """

    meaning: str = ""
    unit: str = ""
    shape: str = "scalar"
    minimum: int | float | None = None
    maximum: int | float | None = None
    plausible: tuple[int | float, int | float] | None = None


def with_defaults(**defaults: Any) -> Callable[[type], type]:
    """Decorate a configuration, below `@dataclass`: inherited fields start at other values, their words stay.

    `TypeError` names a field that no base declares.
    """

    def changed(config: type) -> type:
        inherited = {}
        for base in reversed(config.__mro__[1:]):
            inherited |= typing.get_type_hints(base, include_extras=True)
        for name, value in defaults.items():
            if name not in inherited:
                raise TypeError(f"{config.__name__}.{name}: no base declares that field")
            config.__annotations__[name] = inherited[name]
            setattr(config, name, value)
        return config

    return changed


@dataclass(frozen=True)
class Headline:
    """The words of one headline value: `Annotated[type, Headline(meaning, unit)]` on the field that holds it.

    `optional` values may be null (does not exist) in whole or in part; `timing` values depend on the machine and are
    left out where runs are compared bit for bit; `normalisation` says which value is meant, xᵀPx or ½xᵀPx;
    `published` is the table, figure or equation in which the source prints the number. The axes in `shape` are named
    as `report_tables` reads them: `regimes × inventory`, `methods (potential, simultaneous)`.
    """

    meaning: str = ""
    unit: str = ""
    shape: str = "scalar"
    optional: bool = False
    timing: bool = False
    normalisation: str | None = None
    published: str = ""


@dataclass(frozen=True)
class StudyResult:
    """What a study hands back; the run folder is written from it.

    `headline` is the study's dataclass of headline values, or a mapping; they are numbers, nested lists of numbers or
    one level of {label: number or list}. `certificate` is a
    `verification.certificate.Certificate`, another object with `to_dict()`, or a dictionary, `published` the paper's
    numbers under the same keys, `arrays` the labelled arrays behind the figures (xarray datasets), `profile` the
    strategies (a pytree of policies and arrays), `figures` those that are no function of the arrays alone (matplotlib
    figures, or functions that return one). `failure` marks a run that ended without its claim but still has something
    to show.
    """

    headline: Any
    certificate: Any = None
    published: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    arrays: Mapping[str, Any] = field(default_factory=dict)
    profile: Any = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    failure: RunFailed | None = None

    def __post_init__(self):
        if dataclasses.is_dataclass(self.headline):
            values = {one.name: getattr(self.headline, one.name) for one in dataclasses.fields(self.headline)}
            object.__setattr__(self, "headline", values)


def headline_words(headline: type) -> dict[str, Headline]:
    """The words on the fields of a dataclass of headline values; `TypeError` names a field without."""
    found = {}
    for name, hint in typing.get_type_hints(headline, include_extras=True).items():
        said = [item for item in typing.get_args(hint)[1:] if isinstance(item, Headline)]
        if not said:
            raise TypeError(
                f"{headline.__name__}.{name}: a headline value carries its words, Annotated[…, Headline(…)]"
            )
        found[name] = said[0]
    return found


@dataclass(frozen=True)
class Study:
    """One study; see the module's docstring.

    Optional members: `verify(config, profile, context) -> certificate` recomputes the certificate from the stored
    profile (`diffgames verify`); `run_seeds(config, context, seeds) -> list[StudyResult]` runs several seeds at once
    (`--seeds`), which otherwise run in turn. `presets` map a name to the fields it changes; `quick` always exists.
    `memory(config)` gives the bytes of the largest arrays that a run holds at once, at the least, under the parameters
    that set them, {"paths, steps": 8.0 * paths * steps}: what does not fit is refused before the run.
    `minutes` says what each preset takes on two CPU cores. `published` says which numbers the source prints, or that
    it prints none. `headline` is a frozen dataclass whose fields carry the words, or a mapping of words. `figures` are
    `Drawing`s of stored arrays (or captions of what the run draws itself), the one that shows the claim first. A study
    without `verify` says in `uncertified` why it has no certificate.
    """

    name: str
    source: str
    shows: str
    config: type
    run: Callable[[Any, "RunContext"], StudyResult]
    headline: Any
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"quick": {}})
    minutes: Mapping[str, int | float] = field(default_factory=dict)
    example: str = ""
    published: str = ""
    figures: Mapping[str, "str | Drawing"] = field(default_factory=dict)
    memory: Callable[[Any], Mapping[str, float]] | None = None
    uncertified: str = ""
    verify: Callable[[Any, Any, "RunContext"], Any] | None = None
    run_seeds: Callable[[Any, "RunContext", Sequence[int]], Sequence[StudyResult]] | None = None

    def __post_init__(self):
        if isinstance(self.headline, type):
            object.__setattr__(self, "headline", headline_words(self.headline))
