"""The errors that a user can cause, each with a name; the command line prints them as one line.

Every other error is a defect of ours and keeps its traceback.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path


class UserError(ValueError):
    """Something that the user gave cannot be used: the message names it, the allowed values and the next step."""

    def __str__(self) -> str:
        """The message, without secrets of addresses; see `plain_addresses`."""
        return plain_addresses(super().__str__())


class ConfigError(UserError):
    """A configuration field has a value that is not allowed, or is unknown."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, of another kind, or does not fit the model."""


class NotFiniteError(UserError):
    """A loss, a gradient or an output of a model is NaN or infinite."""


class DataError(UserError):
    """A folder or a list of videos or images cannot be used as a data set."""


class MediaError(UserError):
    """A file cannot be decoded as a video or an image; `path` is the file and `reason` says why.

    The message names what was read, which may be a part of the file.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self._read = Path(path), path
        self.reason = reason

    @property
    def name(self) -> str:
        """The file as text, which is an address where it was one."""
        return plain_addresses(str(self.path))

    def __reduce__(self) -> tuple:
        return type(self), (self._read, self.reason)


def plain_addresses(text: str) -> str:
    """A text whose addresses have both slashes, one of which `Path` takes, and neither a password nor a query.

    >>> plain_addresses("https:/me:secret@host/a.csv?token=1: is empty")
    'https://host/a.csv: is empty'
    """
    text = re.sub(r"\b(https?|s3|gs):/(?=[^/])", r"\1://", text)
    text = re.sub(r"\b(?!hf:)([a-z][a-z0-9+.-]*://)[^\s/?#]*@", r"\1", text)  # hf://owner has a revision after its @
    return re.sub(r"\b((?:https?|s3|gs)://[^\s?#]*)[?#]\S*?(?=[:;,.)'\"]*(?:\s|$))", r"\1", text)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or came after."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
