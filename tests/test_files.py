"""Writing is all or nothing: the new content, or the old one, and never anything beside it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from morphmlp.errors import ConfigError
from morphmlp.files import (
    AppendedFile,
    end_of_records,
    held,
    replaced_file,
    replaced_folder,
    require_apart,
    require_replaceable,
)


class Stopped(BaseException):
    """Like KeyboardInterrupt, no Exception."""


def content(root: Path) -> dict[str, str]:
    """Relative path and text of every file below a folder, hidden ones too."""
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def process_umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def replace_and_fail(folder: Path, error: type[BaseException]) -> None:
    with replaced_folder(folder) as temporary:
        (temporary / "new").write_text("new")
        raise error


def write_and_fail(path: Path, error: type[BaseException]) -> None:
    with replaced_file(path) as file:
        file.write("new")
        raise error


def fail_replacing(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    """Lets `os.replace` fail where a temporary takes the target's place, as a full or remounted disk would."""
    replace = os.replace

    def failing(source: str | Path, destination: str | Path) -> None:
        if Path(source).name == "new" and Path(destination) == target:
            raise OSError(errno.EIO, "Input/output error", str(destination))
        replace(source, destination)

    monkeypatch.setattr(os, "replace", failing)


def test_a_new_folder_appears_whole_with_its_parents(tmp_path: Path):
    with replaced_folder(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert content(tmp_path) == {"a/b/x": "1"}


def test_a_folder_is_replaced_and_not_merged(tmp_path: Path):
    (tmp_path / "f" / "sub").mkdir(parents=True)
    (tmp_path / "f" / "sub" / "old").write_text("old")
    with replaced_folder(tmp_path / "f") as folder:
        (folder / "new").write_text("new")
        assert content(tmp_path / "f") == {"sub/old": "old"}
    assert content(tmp_path) == {"f/new": "new"}
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stopped])
def test_a_failing_body_leaves_the_old_folder_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("old")
    with pytest.raises(error):
        replace_and_fail(tmp_path / "f", error)
    assert content(tmp_path) == {"f/old": "old"}
    assert os.listdir(tmp_path) == ["f"]


def test_a_failing_body_leaves_no_new_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="stop"), replaced_folder(tmp_path / "f"):
        raise ValueError("stop")
    assert os.listdir(tmp_path) == []


def test_a_failing_swap_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_text("old")
    fail_replacing(monkeypatch, tmp_path / "f")
    with pytest.raises(OSError, match="Input/output error"), replaced_folder(tmp_path / "f") as folder:
        (folder / "new").write_text("new")
    assert content(tmp_path) == {"f/old": "old"}
    assert os.listdir(tmp_path) == ["f"]


def test_a_file_in_the_folders_place_is_refused_before_the_body_and_kept(tmp_path: Path):
    (tmp_path / "f").write_text("a file")
    with pytest.raises(NotADirectoryError, match="f'"), replaced_folder(tmp_path / "f"):
        pytest.fail("the body ran")
    assert content(tmp_path) == {"f": "a file"}


def test_a_link_to_a_folder_stays_a_link_to_the_new_content(tmp_path: Path):
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "disk" / "real" / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    with replaced_folder(tmp_path / "link") as folder:
        (folder / "new").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "link") == {"new": "new"}
    assert os.listdir(tmp_path / "disk") == ["real"]


def test_a_relative_folder_is_meant_from_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with replaced_folder("f") as folder:
        (folder / "x").write_text("1")
        os.chdir("elsewhere")
    assert content(tmp_path) == {"f/x": "1"}


@pytest.mark.parametrize(("mask", "folder_mode", "file_mode"), [(0o022, 0o755, 0o644), (0o027, 0o750, 0o640)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, folder_mode: int, file_mode: int):
    with process_umask(mask):
        with replaced_folder(tmp_path / "folder"):
            pass
        with replaced_file(tmp_path / "file"):
            pass
    assert mode(tmp_path / "folder") == folder_mode
    assert mode(tmp_path / "file") == file_mode


def test_a_new_file_appears_whole_with_its_parents(tmp_path: Path):
    with replaced_file(tmp_path / "a" / "b.txt") as file:
        file.write("1")
        file.flush()
        assert not (tmp_path / "a" / "b.txt").exists()
    assert content(tmp_path) == {"a/b.txt": "1"}


def test_a_file_is_replaced(tmp_path: Path):
    (tmp_path / "b").write_text("a longer old text")
    with replaced_file(tmp_path / "b") as file:
        file.write("new")
    assert content(tmp_path) == {"b": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stopped])
def test_a_failing_body_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]):
    (tmp_path / "b").write_text("old")
    with pytest.raises(error):
        write_and_fail(tmp_path / "b", error)
    assert content(tmp_path) == {"b": "old"}


def test_a_failing_swap_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "b").write_text("old")
    fail_replacing(monkeypatch, tmp_path / "b")
    with pytest.raises(OSError, match="Input/output error"), replaced_file(tmp_path / "b") as file:
        file.write("new")
    assert content(tmp_path) == {"b": "old"}


def test_a_folder_in_the_files_place_is_kept(tmp_path: Path):
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="b"), replaced_file(tmp_path / "b"):
        pass
    assert os.listdir(tmp_path) == ["b"]


def test_where_no_file_can_be_is_known_before_and_nothing_is_made(tmp_path: Path):
    (tmp_path / "file").touch()
    require_replaceable(tmp_path / "file")
    require_replaceable(tmp_path / "new" / "folders" / "file")
    with pytest.raises(IsADirectoryError):
        require_replaceable(tmp_path)
    with pytest.raises(NotADirectoryError):
        require_replaceable(tmp_path / "file" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_results_of_one_name_and_those_that_would_replace_a_source_are_refused(tmp_path: Path):
    (tmp_path / "source.mp4").touch()
    (tmp_path / "link.csv").symlink_to("x.csv")
    csv, link, source = tmp_path / "x.csv", tmp_path / "link.csv", tmp_path / "source.mp4"
    require_apart([("--out", csv), ("--render", tmp_path / "y.mp4")], [source])
    require_apart([("--out", os.devnull), ("--csv", os.devnull)])
    with pytest.raises(ConfigError, match=r"--render \S+link\.csv is also written by --out; give each result a name"):
        require_apart([("--out", csv), ("--render", link)])
    with pytest.raises(ConfigError, match=r"--csv \S+source\.mp4 is the source itself; give another name"):
        require_apart([("--csv", source)], [tmp_path / "." / "source.mp4"])


def test_a_link_to_a_file_stays_a_link_to_the_new_content(tmp_path: Path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with replaced_file(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_line_ends_and_bytes_of_file_names_are_written_as_they_are(tmp_path: Path):
    name = os.fsdecode(b"clip-\xff.mp4")
    with replaced_file(tmp_path / "b") as file:
        file.write(f"{name}\r\nüñ\n")
    assert (tmp_path / "b").read_bytes() == b"clip-\xff.mp4\r\n" + "üñ\n".encode()


@pytest.mark.parametrize(("there", "whole"), [(b"", 0), (b"one", 0), (b"one\n", 4), (b"one\ntw", 4), (b"a\n" * 9, 18)])
@pytest.mark.parametrize("block", [1, 3, 2**16])
def test_records_end_with_the_last_line_end(tmp_path: Path, there: bytes, whole: int, block: int):
    (tmp_path / "f").write_bytes(there)
    with open(tmp_path / "f", "rb") as file:
        assert end_of_records(file.fileno(), block=block) == whole


def test_half_a_record_is_cut_off_when_a_file_is_opened_and_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "f"
    path.write_bytes(b"one\ntw")
    file, write = AppendedFile(path), os.write

    def write_two_bytes(descriptor: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:2])

    file.append(b"two\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_two_bytes)
        with pytest.raises(OSError, match="No space left") as raised:
            file.append(b"lost\n")
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"one\ntwo\n"
    file.append(b"three\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_lock_whose_file_goes_while_it_is_waited_for_is_held_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who held it removes the file after another has opened it: that one must not hold what is no longer there."""
    fcntl = pytest.importorskip("fcntl", reason="only files of Unix can be removed while they are open")
    lock, flock, removed = tmp_path / "lock", fcntl.flock, []

    def given_up_just_then(descriptor: int, how: int) -> None:
        if lock.exists() and not removed:
            removed.append(lock)
            lock.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", given_up_just_then)
    with held(lock, wait=True) as first, held(lock) as second:
        assert (removed, first, second) == ([lock], True, False)
