"""Work over many files that can be stopped, goes on where it was, and is shared by the processes of torchrun.

The samples are cut into batches that depend on nothing but the samples, as rounding depends on what is computed
together. What is done lies in a folder beside the result: the settings that it depends on, and what each process has
computed. `features` keeps vectors there, `predict --out` and `segment` rows (see `journal`).
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from morphmlp.distributed import rank, world_size
from morphmlp.errors import DataError
from morphmlp.files import held, read_text, replace_json
from morphmlp.formatting import as_json

PARTS_FOLDER = "parts"
SETTINGS_FILE = "settings.json"


class WorkFolder:
    """The folder of what is done of one work.

    Args:
        settings: plain values that all of it depends on.
        result: the file or folder that the work is for, as messages name it.
        what: it holds, in the plural: "features".
        files: patterns of the names of what is done.
        again: the option that begins again.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], *, result: Path, what: str, files: str, again: str = "--fresh"
    ):
        self.folder, self.settings = folder, settings
        self.result, self.what, self.files, self.again = result, what, files, again
        self.digest = hashlib.sha256(as_json(settings).encode()).hexdigest()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder, keeps a second run out of it, and removes it at the end if it is empty.

        Raises:
            DataError: another process is at work in it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with held(self.folder / ".lock") as free:
                if not free:
                    raise DataError(f"another run is at work in {self.result}; choose another --out")
                yield
        finally:
            with suppress(OSError):  # it is not empty
                self.folder.rmdir()

    def begin(self) -> None:
        """Writes down the settings, or makes sure that they are those that an earlier run wrote down.

        Raises:
            DataError: they differ, or the folder holds parts of an unknown run.
        """
        path = self.folder / SETTINGS_FILE
        if path.exists():
            self.require_same(read_settings(path, again=self.again))
            return
        if foreign := next(self.folder.glob(self.files), None):
            raise DataError(f"{foreign} is of an unknown run; remove {self.folder}, or choose another --out")
        replace_json(path, self.settings)

    def require_same(self, then: dict[str, Any]) -> None:
        """Raises DataError that names the settings in which an earlier run differs."""
        now = json.loads(as_json(self.settings))  # as they are read back
        different = [name for name in now if then.get(name) != now[name]]
        if not different:
            return
        shown = [f"{name} {_short(then.get(name))} then, {_short(now[name])} now" for name in different]
        raise DataError(
            f"{self.result} holds {self.what} with other settings ({'; '.join(shown)}); give the same ones, another "
            f"--out, or {self.again} to begin again"
        )

    def clear(self) -> None:
        """Removes what is done, and the settings that it was computed with."""
        for path in [*self.folder.glob(self.files), self.folder / SETTINGS_FILE]:
            path.unlink(missing_ok=True)


def share_of(batches: Sequence[Collection[int]], *, done: Collection[int]) -> list[list[int]]:
    """What this process has to compute: of each batch the samples that are not done, of all such batches its share.

    >>> share_of([range(0, 2), range(2, 4), range(4, 6)], done={0, 1, 4})  # a single process
    [[2, 3], [5]]
    """
    todo = [[sample for sample in batch if sample not in done] for batch in batches]
    return [batch for batch in todo if batch][rank() :: world_size()]


def cut_in_batches(num_samples: int, size: int) -> list[range]:
    """Which samples are computed together.

    >>> cut_in_batches(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + size, num_samples)) for start in range(0, num_samples, size)]


def read_settings(path: Path, *, again: str = "--fresh") -> dict[str, Any]:
    """The settings that an earlier run wrote down.

    Raises:
        DataError: they cannot be read.
    """
    try:
        settings = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); {again} begins again, or choose another --out") from None
    if not isinstance(settings, dict):
        raise DataError(f"{path} is damaged (it holds no settings); {again} begins again, or choose another --out")
    return settings


def digest_of_model(checkpoint: Path) -> str:
    """Of the files that hold the weights, one after the other; of one, as `sha256sum` says it."""
    digest = hashlib.sha256()
    for path in sorted(checkpoint.glob("model.*")):
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is damaged ({reason}); remove it, and the same command does that part again")


def _short(value: Any) -> str:
    text = as_json(value)
    return text if len(text) <= 40 else f"{hashlib.sha256(text.encode()).hexdigest()[:12]} (digest)"
