"""The folder of a training run, and how far the run has come."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphmlp.config import RunConfig
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.files import replaced_file


@dataclass
class Progress:
    """How far a run has come; saved with its state.

    Attributes:
        step: optimizer steps done.
        evaluated_step: the step that was evaluated last.
        best_score, best_step: the best evaluation so far, and its step.
        clips, training_s: clips trained on, and the seconds that took, evaluations left out.
    """

    step: int = 0
    evaluated_step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    clips: int = 0
    training_s: float = 0.0


class RunFolder:
    """The files of a run: `config.json`, `log.jsonl`, `curves.png`, and the checkpoints `best` and `last`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.log = self.path / "log.jsonl"
        self.curves = self.path / "curves.png"
        self.best = self.path / "best"
        self.last = self.path / "last"
        self.state = self.last / "state.pt"
        self.lock = self.path / ".lock"

    def create(self, config: RunConfig, *, overwrite: bool) -> None:
        """Writes the configuration into a new folder, or over an earlier run.

        Raises:
            ConfigError: the folder holds a run and `overwrite` is off, or it holds something else.
        """
        self.check(overwrite=overwrite)
        for checkpoint in (self.best, self.last, *self._leftovers()):
            shutil.rmtree(checkpoint, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        self.curves.unlink(missing_ok=True)
        with replaced_file(self.config) as file:
            json.dump(config.to_dict(), file, indent=2)

    def discard_if_unsaved(self) -> None:
        """Takes away what `create` and the first steps wrote, if no state was saved: there is nothing to go on with."""
        if not self.last.exists():
            self.log.unlink(missing_ok=True)
            self.config.unlink(missing_ok=True)

    def check(self, *, overwrite: bool) -> None:
        """Raises ConfigError where `create` would, and changes nothing."""
        if self._holds_run():
            if not overwrite:
                raise ConfigError(
                    f"{self.path} holds a run already: --resume goes on with it, --overwrite starts anew, "
                    "or choose another --out"
                )
        elif self.path.exists() and (not self.path.is_dir() or set(self.path.iterdir()) - {self.lock}):
            raise ConfigError(f"{self.path} is not empty and holds no run; choose another --out")

    def _holds_run(self) -> bool:
        """Tells a run from another folder that has a `config.json`, such as a checkpoint."""
        try:
            return {"data", "model", "train"} <= set(json.loads(self.config.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return False

    def read_config(self) -> RunConfig:
        """The configuration that the run was started with."""
        if not self.config.is_file():
            raise CheckpointError(f"{self.path} holds no run to resume ({self.config.name} is missing)")
        try:
            return RunConfig.from_dict(json.loads(self.config.read_text(encoding="utf-8")))
        except ConfigError as error:
            raise CheckpointError(f"{self.config} does not fit: {error}") from None
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.config} is damaged ({error}); the run cannot be resumed") from None

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line to the log."""
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def clear_leftovers(self) -> None:
        """Removes what a save left that was killed; a state that had been moved aside comes back."""
        for old in self.path.glob(".last-*-old"):
            if not self.last.exists():
                old.rename(self.last)
        for leftover in self._leftovers():
            shutil.rmtree(leftover, ignore_errors=True)

    def _leftovers(self) -> list[Path]:
        return [*self.path.glob(".last-*"), *self.path.glob(".best-*")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training out of the folder, which is made if need be and removed again if it stays empty.

        Raises:
            ConfigError: another process holds the lock.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.lock, "w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ConfigError(f"another training is running in {self.path}; choose another --out") from None
                try:
                    yield
                finally:
                    self.lock.unlink(missing_ok=True)
        finally:
            with suppress(OSError):
                self.path.rmdir()

    def cut_log(self, progress: Progress) -> set[Path]:
        """Drops what was logged behind the saved state, as it will be done again; returns the videos left out."""
        if not self.log.exists():
            return set()
        kept, broken = [], set()
        for text in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
                step = line["step"]
            except (ValueError, KeyError, TypeError):
                break  # half-written when the run was killed
            if step <= (progress.evaluated_step if "val_broken" in line else progress.step):
                kept.append(text + "\n")
                if "broken" in line:
                    broken.add(Path(line["broken"]))
        with replaced_file(self.log) as file:
            file.writelines(kept)
        return broken
