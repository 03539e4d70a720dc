"""Names of checkpoints: a folder, that of a run, one of the package, or one of the Hugging Face Hub.

The last is `hf://owner/name[@revision]`.

Files of the hub go through huggingface_hub's cache: what is there is not fetched again, and serves where there is no
network.
"""

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from traceback import walk_tb
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from morphmlp.checkpoints.starts import is_start, start_folder
from morphmlp.data.media.remote_store import shown_address
from morphmlp.errors import CheckpointError, UserError, causes
from morphmlp.files import DISK_FULL, read_text
from morphmlp.formatting import one_line

CONFIG_FILE = "config.json"
# The files of a model, by the format in its `config.json`; None is a checkpoint's, the others are those of exports.
MODEL_FILES: dict[str | None, tuple[str, ...]] = {
    None: ("model.safetensors",),
    "onnx": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
    "torch": ("model.pt2",),
}
_CONFIG_PARTS = {"version", "model", "input", "labels", "training"}  # which every `config.json` of ours has
_NAME = re.compile(r"hf:/+([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(.+))?")  # `Path` leaves one slash of two


class Repository(NamedTuple):
    """A repository of the hub, and which branch, tag or commit of it; None is the main branch."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return f"hf://{self.name}{f'@{self.revision}' if self.revision else ''}"


def local_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint: of one on the hub, its files in the local cache, fetched at first use.

    The name of a start of the package, as "rendered", is that start; a checkpoint of that name in the working folder
    comes first. Of the folder of a run it is the checkpoint that the run is for, `best` or `last`.

    Within a process, a branch stays at the commit that it had first. Fetched are `config.json` and the files of the
    model that it names, nothing else of the repository.

    >>> local_checkpoint("runs/mine/best")
    PosixPath('runs/mine/best')

    Raises:
        CheckpointError: there is no such repository or revision, it holds no checkpoint, or it cannot be fetched; the
            files of the start are damaged; or the run has no checkpoint yet.
    """
    if is_hub_name(name):
        return _fetched(hub_repository(name))
    if is_start(name):
        return start_folder(name)
    if "://" in os.fspath(name) and not os.path.exists(name):
        raise CheckpointError(
            f"{shown_address(os.fspath(name))} is an address; a checkpoint is a folder, or hf://owner/name of the hub: "
            "download it and give its path"
        )
    return _of_run(Path(name))


def _of_run(folder: Path) -> Path:
    """The checkpoint that a run is for, where the folder is one of a run; else the folder.

    Raises:
        CheckpointError: the run has none yet, or the folder is no run but holds checkpoints.
    """
    if any((folder / file).exists() for files in MODEL_FILES.values() for file in files):
        return folder
    found = [name for name in ("best", "last") if (folder / name / CONFIG_FILE).is_file()]
    there = f"give {' or '.join(str(folder / name) for name in found)}"
    settings = (run_values(folder) or {}).get("train")
    if not isinstance(settings, dict):
        if found:
            raise CheckpointError(f"{folder} is no checkpoint, but holds {' and '.join(found)}: {there}")
        return folder
    report = settings.get("report", "best")
    if report not in found:
        next_step = there if found else "it is written after the first epoch"
        raise CheckpointError(f"{folder} is a run that has no checkpoint {report!r} yet; {next_step}")
    return folder / report


def run_values(folder: Path) -> dict[str, Any] | None:
    """What the `config.json` of a run holds; None where there is none, or it is that of another folder."""
    try:
        values = json.loads(read_text(folder / CONFIG_FILE))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and {"data", "model", "train"} <= values.keys() else None


def is_hub_name(name: str | Path) -> bool:
    """Whether a checkpoint is named as one of the hub.

    >>> is_hub_name("hf://owner/name"), is_hub_name(Path("hf://owner/name")), is_hub_name("runs/hf")
    (True, True, False)
    """
    return _slashes(name).startswith("hf:/")


def hub_repository(name: str | Path) -> Repository:
    """The repository that a name names.

    >>> hub_repository("hf://owner/name@v2")
    Repository(name='owner/name', revision='v2')

    Raises:
        CheckpointError: it is no name of a repository.
    """
    match = _NAME.fullmatch(_slashes(name))
    if match is None:
        raise CheckpointError(f"{one_line(name)} names no repository; expected hf://owner/name or hf://owner/name@v1")
    return Repository(match[1], match[2])


def pinned(checkpoint: str | Path) -> str:
    """A checkpoint's name for a record: an absolute path, the name of a start, or the repository with its commit."""
    if is_start(checkpoint):
        return os.fspath(checkpoint)
    if not is_hub_name(checkpoint):
        return os.path.abspath(local_checkpoint(checkpoint))
    return str(hub_repository(checkpoint)._replace(revision=local_checkpoint(checkpoint).name))


def folder_name(checkpoint: str | Path) -> str:
    """The path of a checkpoint, for names of outputs beside it; else a name in the working folder.

    >>> folder_name("hf://owner/name@v2")
    'owner-name'
    """
    if is_hub_name(checkpoint):
        return hub_repository(checkpoint).name.replace("/", "-")
    if is_start(checkpoint):
        return os.fspath(checkpoint)
    return os.path.realpath(checkpoint)


def _slashes(name: str | Path) -> str:
    return os.fspath(name).replace("\\", "/") if isinstance(name, Path) else name


@cache
def _fetched(repository: Repository) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(revision: str | None, files: tuple[str, ...]) -> Path:
        folder = snapshot_download(
            repository.name,
            revision=revision,
            allow_patterns=list(files),
            library_name="morphmlp",
            library_version=version("morphmlp"),
        )
        return Path(folder)

    with hub_errors(repository, fetching=True):
        folder = fetch(repository.revision, (CONFIG_FILE,))
        files = _model_files(folder / CONFIG_FILE, repository)
        # Of the same commit, whose name the folder has: a push in between must not mix two models.
        fetch(folder.name, files)
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise CheckpointError(f"{repository} is not complete: it has no {missing[0]}; ask its owner to push it again")
    return folder


def _model_files(config: Path, repository: Repository) -> tuple[str, ...]:
    """The files of the model that a `config.json` belongs to.

    Raises:
        CheckpointError: the file is none of ours, or its model is kept as a pickle.
    """
    try:
        values = json.loads(read_text(config))
        is_ours = values.keys() >= _CONFIG_PARTS
        files = MODEL_FILES[values["export"]["format"] if is_ours and "export" in values else None]
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        is_ours, files = False, ()
    if not is_ours:
        raise CheckpointError(
            f"{repository} is no checkpoint of morphmlp (it has no {CONFIG_FILE} of ours); `morphmlp push` makes one"
        )
    if files == MODEL_FILES["torch"]:
        raise CheckpointError(
            f"{repository} is a model exported for torch, a pickle, which can run code of its author; use the "
            "checkpoint, or an export for onnx or openvino"
        )
    return files


@contextmanager
def hub_errors(repository: Repository, *, fetching: bool = False) -> Iterator[None]:
    """Turns what huggingface_hub raises into a CheckpointError of one line, and lets it write nothing of its own.

    Its messages hold request ids and addresses; a token is in none of ours. The cache is spoken of where the body is
    `fetching`.
    """
    try:
        with _quiet():
            yield
    except UserError:
        raise
    except Exception as error:
        reason = _reason(error, fetching=fetching)
        if reason is None:
            raise
        raise CheckpointError(f"{repository}: {reason}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without huggingface_hub's log and warnings, and without its progress bars where nobody looks at them."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.CRITICAL)
    hide_bars = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if hide_bars:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        if hide_bars:
            enable_progress_bars()


def _reason(error: BaseException, *, fetching: bool) -> str | None:
    """Why the hub did not do what was asked, and what helps; None where the error is none of its."""
    from huggingface_hub import errors

    chain = list(causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    if caused_by(errors.HFValidationError):
        return "is no name of a repository; expected owner/name of letters, digits, '-', '_' and '.'"
    if caused_by(errors.OfflineModeIsEnabled):
        if not fetching:
            return "HF_HUB_OFFLINE is set; unset it"
        return f"is not in the cache ({_cache_folder()}), and HF_HUB_OFFLINE is set; unset it to fetch it once"
    if caused_by(errors.GatedRepoError):
        return f"asks for consent first; give it on its page, and {_LOG_IN}"
    if caused_by(errors.RepositoryNotFoundError):
        return f"the hub has no such repository, or it is private; check the name, or {_LOG_IN}"
    if caused_by(errors.RevisionNotFoundError):
        return "the repository has no such revision; give a branch, a tag or a commit that it has"
    if status := next((status for cause in chain if (status := _status(cause))), None):
        return _refused(status, chain)
    if full := next((cause for cause in chain if isinstance(cause, OSError) and cause.errno in DISK_FULL), None):
        return f"cannot be kept in {_cache_folder()}: {full.strerror}; free some space, or set HF_HOME to another disk"
    if any(_is_of_network(cause) for cause in chain):
        missing = ", and the cache has no copy of it" if fetching else ""
        return f"the hub ({_host()}) cannot be reached{missing}; check the network"
    if caused_by(errors.LocalEntryNotFoundError):
        return f"is not in the cache ({_cache_folder()}), and cannot be fetched; check the network"
    if isinstance(error, ValueError | LookupError | TypeError | AttributeError) and _is_raised_by_library(error):
        return f"{_host()} does not answer as a hub does; is HF_ENDPOINT right, and no login page in between?"
    return None


_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def _status(error: BaseException) -> int | None:
    """The status of the HTTP answer that an error is about."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and status >= 400 else None


def _refused(status: int, chain: list[BaseException]) -> str:
    if status == 401:
        from huggingface_hub import get_token

        return f"the hub refuses the token; {_LOG_IN}" if get_token() else f"the hub asks for a token; {_LOG_IN}"
    if status == 403:
        return f"the token may not do this there; use one with the right to, or another owner ({_LOG_IN})"
    if status in (400, 409, 413, 422):
        return f"the hub refuses it: {_said(chain) or f'status {status}'}"
    return f"the hub ({_host()}) answers with status {status}; try again later"


def _said(chain: list[BaseException]) -> str:
    """What the hub itself says, in one line, without a token that it may repeat."""
    from huggingface_hub import get_token

    message = next((text for cause in chain if (text := getattr(cause, "server_message", None))), "")
    text = one_line(message)[:200]
    token = get_token()
    return text.replace(token, "***") if token else text


def _is_of_network(error: BaseException) -> bool:
    """Whether an error is one of the connection: of the standard library, or of what huggingface_hub fetches with."""
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or library in ("httpx", "httpx2", "httpcore", "requests")


def _is_raised_by_library(error: BaseException) -> bool:
    """Whether huggingface_hub, or what it reads JSON with, raised an error."""
    frames = [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(error.__traceback__)]
    return frames[-1] in ("huggingface_hub", "httpx", "json") and "huggingface_hub" in frames


def _host() -> str:
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or "of HF_ENDPOINT"


def _cache_folder() -> Any:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE
