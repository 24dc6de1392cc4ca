"""Every command, its exit code and its words, on a study in a file of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from diffgames import records
from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.input_files import check_inputs, input_files, other_inputs
from diffgames.storage import save_tree

TOY = f"{Path(__file__).with_name('toy_study.py')}:STUDY"


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    """Runs are written under the working directory: give each test its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the toy study."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["run", TOY, "--out", str(folder)]) == 0
    return folder


def read(folder, name="result.json"):
    return json.loads((Path(folder) / name).read_text())


def test_run_writes_the_whole_folder(finished):
    result, config = read(finished), read(finished, "config.json")
    assert list(result) == [
        "study",
        "preset",
        "seed",
        "status",
        "seconds",
        "headline",
        "certificate",
        "published",
        "warnings",
    ]
    assert (result["study"], result["preset"], result["seed"], result["status"]) == ("toy", "quick", 0, "ok")
    assert result["headline"]["updates"] == 40 and "never" not in result["headline"]
    assert len(result["certificate"]["gap"]) == 2 and result["published"] == {"distance": 0.0}
    assert config["parameters"]["learning.rate"] == 0.05 and {"jax", "diffgames", "python"} <= set(config["versions"])
    for name in ("arrays/positions.nc", "profile/profile.tree", "figures/positions.png", "report.html", "log.txt"):
        assert (finished / name).stat().st_size > 0, name
    report = (finished / "report.html").read_text()
    assert "data:image/png;base64," in report and "largest distance to the target" in report
    assert "http" not in report and 'src="figures' not in report, "the report carries everything itself"


def test_run_prints_headline_units_and_report(finished, capsys):
    assert main(["run", TOY, "--out", str(finished), "--resume"]) == 0  # a finished run is shown again, not repeated
    printed = capsys.readouterr().out
    assert "position.first" in printed and "metres" in printed and "(published 0)" in printed
    assert str(finished / "report.html") in printed


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["rnu"], ["'rnu'", "did you mean 'run'"]),
        ([], ["COMMAND"]),
        (["run"], ["STUDY"]),
        (["run", "no-such-study"], ["no-such-study", "FILE.py:NAME"]),
        (["run", "nowhere.py:STUDY"], ["nowhere.py", "exists"]),
        (["run", TOY.replace(":STUDY", ":STUDI")], ["STUDI", "did you mean 'STUDY'"]),
        (["run", TOY.replace(":STUDY", ":Config")], ["Config"]),
        (["run", TOY, "--preset", "qick"], ["qick", "did you mean 'quick'"]),
        (["run", TOY, "--set", "updtes=3"], ["updtes", "did you mean 'updates'"]),
        (["run", TOY, "--set", "learning.rat=3"], ["learning.rat", "did you mean 'learning.rate'"]),
        (["run", TOY, "--set", "updates"], ["updates", "key=value"]),
        (["run", TOY, "--set", "updates=0"], ["updates", "'0'", "at least 1"]),
        (["run", TOY, "--set", "updates=2.5"], ["updates", "2.5", "integer"]),
        (["run", TOY, "--set", "updates=true"], ["updates", "true", "integer"]),
        (["run", TOY, "--set", 'updates="3"'], ["updates", "integer"]),
        (["run", TOY, "--set", "learning.rate=NaN"], ["learning.rate", "NaN", "number"]),
        (["run", TOY, "--set", "mode=learnt"], ["mode", "learnt", "'learn'"]),
        (["run", TOY, "--set", "target=[1,oops]"], ["target", "list of (number)"]),
        (["run", TOY, "--set", "data=missing.csv"], ["data", "missing.csv"]),
        (["run", TOY, "--seed", "-1"], ["--seed", "-1"]),
        (["run", TOY, "--seed", "one"], ["--seed", "one"]),
        (["run", TOY, "--seeds", "0"], ["--seeds", "0"]),
        (["run", TOY, "--seeds", "1000000000000"], ["--seeds", "10000"]),
        (["run", TOY, "--fast"], ["--fast"]),
        (["compare", "nowhere"], ["nowhere", "config.json"]),
        (["verify", "nowhere"], ["nowhere"]),
        (["run", TOY, "--seed", str(2**63)], ["--seed", "2^63"]),
        (["run", TOY, "--set", "seed=0"], ["--seed"]),
        (["run", TOY, "--set", "updates=1000000000000000000"], ["updates", "100000000"]),
        (["run", TOY, "--set", f"updates={'[' * 3000}"], ["updates"]),
        (["run", "stackelberg", "--set", "A=[[1,2],[3]]"], ["A", "rows of one length"]),
        (["run", "market-maker", "--set", "inventory_max=2000000"], ["inventory_max", "1000"]),
        (["run", "otc-market", "--set", "gama=1"], ["did you mean 'provider_risk_aversion'"]),
        (["run", "otc-market", "--set", "lr=0.1"], ["did you mean 'learning_rate'"]),
        (["run", "market-maker", "--set", "horizon=2"], ["did you mean 'T'"]),
        (["run", "crowd-aversion", "--set", "targets=[]"], ["targets", "none empty"]),
        (["run", "typed-lq", "--set", "m0=[1.0,[-0.5,2.0]]"], ["m0", "2 numbers or vectors of 1"]),
        (["report", "nowhere"], ["nowhere"]),
        (["bench", "no-such-benchmark"], ["no-such-benchmark"]),
    ],
)
def test_a_slip_is_exit_2_in_one_line_and_leaves_nothing(words, named, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert all(name in captured.err for name in named), captured.err
    assert not any(Path("runs").glob("*")), "no run folder is left behind"


def test_errors_in_the_users_file_name_its_line(tmp_path, capsys):
    broken = tmp_path / "broken.py"
    for text, named in (("x = (\n", "SyntaxError"), ("x = 1\ny = x / 0\n", "line 2: ZeroDivisionError")):
        broken.write_text(text)
        assert main(["run", f"{broken}:STUDY"]) == 2
        error = capsys.readouterr().err
        assert named in error and "Traceback" not in error and len(error.splitlines()) == 1


def test_unusable_input_leaves_the_folder_free(tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["run", TOY, "--out", str(folder), "--set", "data=missing.csv"]) == 2
    assert not folder.exists()
    assert main(["run", TOY, "--out", str(folder), "--set", "updates=2"]) == 0
    assert main(["run", TOY, "--out", str(folder)]) == 2, "a folder that holds a run is not overwritten"
    assert "--resume" in capsys.readouterr().err


def test_settings_and_presets(tmp_path, capsys):
    words = ["--set", "updates=1e1", "learning.rate=0.5", "--set", "target=[2, 3, 4]"]
    assert main(["run", *words, TOY, "--out", "a", "--preset", "long"]) == 0, "the study may stand after --set"
    config = read("a", "config.json")
    assert config["preset"] == "long"
    assert config["parameters"] | {"updates": 10, "learning.rate": 0.5, "target": [2, 3, 4]} == config["parameters"]
    assert main(["run", TOY, "--out", "b", "--set", "updates=3", 'learning={"rate": 5.0}']) == 0
    assert read("b", "config.json")["parameters"]["learning.rate"] == 5.0
    assert "plausible" in read("b")["warnings"][0] and "plausible" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "reason", "remedy"),
    [
        ("fail", "the players do not settle", "smaller learning.rate"),
        ("nan", "headline distance is nan", "log.txt"),
        ("crash", "unexpected ZeroDivisionError at toy_study.py", "log.txt"),
    ],
)
def test_a_failed_run_is_exit_1_and_says_what_to_try(mode, reason, remedy, capsys):
    assert main(["run", TOY, "--out", "out", "--set", f"mode={mode}", "updates=2"]) == 1
    result = read("out")
    assert result["status"] == "failed"
    assert reason in result["failure"]["reason"] and remedy in result["failure"]["remedy"]
    error = capsys.readouterr().err
    assert reason in error and "Traceback" not in error
    assert ("Traceback" in Path("out/log.txt").read_text()) == (mode == "crash")
    assert reason in Path("out/report.html").read_text().replace("&#x27;", "'")


def test_same_seed_same_numbers_and_other_seed_others():
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(["run", TOY, "--seed", seed, "--out", name]) == 0
    assert read("a")["headline"] == read("b")["headline"] != read("c")["headline"]
    assert read("a")["certificate"] == read("b")["certificate"]


def test_several_seeds_give_mean_and_interval(capsys):
    assert main(["run", TOY, "--seed", "3", "--seeds", "3", "--out", "many"]) == 0
    each = [read(f"many/seed{seed}")["headline"]["distance"] for seed in (3, 4, 5)]
    result = read("many")
    assert result["seeds"] == 3 and result["headline"]["distance"] == pytest.approx(sum(each) / 3)
    deviation = (sum((x - sum(each) / 3) ** 2 for x in each) / 2) ** 0.5
    assert result["interval95"]["distance"] == pytest.approx(4.302652729749464 * deviation / 3**0.5)
    assert "never" not in result["headline"] and result["interval95"]["updates"] == 0.0
    assert "±" in capsys.readouterr().out
    assert main(["run", TOY, "--seed", "3", "--out", "alone"]) == 0
    assert read("alone")["headline"] == read("many/seed3")["headline"]
    assert main(["verify", "many", "--study", TOY]) == 0 and main(["report", "many"]) == 0


def test_compare_lists_headlines_side_by_side(finished, capsys):
    assert main(["run", TOY, "--seed", "1", "--out", "other"]) == 0
    capsys.readouterr()
    assert main(["compare", str(finished), "other"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["quantity", "finished", "other", "unit"]
    assert main(["compare", str(finished), "other", "--csv"]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["quantity", "unit", "finished", "other"]
    cells = {row[0]: row[1:] for row in rows[1:]}
    assert cells["distance"] == ["metres", *(repr(read(f)["headline"]["distance"]) for f in (finished, "other"))]
    assert cells["position.all[1]"][1] == repr(read(finished)["headline"]["position"]["all"][1])


def test_verify_reproduces_and_notices_a_changed_number(finished, tmp_path, capsys):
    assert main(["verify", str(finished), "--study", TOY]) == 0 and "bit for bit" in capsys.readouterr().out
    copy = shutil.copytree(finished, tmp_path / "copy")
    result = read(copy)
    result["certificate"]["gap"][0] += 0.5
    records.write_result(copy, result)
    assert main(["verify", str(copy), "--study", TOY]) == 1
    assert "gap[0]" in capsys.readouterr().out


def test_what_a_run_was_made_with_is_compared(finished, tmp_path, capsys):
    """Other versions and another source are said in one line; they do not refuse a certificate that is reproduced."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    config = records.read_config(copy)
    assert len(config["package_sha256"]) == len(config["source_sha256"]) == 64
    assert main(["verify", str(copy), "--study", TOY]) == 0 and "other software" not in capsys.readouterr().out
    versions = config["versions"] | {"jax": "0.1"}
    records.write_config(copy, config | {"package_sha256": "0" * 64, "versions": versions})
    records.write_result(copy, read(copy))
    assert main(["verify", str(copy), "--study", TOY]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert "jax was 0.1, is" in line and "the source of diffgames has changed" in line
    (copy / "result.json").unlink()
    assert main(["run", TOY, "--out", str(copy), "--resume"]) == 0
    assert "the source of diffgames has changed" in read(copy)["warnings"][0]


def test_a_profile_of_another_shape_is_named(finished, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "copy")
    save_tree(copy / "profile" / "profile.tree", {"y": [1.0]})
    records.write_result(copy, read(copy))
    assert main(["verify", str(copy), "--study", TOY]) == 2
    error = capsys.readouterr().err
    assert "profile.tree" in error and "KeyError at toy_study.py" in error and len(error.splitlines()) == 1


def test_a_strangers_folder_is_not_executed(finished, tmp_path, capsys):
    """A study in a file runs only where the user names that file, and only the one the run was made with."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    trap = copy / "study.py"
    trap.write_text("from pathlib import Path\nPath('sprung').touch()\n")
    config = records.read_config(copy)
    records.write_config(copy, config | {"target": f"{trap}:STUDY"})
    records.write_result(copy, read(copy))  # a stranger can compute every digest
    assert main(["verify", str(copy)]) == 2 and "--study FILE.py:NAME" in capsys.readouterr().err
    assert main(["report", str(copy)]) == 0 and main(["compare", str(copy)]) == 0
    other = tmp_path / "other.py"
    other.write_text(Path(TOY.rpartition(":")[0]).read_text() + "\n# edited\n")
    capsys.readouterr()
    assert main(["verify", str(copy), "--study", f"{other}:STUDY"]) == 2 and "digest" in capsys.readouterr().err
    assert main(["verify", str(copy), "--study", f"{trap}:STUDY"]) == 2
    assert not Path("sprung").exists()


@pytest.mark.parametrize("command", ["compare", "report", "verify"])
@pytest.mark.parametrize("name", ["result.json", "arrays/positions.nc", "figures/positions.png", "manifest.json"])
def test_a_damaged_file_is_refused_by_its_name(finished, tmp_path, capsys, command, name):
    copy = shutil.copytree(finished, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / name).write_bytes(content)
    assert main([command, str(copy)]) == 2
    error = capsys.readouterr().err
    assert name in error and len(error.splitlines()) == 1


def test_links_and_files_that_nobody_wrote_are_refused(finished, tmp_path, capsys):
    for number, plant in enumerate((
        lambda path: path.symlink_to("/etc/hostname"),
        lambda path: os.mkfifo(path),
        lambda path: path.write_bytes(b"more"),
    )):  # fmt: skip
        copy = shutil.copytree(finished, tmp_path / f"copy{number}")
        plant(copy / "figures" / "planted.png")
        assert main(["report", str(copy)]) == 2 and "planted.png" in capsys.readouterr().err
    outside = shutil.copytree(finished, tmp_path / "outside")
    linked = shutil.copytree(finished, tmp_path / "linked")
    (linked / "result.json").unlink()
    (linked / "result.json").symlink_to(outside / "result.json")
    assert main(["compare", str(linked)]) == 2 and "result.json" in capsys.readouterr().err


PLANTS = {
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_no_link_or_pipe_anywhere_in_a_run_folder_is_opened(finished, tmp_path, capsys, state):
    """Commands refuse it by its name, wherever it lies; a run folder that is itself a link is one like another."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    if state == "interrupted":
        for name in ("result.json", "manifest.json"):
            (copy / name).unlink()
    (tmp_path / "link").symlink_to(copy)
    names = ["config.json", "result.json", "log.txt", ".lock", "checkpoints/training.ckpt", "checkpoints/seconds.json",
             "checkpoints", "arrays", "profile/profile.tree", "figures/planted.png", "seed0"]  # fmt: skip
    for number, name in enumerate(names):
        plant, place = PLANTS[("link", "dangling", "pipe")[number % 3]], copy / name
        kept = tmp_path / "kept"
        existed = place.exists()
        if existed:
            place.rename(kept)
        plant(place)
        for words in (["run", TOY, "--out", str(tmp_path / "link"), "--resume"], ["report", str(copy)]):
            assert main(words) == 2, name
            error = capsys.readouterr().err
            assert name in error and "no link, pipe or device" in error and len(error.splitlines()) == 1
        place.unlink()
        if existed:
            kept.rename(place)
    assert Path("/etc/hostname").is_file() and main(["run", TOY, "--out", str(tmp_path / "link"), "--resume"]) == 0


@pytest.mark.parametrize(
    ("file", "change", "key"),
    [
        ("result.json", {"headline": [1, 2]}, "headline"),
        ("result.json", {"headline": {"distance": "small"}}, "headline.distance"),
        ("result.json", {"certificate": ...}, "certificate"),
        ("result.json", {"certificate": [1]}, "certificate"),
        ("result.json", {"published": ...}, "published"),
        ("result.json", {"warnings": "none"}, "warnings"),
        ("result.json", {"status": "failed"}, "failure"),
        ("result.json", {"status": "good"}, "status"),
        ("result.json", {"seconds": None}, "seconds"),
        ("result.json", {"seed": 7}, "seed"),
        ("config.json", {"words": ...}, "words"),
        ("config.json", {"words": {"headline": []}}, "words.headline"),
        ("config.json", {"words": {"headline": {}, "figures": [1]}}, "words.figures"),
        ("config.json", {"parameters": [1]}, "parameters"),
        ("config.json", {"seeds": "2"}, "seeds"),
        ("config.json", {"inputs": {"data": "x.csv"}}, "inputs.data"),
    ],
)
def test_json_of_another_shape_is_refused_by_file_and_key(finished, tmp_path, capsys, file, change, key):
    copy = shutil.copytree(finished, tmp_path / "copy")
    config, result = records.read_config(copy), read(copy)
    changed = {k: v for k, v in {**(config if file == "config.json" else result), **change}.items() if v is not ...}
    records.write_config(copy, changed if file == "config.json" else config)
    records.write_result(copy, changed if file == "result.json" else result)
    for command in (["compare", str(copy)], ["report", str(copy)], ["run", TOY, "--out", str(copy), "--resume"]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert file in error and f"its key {key}: " in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("result.json", "[1]", "list, not an object"),
        ("config.json", "3", "int, not an object"),
        ("manifest.json", '{"files": ["result.json"], "checksum": "0"}', "its key files"),
        ("result.json", '{"a": ' * 100 + "1" + "}" * 100, "nested"),
        ("result.json", '{"a": 1e999}', "finite"),
        ("result.json", '{"a": "\\ud800"}', "undamaged JSON"),
    ],
)
def test_json_that_nothing_can_be_made_of_is_refused(finished, tmp_path, capsys, name, text, said):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / name).write_text(text)
    assert main(["report", str(copy)]) == 2
    error = capsys.readouterr().err
    assert name in error and said in error and len(error.splitlines()) == 1


def test_data_replaced_under_a_run_are_named(tmp_path):
    data, config = tmp_path / "sizes", {"parameters": {"data": "sizes", "word": "quick", "several": []}}
    data.write_text("1,2\n")
    texts = {"data": "sizes", "word": "quick", "several": [str(data)]}
    inputs = input_files(texts)
    assert inputs["word"] is None, "a text that names no file"
    assert (
        inputs["data"] == inputs["several[0]"] == {"path": str(data.resolve()), "sha256": sha256(b"1,2\n").hexdigest()}
    )
    check_inputs({**config, "inputs": inputs}, texts)
    with pytest.raises(InvalidInput, match=r"^data: .*sizes.* names no file here"):
        check_inputs({**config, "inputs": {**inputs, "data": None}}, texts)
    with pytest.raises(InvalidInput, match=r"^several\[0\]: .*sizes.* its key inputs has none"):
        check_inputs({**config, "inputs": {name: inputs[name] for name in ("data", "word")}}, texts)
    data.write_text("20,40\n")
    with pytest.raises(InvalidInput, match=r"^data: .*sizes.* content has changed"):
        check_inputs({**config, "inputs": inputs}, texts)
    assert "sizes, whose content has changed" in other_inputs(inputs, input_files(texts))[0]
    data.unlink()
    with pytest.raises(InvalidInput, match="not there any more"):
        check_inputs({**config, "inputs": inputs}, texts)


def test_a_run_goes_on_with_the_file_it_was_started_with_wherever_it_is_called_from(tmp_path, monkeypatch, capsys):
    """The text `sizes` names another file in another folder: the one whose digest was compared is the one opened."""
    home, away = tmp_path / "home", tmp_path / "away"
    for folder, target in ((home, "2,3\n"), (away, "20,30\n")):
        folder.mkdir()
        (folder / "sizes").write_text(target)
    monkeypatch.chdir(home)
    assert main(["run", TOY, "--out", "out", "--set", "data=sizes", "updates=100"]) == 0
    stored, out = read("out"), str(home / "out")
    assert abs(stored["headline"]["position"]["first"] - 2.0) < 0.5
    monkeypatch.chdir(away)
    assert main(["verify", out, "--study", TOY]) == 0 and "bit for bit" in capsys.readouterr().out
    for name in ("result.json", "manifest.json", "checkpoints/stage.certificate.ckpt"):
        (home / "out" / name).unlink()
    capsys.readouterr()
    assert main(["run", TOY, "--out", out, "--resume", "--set", "data=sizes"]) == 2
    assert str(away) not in (error := capsys.readouterr().err) and "as in the run to be resumed" in error
    assert main(["run", TOY, "--out", out, "--resume", "--set", f"data={home / 'sizes'}"]) == 0
    assert read(out)["certificate"] == stored["certificate"] and read(out)["headline"] == stored["headline"]
    config = records.read_config(home / "out")
    records.write_config(home / "out", {key: value for key, value in config.items() if key != "inputs"})
    records.write_result(home / "out", stored)
    for words in (["run", TOY, "--out", out, "--resume"], ["verify", out, "--study", TOY]):
        capsys.readouterr()
        assert main(words) == 2 and "its key inputs has none" in capsys.readouterr().err


def test_a_strangers_words_do_not_steer_the_terminal(finished, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "copy")
    result = read(copy)
    result["headline"]["up\x1b[2A"] = 1.0
    records.write_result(copy, result | {"warnings": ["\x1b[8mhidden\u202e"]})
    for words in (
        ["compare", str(copy)],
        ["compare", "--csv", str(copy)],
        ["run", TOY, "--out", str(copy), "--resume"],
    ):
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert "up\ufffd[2A" in printed and "\x1b" not in printed and "\u202e" not in printed


def test_a_profile_is_loaded_from_a_finished_undamaged_run_only(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    assert set(records.load_profile(copy)) == {"x"}
    (copy / "profile" / "profile.tree").write_bytes(b"{}")
    with pytest.raises(InvalidInput, match=r"profile\.tree.* digest"):
        records.load_profile(copy)
    (copy / "result.json").unlink()
    with pytest.raises(InvalidInput, match="a finished run"):
        records.load_profile(copy)


def test_report_is_rebuilt(finished, capsys):
    (finished / "report.html").unlink()
    assert main(["report", str(finished)]) == 0
    assert (finished / "report.html").exists() and "report.html" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["config.json", "result.json", "profile/profile.tree", "checkpoints/training.ckpt"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damage_is_refused_in_one_line(finished, tmp_path, capsys, name, damage):
    copy = shutil.copytree(finished, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[-3] ^= 1
    (copy / name).write_bytes(content)
    if name.startswith("checkpoints"):
        (copy / "result.json").unlink()  # as if the run had been killed
    words = ["verify", str(copy)] if name.startswith("profile") else ["run", TOY, "--out", str(copy), "--resume"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert name in error and "Traceback" not in error and len(error.splitlines()) == 1


def test_list_for_people_and_programs(capsys):
    assert main(["list"]) == 0
    assert main(["list", "--json"]) == 0


def test_help_needs_no_jax():
    code = "import sys; from diffgames.cli import main; main(['--help']); assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "verify" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_is_130_and_resumable(kind):
    command = [sys.executable, "-m", "diffgames", "run", TOY, "--out", "out", "--set", "updates=30"]
    process = subprocess.Popen([*command, "pause=0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not Path("out/checkpoints/training.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(kind)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in error and "Traceback" not in error
    assert not Path("out/result.json").exists()
    assert main(["run", TOY, "--out", "out", "--resume"]) == 0
    assert read("out")["headline"]["updates"] == 30, "what the interrupted run was started with still holds"


def test_an_interruption_that_a_library_swallows_is_not_lost(tmp_path):
    from diffgames.interruption import interruptible
    from diffgames.progress import Progress

    class Swallows:
        def __del__(self):  # exceptions in here are printed and forgotten by Python
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with interruptible(), Progress(quiet=True) as progress:
        swallows = Swallows()
        del swallows
        with pytest.raises(KeyboardInterrupt):
            progress.update("learning", 0.5)
    assert signal.getsignal(signal.SIGINT) is before
