"""Every registered study: it loads, its presets validate, and it documents every parameter and headline key."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from diffgames.benchmarks import BENCHMARKS
from diffgames.cli import main
from diffgames.studies import STUDIES, Study, find_study
from diffgames.studies.parameters import build_config, parameter_values, parameters_of, study_json
from diffgames.verification.certificate import Certificate
from diffgames.verification.verify import Verification


@pytest.fixture(params=list(STUDIES))
def study(request) -> Study:
    return find_study(request.param)


def test_it_is_what_the_registry_says(study):
    assert STUDIES[study.name].startswith("diffgames.studies.")
    assert study.source and study.shows and study.example.startswith(f"diffgames run {study.name}")


def test_every_preset_validates_and_survives_the_round_trip(study):
    assert "quick" in study.presets and set(study.minutes) <= set(study.presets)
    for preset in study.presets:
        config, warnings = build_config(study, preset, {})
        assert not warnings, "a preset's own values draw no warning"
        stored = json.loads(json.dumps(parameter_values(config), allow_nan=False))
        again, _ = build_config(study, preset, stored)
        assert parameter_values(again) == stored


def test_every_preset_but_the_open_ended_says_its_minutes(study):
    assert set(study.minutes) == set(study.presets)


def test_every_parameter_is_documented(study):
    for name, words in parameters_of(study).items():
        assert words["meaning"] and words["shape"] and words["type"] and words["allowed"], name


def test_every_headline_value_is_documented(study):
    assert study.headline
    for key, words in study.headline.items():
        assert words.meaning and words.shape, key


def test_it_says_what_its_source_prints_and_what_to_see_in_its_figures(study):
    assert study.published and study.figures and all(study.figures.values())


def test_it_issues_a_certificate_or_says_why_there_is_none(study):
    """`verify` hands over what `run` does (its other tests see to that): entries with labels, or the words `unseen`."""
    if study.verify is None:
        assert study.uncertified
    else:
        assert not study.uncertified and get_type_hints(study.verify)["return"] in (Certificate, Verification)


def test_its_listing_is_json(study):
    listed = json.loads(json.dumps(study_json(study), allow_nan=False))
    assert set(listed["parameters"]) == set(parameters_of(study)) and set(listed["headline"]) == set(study.headline)


@pytest.fixture
def another_package(tmp_path, monkeypatch):
    """An installed package that registers two studies by entry point, one of them broken."""
    toy = Path(__file__).with_name("toy_study.py").read_text()
    (tmp_path / "another.py").write_text(toy.replace('name="toy"', 'name="another"'))
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    information = tmp_path / "another-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[diffgames.studies]\nanother = another:STUDY\nbroken = broken:STUDY\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("another_package")
def test_studies_of_other_packages_run_by_name(capsys):
    assert main(["list"]) == 0
    listed = capsys.readouterr()
    assert "\nanother\n" in f"\n{listed.out}" and "nothing_of_that_name" in listed.err
    assert main(["run", "another", "--set", "updates=2", "--out", "run"]) == 0
    assert main(["verify", "run"]) == 0 and "other software" not in capsys.readouterr().out
    another = next(Path(place) / "another.py" for place in sys.path if (Path(place) / "another.py").is_file())
    another.write_text(another.read_text() + "\n# edited\n")
    assert main(["verify", "run"]) == 0 and "the source of another has changed" in capsys.readouterr().out
    assert main(["run", "broken"]) == 2
    assert "nothing_of_that_name" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_benchmark_loads(name):
    from importlib import import_module

    assert callable(import_module(BENCHMARKS[name]).run)


def test_the_listing_matches_the_registry():
    done = subprocess.run([sys.executable, "-m", "diffgames", "list", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [study["name"] for study in json.loads(done.stdout)][: len(STUDIES)] == list(STUDIES)
