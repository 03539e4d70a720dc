"""The weights that come with the package, to start from: a name wherever a checkpoint folder is expected.

`morphmlp demo --start DIR` makes their folders; `docs/rendered_start.md` says how they came about, and what they give.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from morphmlp.errors import CheckpointError, ConfigError

FOLDER = Path(__file__).parent / "weights"  # of a folder for each


@dataclass(frozen=True)
class Start:
    """A checkpoint of the package.

    Attributes:
        model: the name of the model that the weights are of.
        digests: SHA-256 of each file.
    """

    model: str
    digests: Mapping[str, str]


STARTS: dict[str, Start] = {
    "rendered": Start(
        model="morphmlp_video_nano",
        digests={
            "config.json": "87cd4bab21c7338a2e2fd30d677c896674b8e210b996293b5a14412b3f5a334e",
            "model.safetensors": "438e5c128ac574eeae11a6c118ab24e81113babb2c4a55926b57d2d0d64fc4a4",
        },
    )
}


def is_start(name: str | Path) -> bool:
    """Whether a checkpoint is named as one of the package; what has that name in the working folder comes first.

    A folder there that holds no checkpoint, such as one of rendered videos, has nothing to do with it.
    """
    return os.fspath(name) in STARTS and not (os.path.isfile(name) or os.path.isfile(os.path.join(name, "config.json")))


def start_folder(name: str | Path) -> Path:
    """The folder of a start, whose files are what they were when it was made.

    Raises:
        CheckpointError: a file is missing, or another.
    """
    folder = FOLDER / name
    for file, digest in STARTS[os.fspath(name)].digests.items():
        try:
            found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(
                f"the start {str(name)!r} of the package cannot be read: {folder / file}: {error.strerror or error}; "
                "install morphmlp again"
            ) from None
        if found != digest:
            raise CheckpointError(
                f"the start {str(name)!r} of the package is damaged: the SHA-256 of {folder / file} is "
                f"{found[:12]}..., not {digest[:12]}...; install morphmlp again"
            )
    return folder


def start_of(model: str) -> str | None:
    """The start of a named model; None where the package has none.

    >>> start_of("morphmlp_video_s")
    """
    return next((name for name, start in STARTS.items() if start.model == model), None)


def require_start_of(model: str, pretrained: str | bool) -> str:
    """The start that is asked for by its name, or by True.

    Raises:
        ConfigError: the package has no such start of this model.
    """
    known = [name for name, start in STARTS.items() if start.model == model]
    if pretrained is True and known:
        return known[0]
    if pretrained not in known:
        all_starts = ", ".join(f"{name!r} of {start.model}" for name, start in STARTS.items()) or "none"
        raise ConfigError(
            f"pretrained is {pretrained!r}, and the package has no such weights of {model}; it has: {all_starts} "
            "(morphmlp.load takes other checkpoints)"
        )
    return str(pretrained)
