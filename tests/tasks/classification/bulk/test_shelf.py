"""`predict --out`: rows as they come, each once, whatever happens in between."""

import csv
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import file_server
import hub_server
import pytest
import tiny
from file_server import Files

from morphmlp.data.media import remote_cache
from morphmlp.data.sets.find import find_media
from morphmlp.tasks import journal
from morphmlp.tasks.classification.bulk.shelf import Shelf, lines_of


@pytest.fixture(scope="module")
def shelf(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 videos: two batches, of 32 and of 8; one cannot be read, and one is an image."""
    folder, videos = tmp_path_factory.mktemp("shelf"), find_media(data)
    for number in range(39):
        shutil.copy(videos[number % len(videos)], folder / f"{number:02d}.mp4")
    (folder / "05.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def alone(checkpoint: Path, shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The rows of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("alone") / "rows.jsonl"
    assert predict(checkpoint, shelf, out=out).returncode == 1
    return out.read_bytes()


def predict(checkpoint: Path, *arguments: object, out: Path) -> subprocess.CompletedProcess[str]:
    return tiny.run_command("predict", checkpoint, *arguments, "--workers", 0, "--out", out)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def smaller_batches(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("morphmlp.tasks.classification.bulk.computing.videos_per_batch", lambda config: size)


def stop_after(batches: int, monkeypatch: pytest.MonkeyPatch, action: Any) -> list[list[journal.Entry]]:
    """Does something in the place of writing down batch number `batches` + 1; returns those that were."""
    add, written = journal.JournalWriter.add, []

    def add_or_stop(self: journal.JournalWriter, entries: list[journal.Entry]) -> None:
        if len(written) == batches:
            action()
        add(self, entries)
        written.append(entries)

    monkeypatch.setattr(journal.JournalWriter, "add", add_or_stop)
    return written


def test_a_row_of_each_file_and_one_of_what_cannot_be_read(checkpoint: Path, shelf: Path, tmp_path: Path):
    (tmp_path / "list").write_text(f"{shelf / '03.mp4'}\n\n{shelf / '05.mp4'}\r\n{tmp_path / 'gone.mp4'}\n")
    (tmp_path / "still.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files = [shelf / "03.mp4", tmp_path / "still.png", "--list", tmp_path / "list"]
    done = predict(checkpoint, *files, "--top", 2, out=tmp_path / "rows.csv")
    assert done.returncode == 1
    with open(tmp_path / "rows.csv", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["path", "rank", "label", "probability", "error", "answer", "incomplete"]
    found = {(Path(path).name, rank, error.split(" (")[0]) for path, rank, _, _, error, _, _ in table[1:]}
    assert found == {
        ("03.mp4", "1", ""),
        ("03.mp4", "2", ""),
        ("05.mp4", "", "cannot be opened as a video"),
        ("gone.mp4", "", "cannot be opened"),
        ("still.png", "", "is an image, but the checkpoint takes videos"),
    }
    assert len(table) == 6
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error"] * 3
    assert done.stdout.startswith("1 of 4 videos predicted (")


def test_rows_are_those_that_json_shows(checkpoint: Path, shelf: Path, tmp_path: Path):
    videos = sorted(shelf.iterdir())[:3]
    shown = tiny.run_command("predict", checkpoint, *videos, "--workers", 0, "--json")
    predict(checkpoint, *videos, out=tmp_path / "rows.jsonl")
    assert rows(tmp_path / "rows.jsonl") == json.loads(shown.stdout)


def test_the_same_command_goes_on_to_the_same_bytes(
    checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "rows.jsonl"
    with monkeypatch.context() as patch:
        stop_after(1, patch, lambda: signal.raise_signal(signal.SIGINT))
        stopped = predict(checkpoint, shelf, "--ordered", out=out)
    assert stopped.returncode == 130
    assert f"what was predicted so far is in {out}.parts; the same command goes on" in stopped.stderr
    assert out.read_bytes() == b"".join(alone.splitlines(keepends=True)[:32])
    written = stop_after(9, monkeypatch, lambda: None)
    done = predict(checkpoint, shelf, "--ordered", out=out)
    assert out.read_bytes() == alone
    assert [[Path(entry.name).name for entry in batch] for batch in written] == [
        ["05.mp4"],  # it could not be read, which may be otherwise now
        [f"{number:02d}.mp4" for number in range(32, 39)],
    ]
    assert "38 of 39 videos predicted, 31 of them by earlier runs" in done.stdout


def test_half_a_line_of_a_killed_run_is_done_again(checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    predict(checkpoint, shelf, out=out)
    known = Path(f"{out}.parts") / "rows-0.jsonl"
    first, second = known.read_bytes().splitlines(keepends=True)
    known.write_bytes(first + second[:-100])
    out.write_bytes(alone[:-50])
    predict(checkpoint, shelf, "--ordered", out=out)
    assert out.read_bytes() == alone
    lines = known.read_bytes().splitlines(keepends=True)
    assert (lines[0], lines[-1]) == (first, second)


def test_a_damaged_line_is_told_and_done_again(checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    predict(checkpoint, shelf, out=out)
    known = Path(f"{out}.parts") / "rows-0.jsonl"
    known.write_bytes(known.read_bytes().replace(b'"row', b"\0\0\0\0", 1).replace(b'[["', b"[[\0", 1))
    done = predict(checkpoint, shelf, "--ordered", out=out)
    assert f"{known}: a line is damaged" in done.stderr
    assert out.read_bytes() == alone


def test_what_is_added_or_changed_is_all_that_is_looked_at(
    checkpoint: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, out = tmp_path / "folder", tmp_path / "rows.jsonl"
    folder.mkdir()
    videos = [shelf / f"{number:02d}.mp4" for number in range(4)]
    for name, video in zip("bdf", videos, strict=False):
        shutil.copy(video, folder / f"{name}.mp4")
    predict(checkpoint, folder, out=out)
    shutil.copy(videos[3], folder / "a.mp4")
    shutil.copy(videos[0], folder / "d.mp4")
    os.utime(folder / "d.mp4", (1, 1))
    (folder / "f.mp4").unlink()
    written = stop_after(9, monkeypatch, lambda: None)
    assert predict(checkpoint, folder, "--ordered", out=out).returncode == 0
    assert [[Path(entry.name).name for entry in batch] for batch in written] == [["a.mp4", "d.mp4"]]
    found = rows(out)
    assert [Path(row["path"]).name for row in found] == ["a.mp4", "b.mp4", "d.mp4"]
    assert found[1]["top"] == found[2]["top"]


@pytest.fixture
def served(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server with a video, one with spaces in its name, and one that cannot be read; and an empty cache."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, video in (("a.mp4", "00.mp4"), ("b é,'.mp4", "01.mp4"), ("bad.mp4", "05.mp4")):
        shutil.copy(shelf / video, folder / name)
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "_known", {})
    with file_server.served_files(folder) as files:
        yield files


def test_no_secret_of_an_address_is_written_and_rows_are_found_again(checkpoint: Path, served: Files, tmp_path: Path):
    base = served.address.replace("//", "//me:p@ss-hush@")
    names = [f"{base}/a.mp4?token=hush1", f"{base}/a.mp4?token=hush2", f"{base}/bad.mp4?token=hush1"]
    names += [f"{base}/gone.mp4#hush", f"{served.address}/b é,'.mp4"]
    (tmp_path / "list").write_text("\n".join(names))
    out = tmp_path / "out" / "rows.jsonl"
    first = predict(checkpoint, "--list", tmp_path / "list", out=out)
    again = predict(checkpoint, "--list", tmp_path / "list", "--json", out=out)
    assert json.loads(again.stdout)["known_before"] == 3
    assert [row["path"] for row in rows(out)].count(f"{served.address}/a.mp4") == 2
    written = b"".join(path.read_bytes() for path in out.parent.rglob("*") if path.is_file())
    for text in (first.stdout + first.stderr + again.stdout + again.stderr, written.decode()):
        assert "hush" not in text


@pytest.mark.parametrize("tagged", [True, False])
def test_a_remote_file_that_has_changed_is_looked_at_again_and_the_others_are_not_fetched(
    checkpoint: Path, shelf: Path, served: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tagged: bool
):
    served.tagged = tagged
    names, out = [f"{served.address}/a.mp4", f"{served.address}/b é,'.mp4"], tmp_path / "rows.jsonl"
    predict(checkpoint, *names, "--ordered", out=out)
    before = [row["answer"] for row in rows(out)]
    shutil.rmtree(tmp_path / "cache")
    remote_cache._known.clear()
    served.asked.clear()
    assert "2 of them by earlier runs" in predict(checkpoint, *names, out=out).stdout
    assert bool(served.fetched()) is not tagged  # where the host states nothing, only a copy tells
    shutil.copy(shelf / "01.mp4", served.folder / "a.mp4")
    now = remote_cache.time.time
    monkeypatch.setattr(remote_cache.time, "time", lambda: now() + 4_000)
    assert "1 of them by earlier runs" in predict(checkpoint, *names, "--ordered", out=out).stdout
    assert before[0] != before[1]
    assert [row["answer"] for row in rows(out)] == [before[1], before[1]]


def test_a_name_of_the_hub_is_written_with_the_digest_of_its_weights(
    checkpoint: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with hub_server.running_hub() as hub:
        hub.repos["me/model"] = hub_server.Repo()
        hub.repos["me/model"].commit("main", {path.name: path.read_bytes() for path in checkpoint.iterdir()})
        hub_server.use(hub, tmp_path / "cache", monkeypatch)
        out = tmp_path / "rows.jsonl"
        assert predict(Path("hf://me/model"), shelf / "00.mp4", out=out).returncode == 0
        settings = json.loads((tmp_path / "rows.jsonl.parts" / "settings.json").read_text())
        assert settings["weights_sha256"] == hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
        assert "1 of them by earlier runs" in predict(checkpoint, shelf / "00.mp4", out=out).stdout


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_of_other_processes_are_shown_as_they_come_or_in_order(
    checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path, ordered: bool
):
    """The journal of another process has the second batch already; the first comes now."""
    out, lines = tmp_path / "rows.jsonl", alone.splitlines(keepends=True)
    predict(checkpoint, shelf, out=out)
    parts = Path(f"{out}.parts")
    first, second = (parts / "rows-0.jsonl").read_bytes().splitlines(keepends=True)
    (parts / "rows-0.jsonl").unlink()
    (parts / "rows-7.jsonl").write_bytes(second)
    predict(checkpoint, shelf, *["--ordered"] * ordered, out=out)
    assert (parts / "rows-0.jsonl").read_bytes() == first
    assert out.read_bytes() == (alone if ordered else b"".join(lines[32:] + lines[:32]))


@pytest.mark.parametrize("where", ["parts", "rows"])
def test_a_full_disk_is_one_line_and_what_is_there_is_whole(
    checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    out, write, room = tmp_path / "rows.jsonl", os.write, {"bytes": 12_000 if where == "parts" else 5_000}
    grows = out if where == "rows" else Path(f"{out}.parts") / "rows-0.jsonl"

    def write_while_there_is_room(descriptor: int, data: bytes) -> int:
        if not os.path.samestat(os.fstat(descriptor), os.stat(grows)):
            return write(descriptor, data)
        if room["bytes"] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: room["bytes"]])
        room["bytes"] -= written
        return written

    with monkeypatch.context() as patch:
        smaller_batches(patch, 8)
        patch.setattr(os, "write", write_while_there_is_room)
        full = predict(checkpoint, shelf, out=out)
    assert full.returncode == 1
    assert len(full.stderr.splitlines()) == 1
    assert "No space left on device; what is known is kept: make room, and the same command goes on" in full.stderr
    assert 0 < len(rows(out)) < 39
    with monkeypatch.context() as patch:
        smaller_batches(patch, 8)
        done = predict(checkpoint, shelf, "--ordered", out=out)
    assert "of them by earlier runs" in done.stdout
    assert [row["path"] for row in rows(out)] == [json.loads(line)["path"] for line in alone.splitlines()]


def test_shares_are_disjoint_and_together_all(checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path):
    shares = [tmp_path / f"{number}.jsonl" for number in (1, 2)]
    for number, out in enumerate(shares, start=1):
        predict(checkpoint, shelf, "--share", f"{number}/2", out=out)
    assert b"".join(out.read_bytes() for out in shares) == alone


def test_parquet_has_the_same_rows(checkpoint: Path, shelf: Path, alone: bytes, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    predict(checkpoint, shelf, out=tmp_path / "rows.parquet")
    found = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [{name: value for name, value in row.items() if value is not None} for row in found] == [
        json.loads(line) for line in alone.splitlines()
    ]


def test_parquet_without_its_library_is_one_line(checkpoint: Path, shelf: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    done = predict(checkpoint, shelf, out=tmp_path / "rows.parquet")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --out {tmp_path / 'rows.parquet'} needs pyarrow: pip install")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{shelf}", "--out", "{tmp}/rows.txt"], "its ending names no format of rows; give one of .csv, .jsonl"),
        (["{shelf}", "--out", "{tmp}/mine.csv"], "is there, but not"),
        (["{shelf}", "--out", "{tmp}/x.csv", "--csv", "y.csv"], "--csv y.csv is for a few files"),
        (["{shelf}", "--out", "{tmp}/x.csv", "--share", "0/2"], "give K/N with K from 1 to N"),
        (["{shelf}", "--ordered"], "--ordered is for results that are written as they come; give --out too"),
        (["{shelf}", "--ray"], "--ray is for results that are written as they come; give --out too"),
        (["--list", "{tmp}/empty", "--out", "{tmp}/x.csv"], "names no file; give a path in each line"),
        (["--list", "{tmp}/mine.csv", "--out", "{tmp}/mine.csv", "--fresh"], "is the source itself; give another name"),
        (["--list", "{tmp}/gone", "--out", "{tmp}/x.csv"], "gone: No such file or directory"),
        (["{shelf}", "--out", "{tmp}/mine.csv/x.csv"], "Not a directory"),
        (["{shelf}", "--out", "{tmp}/x.csv", "--ray", "127.0.0.1:1"], "no Ray head answers at 127.0.0.1:1"),
    ],
)
def test_a_mistake_is_one_line(checkpoint: Path, shelf: Path, tmp_path: Path, arguments: list[str], message: str):
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "empty").write_text("\n")
    texts = [text.format(shelf=shelf, tmp=tmp_path) for text in arguments]
    done = tiny.run_command("predict", checkpoint, *texts, "--workers", 0)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert message in done.stderr
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_rows_of_other_settings_are_refused_by_name_until_fresh(checkpoint: Path, shelf: Path, tmp_path: Path):
    out, video = tmp_path / "rows.jsonl", shelf / "00.mp4"
    predict(checkpoint, video, out=out)
    before = out.read_bytes()
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    with open(other / "model.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    for refused, name in ((predict(checkpoint, video, "--top", 1, out=out), "top 5 then, 1 now"),
                          (predict(other, video, out=out), "weights_sha256")):  # fmt: skip
        assert refused.returncode == 1
        assert name in refused.stderr
        assert f"{out} holds predictions with other settings" in refused.stderr
        assert out.read_bytes() == before
    assert predict(checkpoint, video, "--top", 1, "--fresh", out=out).returncode == 0
    assert len(rows(out)[0]["top"]) == 1


def test_a_second_run_of_the_same_result_is_refused(
    checkpoint: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, second = tmp_path / "rows.jsonl", []
    stop_after(0, monkeypatch, lambda: second.append(predict(checkpoint, shelf / "00.mp4", out=out)))
    predict(checkpoint, shelf / "00.mp4", out=out)
    assert "another run is at work in" in second[0].stderr


def test_the_summary_as_json_and_names_that_are_no_text(checkpoint: Path, shelf: Path, tmp_path: Path):
    odd = tmp_path / "odd \udcff.mp4"
    shutil.copy(shelf / "00.mp4", odd)
    (tmp_path / "list").write_bytes(os.fsencode(odd) + b"\n")
    for ending in ("jsonl", "csv", "parquet"):
        done = predict(checkpoint, "--list", tmp_path / "list", "--json", out=tmp_path / f"rows.{ending}")
        summary = json.loads(done.stdout)
        assert (summary["files"], summary["known_before"], summary["unreadable"]) == (1, 0, 0)
        again = predict(checkpoint, "--list", tmp_path / "list", "--json", out=tmp_path / f"rows.{ending}")
        assert json.loads(again.stdout)["known_before"] == 1
    assert rows(tmp_path / "rows.jsonl")[0]["path"] == str(odd)
    assert os.fsencode(odd) in (tmp_path / "rows.csv").read_bytes()


@pytest.mark.parametrize("piped", [True, False])
def test_a_list_may_begin_with_a_mark_and_have_names_that_are_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: bool
):
    lines = b"\xef\xbb\xbfa, b.mp4\r\n  \n\n'q\xff\".mp4\nc\rd.mp4 "
    (tmp_path / "list").write_bytes(lines)
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(lines), encoding="ascii"))
    assert list(lines_of("-" if piped else str(tmp_path / "list"))) == ["a, b.mp4", "'q\udcff\".mp4", "c\rd.mp4 "]


def test_damaged_settings_are_told_with_what_helps(checkpoint: Path, shelf: Path, tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    predict(checkpoint, shelf / "00.mp4", out=out)
    for text in ("{", "[]"):
        (tmp_path / "rows.jsonl.parts" / "settings.json").write_text(text)
        refused = predict(checkpoint, shelf / "00.mp4", out=out)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "--fresh begins again" in refused.stderr
    assert predict(checkpoint, shelf / "00.mp4", "--fresh", out=out).returncode == 0


def test_a_shelf_makes_its_samples_when_they_are_asked_for():
    shelf = Shelf(f"{number}.mp4" for number in [*range(100_000), 5, 7])
    assert len(shelf) == 100_000
    assert shelf[99_999].path == Path("99999.mp4")
    assert [sample.path.name for sample in shelf[3:5]] == ["3.mp4", "4.mp4"]
    assert shelf.numbers["7.mp4"] == 7


def torchrun(killed: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes of `shelf_process.py`."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(tiny.__file__).with_name("shelf_process.py")
    return subprocess.run(
        [*start, *map(str, (script, killed, *arguments))], capture_output=True, text=True, env=tiny.environment()
    )


def test_two_processes_share_the_files_and_after_one_is_killed_none_is_lost_and_none_comes_twice(
    checkpoint: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """16 videos: four batches, two for each process."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for number in range(16):
        os.symlink(shelf / f"{number:02d}.mp4", folder / f"{number:02d}.mp4")
    alone, out = tmp_path / "alone.jsonl", tmp_path / "rows.jsonl"
    smaller_batches(monkeypatch, 4)
    predict(checkpoint, folder, out=alone)
    command = ("predict", checkpoint, folder, "--workers", 0, "--out", out)
    killed = torchrun(1, *command)
    assert killed.returncode == 1
    lines = b"".join(path.read_bytes() for path in Path(f"{out}.parts").glob("rows-*")).splitlines()
    known = [len(json.loads(line)) for line in lines]
    assert 2 <= len(known) <= 3
    assert set(known) == {4}
    shown = rows(out)
    assert len({row["path"] for row in shown}) == len(shown)
    resumed = torchrun(-1, *command)
    before = sum("error" not in row for line in lines for _, _, row in json.loads(line))
    assert f"15 of 16 videos predicted, {before} of them by earlier runs" in resumed.stdout
    assert sorted(out.read_bytes().splitlines()) == sorted(alone.read_bytes().splitlines())
