"""The folder of a training run, and how far the run has come."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphmlp.checkpoints.hub import CONFIG_FILE, run_values
from morphmlp.checkpoints.info import load_config
from morphmlp.config import RunConfig
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.files import (
    clear_unfinished,
    held,
    new_folder,
    read_text,
    replace_json,
    replaced_file,
    require_file,
    sync_files,
)
from morphmlp.formatting import as_json


@dataclass
class Progress:
    """How far a run has come; saved with its state.

    Attributes:
        step: optimizer steps done.
        evaluated_step: the step that was evaluated last.
        best_score, best_step: the best evaluation so far, and its step.
        last_score: of the evaluation at `evaluated_step`; None before the first.
        clips, training_s: clips trained on, and the seconds that took, evaluations left out.
    """

    step: int = 0
    evaluated_step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    last_score: float | None = None
    clips: int = 0
    training_s: float = 0.0

    def __post_init__(self) -> None:
        counts = (self.step, self.evaluated_step, self.best_step, self.clips)
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError(f"counts are {counts}; allowed: integers of 0 or more")
        if not all(
            isinstance(value, int | float) for value in (self.best_score, self.last_score or 0, self.training_s)
        ):
            raise ValueError("best_score, last_score and training_s have to be numbers")


STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"


class RunFolder:
    """The files of a run.

    `config.json`, `environment.jsonl` (a line for each start), `log.jsonl`, `curves.png`, `comparisons.json`,
    and no more than four checkpoints: `best`, `last`, the one before it as `previous`, and `averaged` where averaged
    weights are kept aside.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.environment = self.path / "environment.jsonl"
        self.log = self.path / "log.jsonl"
        self.curves = self.path / "curves.png"
        self.comparisons = self.path / "comparisons.json"
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb"
        self.aim = self.path / ".aim"
        self.dvclive = self.path / "dvclive"
        self.swanlab = self.path / "swanlab"
        self.tracker_ids = self.path / "trackers.json"
        self.best = self.path / "best"
        self.averaged = self.path / "averaged"
        self.last = self.path / "last"
        self.previous = self.path / "previous"
        self.tuning = self.path / "tune.json"  # of `--tune`, before the run and beside it
        self.trials = self.path / "trials"
        self.lock = self.path / ".lock"

    @property
    def _of_trackers(self) -> tuple[Path, ...]:
        """The folders that trackers write into."""
        return self.tensorboard, self.wandb, self.aim, self.dvclive, self.swanlab

    @property
    def has_state(self) -> bool:
        """Whether a state is saved, whole or damaged."""
        return any((folder / STATE_FILE).is_file() for folder in (self.last, self.previous))

    def create(self, config: RunConfig, *, overwrite: bool) -> None:
        """Writes the configuration into a new folder, or over an earlier run.

        Raises:
            ConfigError: the folder holds a run and `overwrite` is off, or it holds something else.
        """
        self.check(overwrite=overwrite)
        self._clear_run()
        replace_json(self.config, config.to_dict())

    def clear(self) -> None:
        """Removes a run, and a sweep before it."""
        self._clear_run()
        for file in (self.config, self.tuning):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.trials, ignore_errors=True)

    def _clear_run(self) -> None:
        """Removes all of a run but its configuration."""
        checkpoints = (self.best, self.averaged, self.last, self.previous, *self._leftovers())
        for folder in (*checkpoints, *self._of_trackers):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.log, self.curves, self.comparisons, self.environment, self.tracker_ids):
            file.unlink(missing_ok=True)

    def discard_if_unsaved(self) -> None:
        """Removes what `create` and the first steps wrote, if no state was saved: the run cannot be resumed."""
        if not self.has_state:
            for file in (self.log, self.environment, self.config, self.tracker_ids):
                file.unlink(missing_ok=True)
            for folder in self._of_trackers:
                shutil.rmtree(folder, ignore_errors=True)

    def check(self, *, overwrite: bool) -> None:
        """Raises ConfigError where `create` would, and changes nothing."""
        if run_values(self.path) is not None:
            if not overwrite:
                raise ConfigError(
                    f"{self.path} holds a run already: --resume goes on with it, --overwrite starts anew, "
                    "or choose another --out"
                )
        elif self.path.exists() and (
            not self.path.is_dir() or set(self.path.iterdir()) - {self.lock, self.tuning, self.trials}
        ):
            raise ConfigError(f"{self.path} is not empty and holds no run; choose another --out")

    def read_config(self) -> RunConfig:
        """The configuration that the run was started with."""
        if not self.config.is_file():
            raise CheckpointError(f"{self.path} holds no run to resume ({self.config.name} is missing)")
        try:
            return RunConfig.from_dict(json.loads(read_text(self.config)))
        except ConfigError as error:
            raise CheckpointError(f"{self.config} does not fit: {error}") from None
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.config} is damaged ({error}); the run cannot be resumed") from None

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line to the log."""
        _append_line(self.log, line)

    def note_start(self, environment: dict[str, Any]) -> None:
        """Adds a line on what the run is started, or resumed, with."""
        _append_line(self.environment, environment)

    def first_start(self) -> str:
        """The line on the first start of the run; no other run has the same."""
        return self.environment.read_text(encoding="utf-8").splitlines()[0]

    def replace_last(self, write: Callable[[Path], None]) -> None:
        """Makes what `write` puts into a folder the last state; the one that was the last is kept as the one before.

        Killed at any moment, or on a full disk, a whole state is left as `last` or `previous`.
        """
        with new_folder(self.last) as folder:
            write(folder)
            _write_manifest(folder)
            sync_files(folder)
            if self.last.exists():
                shutil.rmtree(self.previous, ignore_errors=True)
                os.replace(self.last, self.previous)
            os.replace(folder, self.last)

    def drop_damaged_last(self) -> None:
        """Removes a last state that cannot be used: the next save must not put it in the place of a good one."""
        if self.last.exists() and self.state_damage(self.last) is not None:
            shutil.rmtree(self.last)

    def state_damage(self, folder: Path) -> str | None:
        """What is wrong with the saved state in `last` or `previous`: a file that is missing or not as it was written.

        None where all is well.
        """
        try:
            files = json.loads(read_text(folder / MANIFEST_FILE))
            for name, (size, digest) in files.items():
                path = folder / name
                require_file(path)
                if name == CONFIG_FILE:  # `calibrate` writes it anew
                    load_config(folder)
                    continue
                if path.stat().st_size != size:
                    return f"{name} has {path.stat().st_size:,} bytes instead of {size:,}"
                if _digest(path) != digest:
                    return f"the content of {name} has changed"
        except OSError as error:
            return f"{Path(error.filename or folder).name}: {error.strerror}"
        except CheckpointError:  # which is a ValueError
            return f"{CONFIG_FILE} is damaged"
        except (ValueError, TypeError, AttributeError):
            return f"{MANIFEST_FILE} is damaged"
        return None

    def clear_leftovers(self) -> None:
        """Removes what a killed save left, and puts a checkpoint back that it had moved aside."""
        for checkpoint in (self.best, self.averaged):
            clear_unfinished(checkpoint)
        for leftover in self._leftovers():
            shutil.rmtree(leftover, ignore_errors=True)

    def _leftovers(self) -> list[Path]:
        return [path for name in ("last", "best", "averaged") for path in self.path.glob(f".{name}-*")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training out of the folder. Makes a missing folder, and removes it if it stays empty.

        Raises:
            ConfigError: another process holds the lock.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; choose another --out")
        was_there = self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with held(self.lock) as free:
                if not free:
                    raise ConfigError(f"another training is running in {self.path}; choose another --out")
                yield
        finally:
            if not was_there:
                with suppress(OSError):
                    self.path.rmdir()

    def cut_log(self, progress: Progress) -> set[str]:
        """Drops what was logged after the saved state, as it will be done again; returns the samples left out."""
        if not self.log.exists():
            return set()
        kept, broken = [], set()
        for text in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
                step = line["step"]
            except (ValueError, KeyError, TypeError):
                break  # half-written when the run was killed
            evaluated = "val_broken" in line or "select_broken" in line
            if "final" not in line and step <= (progress.evaluated_step if evaluated else progress.step):
                kept.append(text + "\n")
                if "broken" in line:
                    broken.add(str(line["broken"]))
        with replaced_file(self.log) as file:
            file.writelines(kept)
        return broken


def _append_line(path: Path, line: dict[str, Any]) -> None:
    """A line of JSON."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(as_json(line) + "\n")


def _write_manifest(folder: Path) -> None:
    """Size and SHA-256 of every file of a folder."""
    files = {path.name: (path.stat().st_size, _digest(path)) for path in sorted(folder.iterdir())}
    (folder / MANIFEST_FILE).write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
