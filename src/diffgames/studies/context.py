"""What a run lends to its study: the key of its seed, a folder, progress, a log, checkpoints.

Every hook keeps the promise that a killed run, resumed, ends with the same numbers: what a checkpoint or a finished
stage holds is read back exactly, and nothing in it depends on the time or the process.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from diffgames import interruption
from diffgames.progress import Progress
from diffgames.storage import load_tree, save_tree


@dataclass(frozen=True)
class CheckpointSlot:
    """One named checkpoint, the hook that `learning.train` takes: `load(like)` and `save(tree)`."""

    store: "CheckpointStore"
    name: str

    def load(self, like: Any) -> Any | None:
        """The saved tree, with the structure, shapes and types of `like`; None when there is none yet."""
        return self.store.load(self.name, like)

    def save(self, tree: Any) -> None:
        """Replace the saved tree, atomically."""
        self.store.save(self.name, tree)


@dataclass(frozen=True)
class CheckpointStore:
    """Named trees of arrays in a folder, written atomically and guarded by a digest.

    `saved` is called after every save (the run's stopwatch); `within` is the run folder (default: the folder itself).
    """

    folder: Path
    saved: Callable[[], None] = lambda: None
    within: Path | None = None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '.')}.ckpt"

    def load(self, name: str, like: Any = None) -> Any | None:
        """The tree saved as `name`, None when there is none; a damaged one raises `InvalidInput`.

        `like` gives the structure, shapes and types expected; without it the tree is rebuilt from plain containers.
        """
        path = self._path(name)
        return load_tree(path, like, within=self.within) if os.path.lexists(path) else None

    def save(self, name: str, tree: Any) -> None:
        """Write `tree` under `name`: whole or not at all, whenever the process is killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tree(self._path(name), tree)
        self.saved()
        interruption.check()

    def slot(self, name: str) -> CheckpointSlot:
        """The hook for one training run."""
        return CheckpointSlot(self, name)


@dataclass(frozen=True)
class RunContext:
    """Handed to a study's `run` and `verify`."""

    seed: int
    folder: Path
    progress: Progress
    checkpoint: CheckpointStore
    log: Callable[[str], None]

    @property
    def key(self) -> PRNGKeyArray:
        """The run's random key, from its seed alone."""
        return jax.random.key(self.seed)

    def of_seed(self, seed: int) -> "RunContext":
        """The context of one of several seeds that are run together: its own key, its own checkpoints."""
        folder = self.checkpoint.folder / f"seed{seed}"
        return replace(self, seed=seed, checkpoint=replace(self.checkpoint, folder=folder))

    def stage(self, name: str, compute: Callable[[], Any], like: Any = None) -> Any:
        """The result of `compute()`, kept on disk so that a resumed run does not repeat a finished stage.

        Without `like` the result must be made of dictionaries, lists, tuples, arrays, numbers and strings.
        """
        done = self.checkpoint.load(f"stage.{name}", like)
        if done is None:
            done = compute()
            self.checkpoint.save(f"stage.{name}", done)
        return done
