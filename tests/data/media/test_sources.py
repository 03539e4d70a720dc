"""Where videos are kept: files, folders of frames and members of shards behave alike as names, keys and in order."""

import os
import pickle
from pathlib import Path

import pytest

from morphmlp.data.media.sources import (
    FrameFolder,
    Source,
    Stretch,
    TarMember,
    is_file,
    media_kind,
    num_bytes,
    overlaps,
    part_of,
    sort_key,
    start_of,
    state_of,
    unique_name,
    why_not_listed,
)
from morphmlp.errors import MediaError, UserError

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


@pytest.mark.parametrize(
    ("source", "part", "start"),
    [
        (Path("x.mp4"), "", None),
        (FOLDER, "1 17", 1),
        (FrameFolder(Path("f"), None, 3), "None 3", None),
        (MEMBER, "", None),
    ],
)
def test_a_source_says_which_part_of_its_path_it_is(source: Source, part: str, start: int | None):
    assert (part_of(source), start_of(source)) == (part, start)


def test_a_path_is_its_own_name_and_parts_of_a_path_have_names_of_their_own():
    assert unique_name(Path("x.mp4")) == os.path.abspath("x.mp4")
    parts = [FOLDER, FrameFolder(Path("a/clip"), 18, 17), Path("a/clip")]
    assert len({unique_name(part) for part in parts}) == 3
    assert all(unique_name(part).startswith(os.path.abspath("a/clip")) for part in parts)


def test_size_and_state_are_those_of_the_file_that_a_source_is_in(tmp_path: Path):
    file, folder = tmp_path / "x.mp4", tmp_path / "frames"
    file.write_bytes(bytes(14))
    folder.mkdir()
    (folder / "1.jpg").write_bytes(bytes(3))
    member, gone = TarMember(file, "y.mp4", 4, 6), tmp_path / "gone.mp4"
    parts = FrameFolder(folder, None, 1)
    assert [num_bytes(source) for source in (file, member, folder, parts, gone)] == [14, 6, None, None, None]
    assert [is_file(source) for source in (file, member, folder, parts, gone)] == [True, False, False, False, True]
    assert state_of(file) == state_of(member) == (14, file.stat().st_mtime_ns)
    assert state_of(folder) == state_of(parts)
    with pytest.raises(OSError, match="No such file"):
        state_of(gone)


def test_a_list_can_name_all_but_members_and_parts_of_folders(tmp_path: Path):
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").touch()
    assert why_not_listed(tmp_path) is why_not_listed(FrameFolder(tmp_path, 1, 2)) is None
    assert why_not_listed(FrameFolder(tmp_path, 1, 1)) == f"{tmp_path} has more frames than its list takes"
    assert why_not_listed(MEMBER) == "a/0.tar is a tar shard, whose members have no path of their own"


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


FILE = Path("a/x.mp4")
ALSO_FILE = Path("a/../a/x.mp4")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Stretch(FILE, 0, 10), Stretch(FILE, 9.5, 20), True),
        (Stretch(FILE, 0, 10), Stretch(ALSO_FILE, 3, 4), True),
        (Stretch(FILE, 0, 10), Stretch(FILE, 10, 20), False),
        (Stretch(FILE, 0, 10), Stretch(Path("b/x.mp4"), 0, 10), False),
        (Stretch(FILE, 0, 10), FILE, True),
        (FILE, ALSO_FILE, True),
        (Stretch(FILE, 0, 10), Stretch(FILE, 900, 910, "frames"), True),
        (Stretch(FILE, 0, 10, "frames"), Stretch(FILE, 10, 20, "frames"), False),
        (FOLDER, FrameFolder(Path("a/clip"), 18, 17), False),
        (FOLDER, FrameFolder(Path("a/clip"), 17, 17), True),
        (FrameFolder(Path("a/clip"), None, 18), FrameFolder(Path("a/clip"), 18, 17), True),
        (MEMBER, Stretch(MEMBER, 0, 1), True),
    ],
)
def test_parts_of_one_path_overlap_where_they_meet(one: Source, other: Source, expected: bool):
    assert overlaps(one, other) is overlaps(other, one) is expected


def test_a_stretch_is_named_by_its_file_and_its_times(tmp_path: Path):
    file = tmp_path / "x.mp4"
    file.write_bytes(bytes(14))
    stretch, frames = Stretch(file, 12.5, 17), Stretch(file, 0, 100, "frames")
    assert os.fspath(stretch) == str(file)
    assert Path(stretch) == file
    assert str(stretch) == f"{file} (12.5 to 17 s)"
    assert (part_of(frames), start_of(frames)) == ("frames 0 to 99", 0)
    assert media_kind(stretch) == "video"
    assert num_bytes(stretch) is why_not_listed(stretch) is None
    assert not is_file(stretch)
    assert state_of(stretch) == state_of(file)
    assert len({unique_name(each) for each in (stretch, frames, file, Stretch(file, 12.5, 18))}) == 4
    assert pickle.loads(pickle.dumps(stretch)) == stretch


def test_stretches_of_a_file_are_in_the_order_of_their_times():
    right = [Stretch(FILE, 9, 10), Stretch(FILE, 9, 11), Stretch(FILE, 10, 11), Stretch(Path("b"), 1, 2)]
    assert sorted([FILE, *right[::-1]], key=sort_key) == [FILE, *right]


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ((5, 5), "the end has to come after the start"),
        ((6, 5), "the end has to come after the start"),
        ((-1, 5), "the first of all seconds is 0"),
        ((float("nan"), 5), "both have to be finite numbers"),
        ((0, float("inf")), "both have to be finite numbers"),
        ((0, 2.5, "frames"), "frames are counted in whole numbers"),
    ],
)
def test_an_impossible_stretch_is_refused_in_one_line(bounds, reason: str):
    with pytest.raises(UserError, match=f"^a/x.mp4: a stretch from {bounds[0]} to {bounds[1]} .*: {reason}$"):
        Stretch(FILE, *bounds)


def test_an_error_of_a_stretch_names_it_also_after_it_came_from_a_worker():
    error = MediaError(Stretch(FILE, 1, 2), "is bad")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a/x.mp4 (1 to 2 s): is bad"
    assert again.path == error.path == FILE
