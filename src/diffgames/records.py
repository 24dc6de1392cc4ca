"""Run folders: what a run leaves behind, written atomically, resumable, replayable from itself.

    config.json     every parameter, seed, preset, versions, device (guarded by a checksum)
    result.json     written last: its presence says that the run is over
    arrays/         labelled arrays (netCDF) behind every figure
    profile/        the strategies, loadable without pickle
    figures/*.png   report.html    log.txt    checkpoints/

Python users open one with `open_run(path)` and take a trained profile from it with `load_profile(path)`.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from diffgames.atomic import write_atomically
from diffgames.errors import InvalidInput
from diffgames.manifest import check_files, write_manifest
from diffgames.run_files import check_folder, listed, opened, read_json
from diffgames.run_schemas import Config, Result, agree, read_checked

try:
    import fcntl
except ImportError:  # not a POSIX system: runs are then not guarded against a second writer
    fcntl = None

CONFIG, RESULT, LOG, LOCK, REPORT = "config.json", "result.json", "log.txt", ".lock", "report.html"
PROFILE = Path("profile") / "profile.tree"


@dataclass(frozen=True)
class Run:
    """A run folder as it was read: `config` and `result` are the two JSON files (`result` is None while unfinished)."""

    folder: Path
    config: dict[str, Any]
    result: dict[str, Any] | None

    @property
    def study(self) -> str:
        """What `diffgames run` was asked to run."""
        return self.config["study"]

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter under its dotted name."""
        return self.config["parameters"]

    @property
    def headline(self) -> dict[str, Any]:
        """The headline values; raises `InvalidInput` while the run is unfinished."""
        return self.finished()["headline"]

    def finished(self) -> dict[str, Any]:
        """The result; raises `InvalidInput` while the run is unfinished."""
        if self.result is None:
            raise InvalidInput("run", str(self.folder), "a finished run (finish it with --resume)")
        return self.result

    def profile(self) -> Any:
        """The strategies of the run; `InvalidInput` when it has none or the file is damaged."""
        path = self.folder / PROFILE
        if not path.exists():
            raise InvalidInput("run", str(self.folder), "a run with a stored profile")
        from diffgames.storage import load_tree

        return load_tree(path, within=self.folder)

    def arrays(self, name: str) -> Any:
        """The labelled arrays stored as `name`, an xarray dataset in memory."""
        import xarray

        path = self.folder / "arrays" / f"{name}.nc"
        if not path.exists():
            known = [file.stem for file in listed(self.folder / "arrays", ".nc")]
            raise InvalidInput("arrays", name, f"one of {', '.join(known) or 'none'}")
        try:
            with opened(path, self.folder) as file:
                _check_claims(file)
                return xarray.load_dataset(file, engine="h5netcdf")
        except InvalidInput:
            raise
        except Exception as error:  # whatever the libraries say of a damaged file
            reason = (str(error).splitlines() or [""])[0]
            raise InvalidInput("file", str(path), f"an undamaged netCDF file ({reason})") from error


def _check_claims(file: BinaryIO) -> None:
    """Refuse a netCDF file that claims more than it holds, or what lies elsewhere, before memory is asked for."""
    import h5py

    with h5py.File(file, "r") as content:
        for name in content:
            if not isinstance(content.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name} lies in another file")
            item = content[name]
            said = item.attrs.get("NAME", b"")
            said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            bare = said.startswith("This is a netCDF dimension but not a netCDF variable")
            if not isinstance(item, h5py.Dataset) or bare:
                continue
            if item.external or item.is_virtual or item.nbytes > item.id.get_storage_size():
                raise ValueError(f"{name} claims more than the file holds")
    file.seek(0)


def open_run(folder: str | Path) -> Run:
    """Read a run folder; one clear line (`InvalidInput`) where it is none, or any of its files is damaged."""
    folder = Path(folder)
    if not os.path.lexists(folder / CONFIG):
        raise InvalidInput("run", str(folder), f"a run folder (one with {CONFIG})")
    check_folder(folder)
    config, result = read_config(folder), None
    if (folder / RESULT).exists():
        result = read_checked(folder / RESULT, folder, Result)
        check_files(folder, CONFIG, RESULT)
        agree(config, result, folder / RESULT)
    return Run(folder=folder, config=config, result=result)


def load_profile(folder: str | Path) -> Any:
    """The trained profile of a run, to evaluate it elsewhere: with other types, other data, in Python.

    `InvalidInput` names a run that is unfinished, and any damaged file of it.
    """
    run = open_run(folder)
    run.finished()
    return run.profile()


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run folder, its checksum verified."""
    config = read_checked(folder / CONFIG, folder, Config)
    body = {key: value for key, value in config.items() if key != "checksum"}
    if config["checksum"] != _checksum(body):
        raise InvalidInput("file", str(folder / CONFIG), "an undamaged configuration (its checksum does not match)")
    return body


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the configuration, guarded by a checksum."""
    _write_json(folder / CONFIG, {**config, "checksum": _checksum(config)})


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write the digests of all files, then the result; nothing of the run is written after it."""
    content = _json_bytes(result)
    write_manifest(folder, CONFIG, RESULT, content)
    write_atomically(folder / RESULT, content)


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, _json_bytes(content))


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def write_arrays(folder: Path, arrays: Mapping[str, Any]) -> None:
    """Write each xarray dataset to `arrays/NAME.nc`."""
    target = folder / "arrays"
    for name, dataset in arrays.items():
        target.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".arrays.") as scratch:
            path = Path(scratch) / "dataset.nc"
            dataset.drop_encoding().to_netcdf(path, engine="h5netcdf")  # neither compressed nor in chunks
            write_atomically(target / f"{name}.nc", path.read_bytes())


def write_profile(folder: Path, profile: Any) -> None:
    """Write the strategies so that the file alone rebuilds them (plain containers, arrays and described policies)."""
    if profile is not None:
        from diffgames.storage import load_tree, save_tree

        (folder / PROFILE).parent.mkdir(exist_ok=True)
        save_tree(folder / PROFILE, profile, alone=True)
        load_tree(folder / PROFILE)  # one that cannot be read back must not pass for stored


def write_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write each figure, or what a function returns as one, to `figures/NAME.png`."""
    for name, figure in figures.items():
        (folder / "figures").mkdir(exist_ok=True)
        write_atomically(folder / "figures" / f"{name}.png", picture(figure() if callable(figure) else figure))


def picture(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def log_line(folder: Path, text: str) -> None:
    """Append one line, with the time, to the run's log."""
    stamp = datetime.now().astimezone().isoformat(timespec="seconds")
    with opened(folder / LOG, folder, "ab") as file:
        file.write(f"{stamp}  {text}\n".encode(errors="replace"))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; a second writer is refused. The lock dies with its process, however it dies."""
    with opened(folder / LOCK, folder, "ab") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InvalidInput("--out", str(folder), "a folder that no other process is writing") from error
        yield


def is_fresh(folder: Path) -> bool:
    """Whether no run is in the folder: it is absent, empty, or was left before its configuration was written."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput("--out", str(folder), "a folder")
    return not folder.exists() or all(
        item.name in (LOCK, LOG) or item.name.endswith(".tmp") for item in folder.iterdir()
    )


def new_folder(root: Path, study: str, seed: int) -> Path:
    """A folder of its own, made now: `root/STUDY-seedN-TIME`."""
    stamp = datetime.now().strftime("%Y%m%dT%H%M%S")
    for attempt in range(1, 1000):
        folder = root / (f"{study}-seed{seed}-{stamp}" + (f"-{attempt}" if attempt > 1 else ""))
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise InvalidInput("--out", str(root), "a folder that new runs can be made in")


def newest_run(root: Path, study: str, seed: int) -> Path | None:
    """The newest folder in `root` of that study and seed, by the time the run was started; None when there is none."""
    found = []
    for path in root.glob(f"*/{CONFIG}"):
        try:
            config = read_config(path.parent)
        except InvalidInput:
            if path.parent.name.startswith(f"{study}-seed{seed}-"):
                raise
            continue
        if config["study"] == study and config["seed"] == seed:
            found.append((config.get("started", ""), path.parent.name, path.parent))
    return max(found)[2] if found else None


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed process had not finished writing."""
    for path in folder.rglob(".*"):
        if path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)
        elif path.name.startswith(".arrays."):
            shutil.rmtree(path, ignore_errors=True)


class Stopwatch:
    """Seconds a run has worked, over all the processes that worked on it; each saved checkpoint saves the time too."""

    def __init__(self, folder: Path):
        self._folder, self._path = folder, folder / "checkpoints" / "seconds.json"
        self._start, self._before = time.monotonic(), 0.0
        with contextlib.suppress(InvalidInput, TypeError, ValueError, KeyError):  # a timing is worth no refusal
            self._before = max(0.0, float(read_json(self._path, folder)["seconds"]))

    def seconds(self) -> float:
        """Seconds worked so far."""
        return self._before + time.monotonic() - self._start

    def save(self) -> None:
        """Remember the time for a process that resumes."""
        self._path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(OSError, InvalidInput), opened(self._path, self._folder, "wb") as file:
            file.write(json.dumps({"seconds": self.seconds(), "pid": os.getpid()}).encode())
