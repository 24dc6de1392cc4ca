"""The tables of a run, as files that any other program reads: `diffgames export RUN --format csv|parquet --out DIR`.

The tables are those of `markets.tape`, made from the run's arrays: `trades`, `quotes`, `books` and `accounts`. They are
written into a new folder, whole or not at all.
"""

import os
import shutil
from pathlib import Path

from diffgames.errors import InvalidInput
from diffgames.records import Run

FORMATS = ("csv", "parquet")


def export(run: Run, out: str | Path, form: str = "csv") -> list[Path]:
    """Write the run's tables into the new folder `out`; returns the files.

    Raises `InvalidInput` where the run is unfinished, damaged or keeps no trades, where `out` exists, and where `form`
    is unknown.
    """
    folder = Path(out)
    if form not in FORMATS:
        raise InvalidInput("--format", form, " or ".join(FORMATS))
    if folder.exists() or folder.is_symlink():
        raise InvalidInput("--out", str(folder), "a folder that does not exist yet")
    run.finished()
    if not (run.folder / "arrays" / "tape.nc").exists():
        raise InvalidInput("run", str(run.folder), "a run that keeps its trades (otc-market), of one seed")
    from diffgames.markets.tape import tables

    try:
        found = tables(run.arrays("tape"))
    except (KeyError, AttributeError, IndexError, ValueError, TypeError) as error:
        raise InvalidInput("run", str(run.folder), f"a run whose tape is whole ({error})") from error
    half = folder.with_name(f".export.{folder.name}.{os.getpid()}")
    half.mkdir(parents=True)
    try:
        for name, table in found.items():
            path = half / f"{name}.{form}"
            table.to_csv(path, index=False) if form == "csv" else table.to_parquet(path, engine="pyarrow", index=False)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return [folder / f"{name}.{form}" for name in found]
