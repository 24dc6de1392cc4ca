"""The study `replay` from the command line: on a synthetic day, on files, and on files that are not in order."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.markets.synthetic_orders import synthetic_orders


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A synthetic day written as the two files of a LOBSTER day."""
    folder = tmp_path_factory.mktemp("day")
    messages, book = synthetic_orders(3_000, levels=6, seed=1)
    rows = zip(
        messages.time, messages.type, messages.order_id, messages.size, messages.price, messages.direction, strict=True
    )
    (folder / "messages.csv").write_text("".join(f"{t:.9f},{','.join(map(str, rest))}\n" for t, *rest in rows))
    columns = np.stack([book.ask_price, book.ask_size, book.bid_price, book.bid_size], axis=2).reshape(len(book), -1)
    (folder / "orderbook.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in columns.tolist()))
    return folder


def settings(folder):
    return ["--set", f"messages={folder}/messages.csv", "--set", f"orderbook={folder}/orderbook.csv"]


def test_files_are_replayed_and_the_certificate_recomputed(files, tmp_path):
    out = tmp_path / "run"
    assert main(["run", "replay", *settings(files), "--out", str(out)]) == 0
    result = json.loads((out / "result.json").read_text())
    headline = result["headline"]
    assert headline["match_best"] == headline["match_top5"] == 1.0 and headline["events"] == 3_000
    assert sum(headline["unexplained"].values()) == 0 and not result["warnings"]
    certificate = result["certificate"]
    assert certificate["checks"]["books_that_differ"] == 0 and certificate["checks"]["levels"] == 6
    assert certificate["gap"] is None and "nobody could deviate" in certificate["unseen"]
    assert (out / "figures" / "book.png").stat().st_size > 20_000
    assert main(["verify", str(out)]) == 0


def test_a_malformed_line_ends_with_exit_code_2_and_its_number(files, tmp_path, capsys):
    lines = (files / "messages.csv").read_text().splitlines()
    lines[41] = lines[41].rsplit(",", 1)[0]
    (tmp_path / "messages.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "orderbook.csv").write_text((files / "orderbook.csv").read_text())
    assert main(["run", "replay", *settings(tmp_path), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "messages.csv, line 42" in said and "6 columns" in said


def test_one_file_without_the_other_is_refused(files, tmp_path, capsys):
    assert main(["run", "replay", *settings(files)[:2], "--out", str(tmp_path / "run")]) == 2
    assert "orderbook" in capsys.readouterr().err
