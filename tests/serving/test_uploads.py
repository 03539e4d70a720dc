"""Bodies become files, however they are cut into parts on their way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.serving.limits import Limits, Refusal
from morphmlp.serving.uploads import received


class Body:
    """A request whose body comes in these parts."""

    def __init__(self, parts: list[bytes], kind: str = "video/mp4"):
        self.headers = {"content-type": kind}
        self._parts = parts

    async def stream(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            await asyncio.sleep(0)
            yield part


def files_of(body: Any, root: Path, **limits: Any) -> list[tuple[str, str, bytes]]:
    """The name, the ending on the disk and the content of each file."""

    async def run() -> list[tuple[str, str, bytes]]:
        async with received(body, root, limits=Limits(**limits), name="raw.MP4") as uploads:
            return [(upload.name, upload.path.suffix, upload.path.read_bytes()) for upload in uploads]

    return asyncio.run(run())


def parts_of(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return (body[start:end] for start, end in pairwise(places))


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_a_form_gives_the_same_files_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, contents: list, cuts: list
):
    body = b"".join(
        b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="%d.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
        % i
        + content
        + b"\r\n"
        for i, content in enumerate(contents)
    )
    if any(b"\r\n--x-y" in content for content in contents):
        return
    parts = list(parts_of(body + b"--x-y--\r\n", cuts))
    files = files_of(Body(parts, "multipart/form-data; boundary=x-y"), tmp_path_factory.mktemp("uploads"))
    assert files == [(f"{i}.mp4", ".mp4", content) for i, content in enumerate(contents)]


def test_a_body_is_the_file_and_only_known_endings_are_kept(tmp_path: Path):
    assert files_of(Body([b"ab", b"", b"c"]), tmp_path) == [("raw.MP4", ".mp4", b"abc")]
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="list.m3u8"\r\n\r\nabc\r\n--b--\r\n'
    assert files_of(Body([form], "multipart/form-data; boundary=b"), tmp_path) == [("list.m3u8", "", b"abc")]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_whatever_happens(tmp_path: Path):
    async def run() -> None:
        async with received(Body([b"abc"]), tmp_path, limits=Limits()) as (upload,):
            assert upload.path.parent.stat().st_mode & 0o077 == 0  # for nobody else
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(run())
    with pytest.raises(Refusal, match=r"larger than the 0\.001 MB"):
        files_of(Body([bytes(600), bytes(600)]), tmp_path, upload_mb=0.001)
    assert list(tmp_path.iterdir()) == []
