"""A figure is a function of stored arrays: what it says comes from them, and a report draws it again."""

import base64
import dataclasses
import io
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread

from diffgames import records
from diffgames.errors import InvalidInput
from diffgames.execution import run_study
from diffgames.report import build_report
from diffgames.studies import Headline, Study, StudyResult
from diffgames.studies.drawing import Drawing, lines

DATA = xr.Dataset(
    {
        "value": (("regime", "time"), np.array([[1.0, 2.0], [3.0, 5.0]]), {"long_name": "value V", "units": "cost"}),
        "error": (("regime", "time"), np.full((2, 2), 0.5)),
    },
    coords={"regime": [0, 1], "time": ("time", [0.0, 1.0], {"units": "s"})},
)


def test_lines_take_names_units_and_labels_from_the_dataset():
    ax = lines("value", by="regime", half_width="error", title="Values")(DATA)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time [s]", "value V [cost]")
    assert [line.get_label() for line in ax.get_lines()] == ["regime 0", "regime 1"]
    assert ax.get_lines()[1].get_ydata().tolist() == [3.0, 5.0]
    low = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert (low.min(), low.max()) == (2.5, 5.5)


def test_several_variables_are_told_apart_by_name():
    ax = lines("value", "error")(DATA.isel(regime=0))
    assert [line.get_label() for line in ax.get_lines()] == ["value V", "error"]
    assert len({line.get_color() for line in ax.get_lines()}) == 2


@dataclass(frozen=True)
class Numbers:
    total: Annotated[float, Headline(unit="cost", meaning="sum of the values")]


@dataclass(frozen=True)
class Config:
    pass


STUDY = Study(
    name="drawn",
    source="a test",
    shows="a figure from arrays",
    config=Config,
    run=lambda config, context: StudyResult(Numbers(total=11.0), arrays={"values": DATA}),
    headline=Numbers,
    figures={
        "values": Drawing("the values grow", "values", lines("value", by="regime")),
        "absent": Drawing("no such data in this run", "others", lines("value")),
    },
    uncertified="a test",
)


def test_the_words_of_a_headline_stand_on_the_fields_of_its_dataclass():
    assert STUDY.headline["total"].unit == "cost"

    @dataclass(frozen=True)
    class Wordless:
        total: float

    with pytest.raises(TypeError, match=r"Wordless\.total"):
        dataclasses.replace(STUDY, headline=Wordless)


def test_a_report_draws_the_figures_again_from_the_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr("diffgames.execution.find_study", lambda target: STUDY)
    run = run_study("drawn", out=tmp_path / "run", quiet=True)
    assert run.headline == {"total": 11.0}
    stored = sorted(path.name for path in (run.folder / "figures").iterdir())
    assert stored == ["values.png"]
    assert "the values grow" in (run.folder / "report.html").read_text()
    better = dataclasses.replace(
        STUDY, figures={"values": Drawing("the values grow", "values", lines("value", by="regime"), width=9.0)}
    )
    monkeypatch.setattr("diffgames.report.study_names", lambda: ["drawn"])
    monkeypatch.setattr("diffgames.report.find_study", lambda target: better)
    picture = records.picture(better.figures["values"](run.arrays("values")))
    before = imread(run.folder / "figures" / "values.png")
    assert imread(io.BytesIO(picture)).shape[1] > before.shape[1]

    assert base64.b64encode(picture).decode() in build_report(run).read_text()
    records.open_run(run.folder)  # the stored figures are as they were: their digests still hold

    def break_it(target):
        raise InvalidInput("STUDY", target, "one that exists")

    monkeypatch.setattr("diffgames.report.study_names", list)
    monkeypatch.setattr("diffgames.report.find_study", break_it)
    assert base64.b64encode(picture).decode() not in build_report(run).read_text()
