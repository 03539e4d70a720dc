"""Files at addresses: fetched once, kept within a bound, and every failure in one line."""

import errno
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import file_server
import numpy as np
import pytest
from file_server import Files

from morphmlp.data.media import remote_cache
from morphmlp.data.media.remote import RemoteFile, local_path, place_of, remote_file, web_address
from morphmlp.data.media.remote_store import shown_address
from morphmlp.data.media.sources import num_bytes, overlaps, state_of, unique_name
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.tar_members import TarMember
from morphmlp.data.media.video import probe, read_frames
from morphmlp.errors import ConfigError, DataError, MediaError
from morphmlp.system import cache_folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server of small files, and an empty cache."""
    folder = tmp_path / "served"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.bin").write_bytes(bytes([i]) * 1_000)
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "_known", {})
    with file_server.served_files(folder) as served:
        yield served


def at(files: Files, name: str) -> RemoteFile:
    return RemoteFile(f"{files.address}/{name}")


def later(monkeypatch: pytest.MonkeyPatch, seconds: float = 4_000) -> None:
    now = remote_cache.time.time
    monkeypatch.setattr(remote_cache.time, "time", lambda: now() + seconds)


def refusal(source: RemoteFile) -> str:
    with pytest.raises(MediaError) as caught:
        local_path(source)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{source}: ")
    assert not [path for path in cache_folder("files").rglob("*") if path.name == Path(str(source)).name], "half a copy"
    return caught.value.reason


def test_an_address_is_told_from_a_file():
    assert remote_file("https://host/a.mp4") == remote_file(Path("https://host/a.mp4"))
    assert remote_file(Path("s3://bucket") / "clips" / "a.mp4") == RemoteFile("s3://bucket/clips/a.mp4")
    assert remote_file("HTTPS://Host/A.mp4") == RemoteFile("https://Host/A.mp4")
    others = ("rtsp://host/1", "a.mp4", "/a/b.mp4", "hf://me/model", "c:/a.mp4", "camera:/dev/video0")
    assert not any(map(remote_file, others))
    assert web_address(Path("https://host/a")) == "https://host/a"
    assert str(DataError(f"{Path('s3://bucket/a')}: is empty")) == "s3://bucket/a: is empty"


def test_it_is_named_without_its_secrets():
    source = RemoteFile("https://me:secret@host/a.mp4?signature=123")
    assert str(source) == os.fspath(source) == "https://host/a.mp4"
    assert "secret" not in repr(source)
    assert "123" not in unique_name(source)
    assert repr(source) != repr(RemoteFile("https://host/a.mp4?signature=124"))
    assert source.why_not_listed() == "https://host/a.mp4 has a password or a query in its name"
    assert shown_address("https://me:p@ss@host/a@b.mp4?x=@y") == "https://host/a@b.mp4"
    assert shown_address("s3://bucket/a@b.mp4") == "s3://bucket/a@b.mp4"
    assert pickle.loads(pickle.dumps(source)) == source


def test_it_is_fetched_once(files: Files):
    source = at(files, "1.bin")
    assert local_path(source).read_bytes() == bytes([1]) * 1_000
    assert local_path(str(source)) == local_path(source)
    assert files.fetched() == ["1.bin"]
    assert num_bytes(source) == 1_000
    assert num_bytes(at(files, "2.bin")) is None


def test_after_an_hour_the_host_is_asked_and_what_has_not_changed_is_kept(
    files: Files, monkeypatch: pytest.MonkeyPatch
):
    source = at(files, "1.bin")
    local_path(source)
    before = state_of(source)
    later(monkeypatch)
    files.asked.clear()
    assert state_of(source) == before
    assert local_path(source).read_bytes() == bytes([1]) * 1_000
    assert files.asked == ["HEAD 1.bin"] * 2
    (files.folder / "1.bin").write_bytes(b"new")
    assert local_path(source).read_bytes() == bytes([1]) * 1_000, "within the hour"
    later(monkeypatch)
    assert local_path(source).read_bytes() == b"new"
    assert state_of(source) != before


def test_a_copy_that_is_fetched_again_is_the_same_file_to_those_who_remember_it(files: Files):
    source = at(files, "1.bin")
    before, status = state_of(source), local_path(source).stat()
    assert before == (status.st_size, status.st_mtime_ns)
    shutil.rmtree(local_path(source).parent)
    remote_cache._known.clear()
    assert state_of(source) == before
    assert local_path(source).stat().st_mtime_ns == status.st_mtime_ns
    assert files.fetched() == ["1.bin", "1.bin"]


def test_a_copy_that_somebody_removed_is_fetched_again(files: Files):
    source = at(files, "1.bin")
    local_path(source).unlink()
    assert local_path(source).read_bytes() == bytes([1]) * 1_000


def test_many_threads_fetch_it_once(files: Files):
    with ThreadPoolExecutor(8) as pool:
        copies = set(pool.map(local_path, [at(files, "1.bin")] * 8))
    assert len(copies) == 1
    assert files.fetched() == ["1.bin"]


def test_the_cache_does_not_grow_beyond_its_bound_and_keeps_what_was_used_last(
    files: Files, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MORPHMLP_CACHE_GB", str(3_600 / 1e9))  # three files of 1,000 bytes and their stamps
    for i in range(3):
        copy = local_path(at(files, f"{i}.bin"))
        os.utime(copy.parent, (i, i))
    os.utime(local_path(at(files, "0.bin")).parent, (9, 9))
    local_path(at(files, "3.bin"))
    kept = {path.name for path in cache_folder("files").rglob("*.bin")}
    assert "3.bin" in kept
    assert "0.bin" in kept
    assert "1.bin" not in kept
    assert sum(path.stat().st_size for path in cache_folder("files").glob("??/*/*")) <= 3_600
    assert local_path(at(files, "1.bin")).read_bytes() == bytes([1]) * 1_000


def test_a_file_that_is_larger_than_the_cache_is_refused(files: Files, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MORPHMLP_CACHE_GB", "0.0000005")
    assert refusal(at(files, "1.bin")) == (
        "has 1e-06 GB or more, but the cache may hold 5e-07 GB: give a larger --cache-gb, or set MORPHMLP_CACHE_GB"
    )
    monkeypatch.setenv("MORPHMLP_CACHE_GB", "none")
    with pytest.raises(ConfigError, match="MORPHMLP_CACHE_GB='none': expected a number above 0"):
        local_path(at(files, "1.bin"))


def test_a_body_without_end_is_left_when_it_is_larger_than_the_cache(files: Files, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MORPHMLP_CACHE_GB", "0.02")
    files.endless.add("1.bin")
    assert refusal(at(files, "1.bin")).startswith("has 0.0")
    assert remote_cache._total() == 0


def test_no_name_of_a_copy_leads_out_of_its_folder(files: Files):
    names = [remote_cache._content(Path("x"), f"https://host/{name}").name for name in ("..", ".", "a/..", ".a.mp4")]
    assert names == ["content", "content", "content", "a.mp4"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "there is no such file; is the address right?"),
        (403, "access is refused (403); are the credentials right, and is it yours to read?"),
        (401, "access is refused (401); are the credentials right, and is it yours to read?"),
        (503, "the host answers with status 503; try again later"),
    ],
)
def test_a_host_that_refuses(files: Files, status: int, reason: str):
    files.statuses["1.bin"] = status
    assert refusal(at(files, "1.bin")) == reason


def test_a_host_that_cannot_be_reached(files: Files):
    unreachable = "the host cannot be reached; is the address right, and the network up?"
    assert refusal(RemoteFile("http://127.0.0.1:9/1.bin")) == unreachable
    assert refusal(RemoteFile("http://host.invalid/1.bin")) == unreachable


def test_a_connection_that_breaks_off(files: Files):
    files.break_after = 100
    assert refusal(at(files, "1.bin")) == "the connection broke off before the end; try again"
    files.break_after = None
    assert local_path(at(files, "1.bin")).stat().st_size == 1_000


def test_a_file_that_changes_while_it_is_fetched(files: Files):
    files.changing.add("1.bin")
    assert refusal(at(files, "1.bin")) == "changes while it is fetched; try again when it is complete"


def test_a_disk_that_is_full(files: Files, monkeypatch: pytest.MonkeyPatch):
    def full(address: str, file: str, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(remote_cache, "fetch", full)
    assert refusal(at(files, "1.bin")) == (
        f"cannot be kept in {cache_folder('files')}: No space left on device; free some space, give a smaller "
        "--cache-gb, or name another disk by MORPHMLP_CACHE"
    )


def test_a_cache_that_cannot_be_written(files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "file"))
    assert refusal(at(files, "1.bin")).endswith("Not a directory; name another folder by MORPHMLP_CACHE")


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_package_that_is_missing_is_named(files: Files, scheme: str, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    assert refusal(RemoteFile(f"{scheme}://bucket/1.bin")) == (
        f"{scheme}:// needs a package that is not installed: pip install 'morphmlp[remote]'"
    )


def test_what_a_killed_process_left_goes(files: Files):
    copy = local_path(at(files, "1.bin"))
    left = copy.parent.parent / f".{copy.parent.name}-abcdefgh.unfinished"
    (left / "new").mkdir(parents=True)
    os.utime(left, (1, 1))
    remote_cache._evict(1e9)
    assert not left.exists()
    assert copy.exists()


def test_a_video_at_an_address_is_decoded_like_one_on_the_disk(files: Files, data: Path):
    video = min((data / "val").glob("*/*.mp4"))
    (files.folder / "clip.mp4").write_bytes(video.read_bytes())
    source = at(files, "clip.mp4")
    assert probe(source) == probe(video)
    assert np.array_equal(read_frames(source, [0, 3]), read_frames(video, [0, 3]))
    stretch = Stretch(source, 0.1, 0.3)
    assert probe(stretch).num_frames == probe(Stretch(video, 0.1, 0.3)).num_frames
    assert overlaps(stretch, source)
    assert place_of(source) == f"{files.address}/clip.mp4"


def test_a_member_of_a_shard_at_an_address_is_read_where_it_lies(files: Files):
    (files.folder / "a.tar").write_bytes(b"x" * 512 + b"content" + b"y" * 505)
    member = TarMember(at(files, "a.tar"), "a.mp4", 512, 7)
    assert member.read() == b"content"
    assert member.head(4) == b"cont"
    assert str(member) == f"{files.address}/a.tar/a.mp4"
    files.statuses["b.tar"] = 403
    gone = TarMember(at(files, "b.tar"), "a.mp4", 512, 7)
    assert gone.head(4) == b""
    with pytest.raises(MediaError, match=r"access is refused \(403\)"):
        gone.read()
