"""A run killed at any moment, and resumed, ends with the same numbers as one that was left alone, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toy_market import TINY_RUN

TOY = f"{Path(__file__).with_name('toy_study.py')}:STUDY"


def command(folder: Path, study: str, settings: list[str], *more: str) -> list[str]:
    run = [sys.executable, "-m", "diffgames", "run", study, "--seed", "7", "--out", str(folder)]
    return [*run, "--set", *settings, *more]


def run_to_the_end(words: list[str], cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def numbers_of(folder: Path) -> dict:
    """What must be reproduced: headline and certificate, timings aside."""
    result = json.loads((folder / "result.json").read_text())
    words = json.loads((folder / "config.json").read_text())["words"]["headline"]
    headline = {key: value for key, value in result["headline"].items() if not words[key]["timing"]}
    return {"headline": headline, "certificate": result["certificate"], "published": result["published"]}


def kill_at_random_moments(study: str, settings: list[str], tmp_path: Path, kills: int, longest: float) -> None:
    """Run once undisturbed, then with SIGKILL at `kills` random moments, and compare.

    A run that gets to its end between the kills is compared too; another is then killed, sooner.
    """
    run_to_the_end(command(tmp_path / "calm", study, settings), tmp_path)
    dice, folder = random.Random(20), tmp_path / "killed"
    words = command(folder, study, settings, "--resume")

    def compare() -> None:
        assert numbers_of(folder) == numbers_of(tmp_path / "calm")
        assert not list(folder.rglob("*.tmp")), "nothing half-written is left"

    delivered = 0
    while delivered < kills:
        process = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, text=True
        )
        time.sleep(dice.uniform(0.3, longest))
        killed = process.poll() is None
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
            delivered += 1
        complaint = process.communicate()[1]
        if not killed:
            assert process.returncode == 0, complaint
            compare()
            shutil.rmtree(folder)
            longest = max(longest / 2, 0.6)
    run_to_the_end(words, tmp_path)
    compare()


def test_a_killed_run_resumes_to_the_same_numbers(tmp_path):
    kill_at_random_moments(TOY, ["updates=60", "pause=0.06"], tmp_path, kills=5, longest=3.0)


def test_a_kill_while_a_file_is_written_leaves_the_old_one(tmp_path):
    """A writer in an endless loop is killed again and again: the file is always whole."""
    script = (
        "import sys; from pathlib import Path; from diffgames.atomic import write_atomically\n"
        "path = Path(sys.argv[1]); n = 0\n"
        "while True: n = (n + 1) % 10; write_atomically(path, str(n).encode() * 500_000)\n"
    )
    path, dice = tmp_path / "file", random.Random(3)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(dice.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = path.read_bytes()
        assert len(content) == 500_000 and len(set(content)) == 1


def test_two_processes_do_not_write_one_folder(tmp_path):
    folder = tmp_path / "shared"
    first = subprocess.Popen(
        command(folder, TOY, ["updates=100", "pause=0.1"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (folder / "checkpoints" / "training.ckpt").exists():
            assert first.poll() is None
            time.sleep(0.05)
        words = command(folder, TOY, ["updates=100", "pause=0.1"], "--resume")
        second = subprocess.run(words, capture_output=True, text=True)
        assert second.returncode == 2 and "no other process" in second.stderr
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("change", [["updates=61"], ["learning.rate=0.06"]])
def test_a_changed_parameter_is_refused_on_resume(tmp_path, change):
    run_to_the_end(command(tmp_path / "run", TOY, ["updates=3"]), tmp_path)
    (tmp_path / "run" / "result.json").unlink()
    done = subprocess.run(command(tmp_path / "run", TOY, change, "--resume"), capture_output=True, text=True)
    assert done.returncode == 2 and change[0].partition("=")[0] in done.stderr


CROWD = ['networks=["uniform"]', "epochs=3", "fine_epochs=2", "steps=6", "fine_steps=6", "paths=8", "knots=3"]
JUDGED = ["evaluation_paths=20", "deviator_updates=2", "deviator_paths=4", "certificate_paths=10", "alpha_updates=2"]
BANKS = ["banks=3", "banks_compared=[2]", "gap_banks=[2,4]", "paths=64", "steps=4", "population=100"]
FAMILIES = {
    "crowd-flocking": [*CROWD, *JUDGED],
    "reach-avoid": ["points=[9,9,9]", "starts=4", "simulation_steps=4"],
    "systemic-risk": [*BANKS, "deviator_updates=4", "deviator_paths=4"],
    "market-maker-survival": ["inventory_max=2", "steps=4", "paths=50", "rate_factors=[1.0]", "predator_factors=[1.0]"],
    "otc-market": [*TINY_RUN, "updates=12"],
}
"""One study of every family at small sizes: crowd, grid, linear-quadratic, market by equations, learned market."""


@pytest.mark.slow
@pytest.mark.parametrize("study", FAMILIES)
def test_a_study_of_every_family_resumes_to_the_same_numbers(study, tmp_path):
    """Killed while it compiles, learns, simulates, certifies and draws."""
    kill_at_random_moments(study, FAMILIES[study], tmp_path, kills=2, longest=10.0)
