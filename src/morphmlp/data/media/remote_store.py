"""What is at an address: fsspec asks and fetches, and each of its many errors becomes one line."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from morphmlp.errors import MediaError, causes
from morphmlp.formatting import one_line

_CONNECT_S, _READ_S = 20, 120  # a host that says nothing for so long is given up
_STAMPS = ("ETag", "etag", "LastModified", "Last-Modified", "updated", "mtime", "Content-MD5", "Digest")
_LIBRARIES_OF_NETWORK = ("aiohttp", "botocore", "aiobotocore", "requests", "urllib3", "gcsfs")


class RemoteError(MediaError):
    """A file at an address cannot be had; `reason` says why."""


class Stamp(NamedTuple):
    """What changes when a file does: its size, None where the host does not say, and the tag or time that it states."""

    size: int | None
    tag: str


def shown_address(address: str) -> str:
    """An address as it is named in messages and results: without a password, and without a query or a signature in it.

    >>> shown_address("https://me:secret@host/a.mp4?token=123")
    'https://host/a.mp4'
    """
    return re.sub(r"^([A-Za-z][\w+.-]*://)[^/?#]*@", r"\1", address).partition("?")[0].partition("#")[0]


def stamp_of(address: str) -> Stamp:
    """Asks for the size and the tag of a file.

    Raises:
        RemoteError: there is none, it may not be read, or the host does not answer.
    """
    with _errors_named(address):
        system, path = _opened(address)
        system.invalidate_cache()
        info = system.info(path)
    size = info.get("size")
    return Stamp(
        size if isinstance(size, int) else None, str(next((info[name] for name in _STAMPS if info.get(name)), ""))
    )


def fetch(address: str, file: str, *, check: Callable[[int], None]) -> None:
    """Fetches a file.

    Args:
        check: is told now and then how many bytes have come, and may raise: a host need not say how long a file is.

    Raises:
        RemoteError: it cannot be fetched to its end.
        OSError: it cannot be written.
    """
    with _errors_named(address):
        from fsspec.callbacks import Callback

        system, path = _opened(address)
        system.get_file(path, file, callback=Callback(hooks={"check": lambda _, value: check(value)}))


def exists(address: str) -> bool:
    """Whether there is a file.

    Raises:
        RemoteError: the host does not answer, or refuses.
    """
    try:
        stamp_of(address)
    except RemoteError as error:
        if isinstance(error.__cause__, FileNotFoundError) and error.reason == _NOT_THERE:
            return False
        raise
    return True


def names_in(address: str) -> list[str]:
    """The names of the files right below a folder, in alphabetical order.

    Raises:
        RemoteError: it cannot be listed, as most servers of `https://` cannot.
    """
    with _errors_named(address):
        system, path = _opened(address)
        found = system.ls(path, detail=True)
    return sorted(str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == "file")


_NOT_THERE = "there is no such file; is the address right?"


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    from fsspec.core import url_to_fs

    return url_to_fs(address, **_patience(address.partition("://")[0].lower()))


def _patience(scheme: str) -> dict[str, Any]:
    """How long a host may be silent; by default fsspec gives up a download after five minutes, however it goes on."""
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)}}
    if scheme == "s3":
        return {
            "config_kwargs": {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S, "retries": {"max_attempts": 3}}
        }
    return {}


@contextmanager
def _errors_named(address: str) -> Iterator[None]:
    try:
        yield
    except RemoteError:
        raise
    except Exception as error:  # the libraries' own are of many kinds
        reason = _reason(error, address)
        if reason is None:
            raise
        raise RemoteError(shown_address(address), reason) from error


def _reason(error: Exception, address: str) -> str | None:
    """Why a file cannot be had; None where this machine's disk is the reason."""
    chain = list(causes(error))
    scheme = address.partition("://")[0]
    if any(isinstance(cause, ImportError) for cause in chain):
        return f"{scheme}:// needs a package that is not installed: pip install 'morphmlp[remote]'"
    status = next((found for cause in chain if (found := _status(cause))), None)
    if status in (401, 403) or any(isinstance(cause, PermissionError) and cause.errno is None for cause in chain):
        return (
            f"access is refused{f' ({status})' if status else ''}; are the credentials right, and is it yours to read?"
        )
    names = {type(cause).__name__ for cause in chain}
    if names & {"NoCredentialsError", "PartialCredentialsError", "RefreshError", "DefaultCredentialsError"}:
        return f"there are no credentials for {scheme}://; set those of the provider, such as AWS_ACCESS_KEY_ID"
    if status and status not in (404, 410):
        return f"the host answers with status {status}; try again later"
    if names & {"ClientPayloadError", "IncompleteRead", "ResponseStreamingError", "IncompleteReadError"}:
        return "the connection broke off before the end; try again"
    if any(isinstance(cause, TimeoutError) for cause in chain) or any("Timeout" in name for name in names):
        return "the host does not answer; is the address right, and the network up?"
    if any(type(cause).__module__.partition(".")[0] in _LIBRARIES_OF_NETWORK for cause in chain) and not status:
        return "the host cannot be reached; is the address right, and the network up?"
    if isinstance(error, FileNotFoundError) or status:
        return _NOT_THERE
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return None
    return f"cannot be fetched ({one_line(error)[:100] or type(error).__name__})"


def _status(error: BaseException) -> int | None:
    """The status of the HTTP answer that an error is about: of aiohttp, or of botocore."""
    status = getattr(error, "status", None)
    response = getattr(error, "response", None)
    if status is None and isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and status >= 400 else None
