"""The catalogue says, from source alone, what the imported studies say."""

import subprocess
import sys

import pytest

from diffgames.studies import STUDIES, find_study
from diffgames.studies.catalogue import entry
from diffgames.studies.parameters import parameters_of


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_the_same_unimported(name):
    said, study = entry(name), find_study(name)
    assert said is not None, "its words are no literals: `diffgames list` would have to import it"
    assert (said.name, said.source, said.shows, said.example) == (study.name, study.source, study.shows, study.example)
    assert said.presets == tuple(study.presets)
    assert said.minutes == dict(study.minutes)
    assert said.parameters == tuple(parameters_of(study))


def test_a_list_imports_no_solver():
    code = (
        "import sys\nfrom diffgames.cli import main\n"
        "sys.argv = ['diffgames', 'list']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'jax', 'scipy', 'matplotlib', 'xarray', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line and not line.startswith(" ")] == list(STUDIES)
