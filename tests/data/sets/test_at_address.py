"""Lists and shards at addresses, read as those on the disk are."""

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import file_server
import pytest
import tiny
from file_server import Files

from morphmlp.config import ListConfig
from morphmlp.data.media import remote_cache
from morphmlp.data.media.remote import RemoteFile
from morphmlp.data.media.sources import TarMember
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.read import evaluation_split, read_set, read_training_sets
from morphmlp.errors import DataError, MediaError

CLASSES = ("closing_something", "moving_up")


@pytest.fixture
def files(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server with `set`: videos of two classes, train.csv and val.csv."""
    root = tmp_path / "served" / "set"
    for split in ("train", "val"):
        rows = []
        for name in CLASSES:
            for video in sorted((data / split / name).iterdir()):
                place = root / "videos" / f"{split}-{name}-{video.name}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(video.read_bytes())
                rows.append(f"videos/{place.name},{name}")
        (root / f"{split}.csv").write_text("\n".join(["path,label", *rows]))
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "_known", {})
    with file_server.served_files(tmp_path / "served") as served:
        yield served


def shard(path: Path, videos: list[tuple[Path, str]]) -> None:
    with tarfile.open(path, "w") as archive:
        for i, (video, label) in enumerate(videos):
            for name, content in ((f"{i}.mp4", video.read_bytes()), (f"{i}.cls", label.encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def shards(files: Files, data: Path) -> Files:
    """The same set as shards, beside a file that names them."""
    root = files.folder / "shards"
    root.mkdir()
    for split in ("train", "val"):
        videos = [(video, name) for name in CLASSES for video in sorted((data / split / name).iterdir())]
        shard(root / f"{split}-0000.tar", videos)
    (root / "all.txt").write_text("train-0000.tar\nval-0000.tar\n")
    return files


def test_lists_in_a_folder_at_an_address_and_no_video_is_fetched_for_them(files: Files):
    train, val = read_training_sets(f"{files.address}/set")
    assert train.classes == val.classes == list(CLASSES)
    assert [sample.path for sample in val.samples] == [
        RemoteFile(f"{files.address}/set/videos/{name}")
        for name in sorted(path.name for path in (files.folder / "set" / "videos").glob("val-*"))
    ]
    assert {name for name in files.fetched() if (files.folder / name).is_file()} == {"set/train.csv", "set/val.csv"}
    assert evaluation_split(f"{files.address}/set") == "val"


def test_a_list_at_an_address_is_split_here(files: Files):
    train, val = read_training_sets(f"{files.address}/set/train.csv")
    assert (len(train.samples), len(val.samples)) == (2, 2)


def test_a_list_here_may_name_addresses_and_a_prefix_may_be_one(files: Files, tmp_path: Path):
    name = next((files.folder / "set" / "videos").glob("val-moving_up*")).name
    address = f"{files.address}/set/videos/{name}"
    (tmp_path / "list.csv").write_text(f"path,label,start,end\n{address},a,0,0.3\n{address},b,0.3,0.6\n")
    first, second = read_set(tmp_path / "list.csv").samples
    assert first.path == Stretch(RemoteFile(address), 0, 0.3)
    assert second.label == 1
    (tmp_path / "names.csv").write_text(f"{name},a\n")
    prefixed = read_set(tmp_path / "names.csv", lists=ListConfig(prefix=f"{files.address}/set/videos/"))
    assert prefixed.samples[0].path == RemoteFile(address)


def test_lists_and_names_of_classes_may_be_given_at_addresses(files: Files, tmp_path: Path):
    (files.folder / "names.txt").write_text("moving_up\nclosing_something\n")
    address = f"{files.address}/set"
    lists = ListConfig(train=f"{address}/train.csv", val=f"{address}/val.csv", labels=f"{files.address}/names.txt")
    train, val = read_training_sets(tmp_path, lists=lists)
    assert train.classes == val.classes == ["moving_up", "closing_something"]
    (files.folder / "set" / "classes.txt").write_text("moving_up\nclosing_something\n")
    assert read_set(f"{address}/val.csv").classes == ["moving_up", "closing_something"]


@pytest.mark.parametrize("index", ["all.txt", "all.json"])
def test_a_file_that_names_shards(shards: Files, index: str):
    urls = ["train-0000.tar", f"{shards.address}/shards/val-0000.tar"]
    (shards.folder / "shards" / "all.json").write_text(json.dumps({"shardlist": [{"url": url} for url in urls]}))
    train, val = read_training_sets(f"{shards.address}/shards/{index}")
    assert (len(train.samples), len(val.samples)) == (4, 2)
    member = val.samples[0].path
    assert isinstance(member, TarMember)
    assert member.shard == RemoteFile(f"{shards.address}/shards/val-0000.tar")
    assert len(read_set(f"{shards.address}/shards/{index}").samples) == 6


def test_one_shard_at_an_address(shards: Files):
    assert len(read_set(f"{shards.address}/shards/val-0000.tar").samples) == 2
    with pytest.raises(MediaError, match=r"none\.tar: there is no such file; is the address right"):
        read_set(f"{shards.address}/shards/none.tar")


def test_a_folder_without_anything_is_refused(files: Files):
    with pytest.raises(DataError, match="/nothing has neither lists"):
        read_training_sets(f"{files.address}/nothing")


def test_a_list_whose_files_are_not_there_is_refused_after_a_few_questions(files: Files):
    rows = [f"none{i}.mp4,a" for i in range(500)]
    (files.folder / "wrong.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"wrong.csv: none of its 500 files exists; looked for http://127"):
        read_set(f"{files.address}/wrong.csv")
    assert len([line for line in files.asked if "none" in line]) < 40


def test_folders_of_frames_and_ids_are_refused(files: Files):
    (files.folder / "frames.txt").write_text("set/val.csv 8 0\nset/train.csv 8 1\n")
    with pytest.raises(DataError, match="is a folder of frames, which is not read at an address; pack the set into"):
        read_set(f"{files.address}/frames.txt")
    (files.folder / "ids.csv").write_text("label,youtube_id,time_start,time_end,split\na,abcdefghijk,0,10,train\n")
    with pytest.raises(DataError, match="names videos by their ids, which are looked for in all of a folder; http"):
        read_set(f"{files.address}/ids.csv")


def test_the_verbs_read_addresses(
    shards: Files, checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    address = f"{shards.address}/set"
    video = next((shards.folder / "set" / "videos").glob("val-moving_up*")).name
    predicted = tiny.run_command("predict", checkpoint, f"{address}/videos/{video}", "--json", "--cache-gb", 1)
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)[0]["path"] == f"{address}/videos/{video}"
    checked = tiny.run_command("check-data", address, "--json", "--workers", 1)
    assert checked.returncode == 0, checked.stderr + checked.stdout
    assert json.loads(checked.stdout)["data"] == address
    with open(tmp_path / "set-check" / "files.csv", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["path"].startswith(f"{address}/videos/")
    evaluated = tiny.run_command("evaluate", checkpoint, address, "--workers", 1, "--out", "out")
    assert evaluated.returncode == 0, evaluated.stderr
    options = ("--layer", "stage4", "--workers", 0, "--out", "features")
    features = tiny.run_command("features", checkpoint, f"{address}/videos/{video}", *options)
    assert features.returncode == 0, features.stderr


def test_a_training_on_shards_at_an_address_is_resumed(shards: Files, tmp_path: Path):
    address = f"{shards.address}/shards/all.txt"
    started = tiny.run_command("train", address, "--out", tmp_path / "run", *tiny.OPTIONS, "--cache-gb", 1)
    assert started.returncode == 0, started.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["data"] == address
    resumed = tiny.run_command("train", "--resume", "--out", tmp_path / "run", "--cache-gb", 1)
    assert resumed.returncode in (0, 1), resumed.stderr
    assert "no longer there" not in resumed.stderr
    evaluated = tiny.run_command("evaluate", tmp_path / "run" / "best", address, "--workers", 0)
    assert evaluated.returncode == 0, evaluated.stderr


@pytest.mark.parametrize("verb", ["visualize", "segment"])
def test_other_verbs_refuse_addresses_as_before(verb: str, checkpoint: Path):
    result = tiny.run_command(verb, checkpoint, "https://host/a.mp4")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "https://host/a.mp4 is an address, and only files are read" in result.stderr


def test_a_host_that_is_down_is_one_line_on_the_command_line(checkpoint: Path, tmp_path: Path):
    result = tiny.run_command("train", "http://127.0.0.1:9/set", "--out", tmp_path / "run")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "127.0.0.1:9/set/train.csv: the host cannot be reached; is the address right" in result.stderr


def test_a_shelf_may_have_files_at_addresses(files: Files, checkpoint: Path, tmp_path: Path):
    videos = sorted((files.folder / "set" / "videos").glob("val-*"))
    addresses = [f"{files.address}/set/videos/{video.name}" for video in videos]
    options = ("--out", tmp_path / "rows.jsonl", "--workers", 0)
    result = tiny.run_command("predict", checkpoint, *addresses, f"{files.address}/none.mp4", *options)
    assert result.returncode == 1, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["path"] for row in rows} == {*addresses, f"{files.address}/none.mp4"}
    (broken,) = [row for row in rows if "none.mp4" in row["path"]]
    assert "there is no such file; is the address right?" in str(broken)


def test_a_check_and_a_calibration_keep_no_secret_of_the_address(checkpoint: Path, files: Files, tmp_path: Path):
    secret, folders = files.address.replace("//", "//me:hush@") + "/set", (tmp_path / "check", tmp_path / "calibrated")
    checked = tiny.run_command("check-data", secret, "--out", folders[0], "--json")
    done = tiny.run_command("calibrate", checkpoint, f"{secret}/val.csv?hush", "--out", folders[1], "--workers", 0)
    assert (checked.returncode, done.returncode) == (0, 0), checked.stderr + done.stderr
    written = b"".join(path.read_bytes() for folder in folders for path in folder.iterdir())
    assert f"{files.address}/set".encode() in written
    assert b"hush" not in written + (checked.stdout + done.stdout + checked.stderr + done.stderr).encode()
