"""Where videos are kept: files, folders of frames and members of shards behave alike as names, keys and in order."""

import os
import pickle
from pathlib import Path

import pytest

from morphmlp.data.media.sources import FrameFolder, Source, TarMember, media_kind, sort_key
from morphmlp.errors import MediaError

FOLDER = FrameFolder(Path("a/clip"), 1, 17)
MEMBER = TarMember(Path("a/0.tar"), "deep/x.mp4", 512, 100)


@pytest.mark.parametrize(("source", "name"), [(FOLDER, "a/clip"), (MEMBER, "a/0.tar/deep/x.mp4")])
def test_a_source_is_named_by_its_path(source: Source, name: str):
    assert os.fspath(source) == str(source) == f"{source}" == name
    assert Path(source) == Path(name)
    assert MediaError(source, "is bad").path == Path(name)
    assert str(MediaError(source, "is bad")) == f"{name}: is bad"


@pytest.mark.parametrize("source", [Path("x.mp4"), FOLDER, MEMBER])
def test_a_source_can_be_a_key_and_travels_to_workers(source: Source):
    assert {pickle.loads(pickle.dumps(source)): 1}[source] == 1


def test_parts_of_a_folder_differ():
    assert len({FOLDER, FrameFolder(Path("a/clip"), 1, 17), FrameFolder(Path("a/clip"), 18, 17), Path("a/clip")}) == 3


def test_the_order_is_that_of_paths_and_does_not_depend_on_the_one_given():
    paths: list[Source] = [Path("a/b"), Path("a-b"), Path("a"), Path("B")]
    assert sorted(paths, key=sort_key) == sorted(paths)
    assert sorted(paths, key=sort_key) != sorted(paths, key=os.fspath)  # "-" comes before "/"
    mixed = [MEMBER, FrameFolder(Path("a/clip"), 18, 17), *paths, FOLDER]
    backwards = list(reversed(mixed))
    assert sorted(mixed, key=sort_key) == sorted(backwards, key=sort_key)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (FOLDER, None),
        (MEMBER, "video"),
        (TarMember(Path("0.tar"), "x.JPG", 0, 1), "image"),
        (Path("x.webm"), "video"),
        ("x.jpg.mkv", "video"),
    ],
)
def test_the_ending_tells_the_kind_of_any_source(source: str | Source, kind: str | None):
    assert media_kind(source) == kind


def test_a_member_is_read_where_it_lies(tmp_path: Path):
    shard = tmp_path / "0.tar"
    shard.write_bytes(b"head" + b"member" + b"tail")
    assert TarMember(shard, "x.mp4", 4, 6).read() == b"member"
    assert TarMember(shard, "x.mp4", 10, 4).read() == b"tail"


@pytest.mark.parametrize(
    ("offset", "size", "reason"),
    [
        (10, 5, r"0\.tar is cut off: 14 bytes, but the member ends at byte 15"),
        (4, 0, r"is empty \(0 bytes\)"),
    ],
)
def test_a_member_that_is_not_whole_is_one_named_error(tmp_path: Path, offset: int, size: int, reason: str):
    (tmp_path / "0.tar").write_bytes(bytes(14))
    member = TarMember(tmp_path / "0.tar", "x.mp4", offset, size)
    with pytest.raises(MediaError, match=reason) as caught:
        member.read()
    assert caught.value.path == tmp_path / "0.tar/x.mp4"


def test_a_member_of_a_missing_shard_is_one_named_error(tmp_path: Path):
    with pytest.raises(MediaError, match=r"x\.mp4: .*0\.tar cannot be opened \(No such file"):
        TarMember(tmp_path / "0.tar", "x.mp4", 0, 1).read()
