"""What a check of a data set finds, keeps and writes, and what it outlives."""

import csv
import json
import os
import shutil
import signal
import struct
import sys
import tarfile
import time
import types
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import fresh
import misbehaving
import numpy as np
import pytest
import tiny
from PIL import Image

from morphmlp.analysis.data_check import check as checking
from morphmlp.analysis.data_check import workers
from morphmlp.analysis.data_check.check import check_data
from morphmlp.analysis.data_check.examine import Depth, Facts, Job, examine, uneven
from morphmlp.analysis.data_check.journal import Journal, stamp_of
from morphmlp.analysis.data_check.report import CheckedFile, CheckReport
from morphmlp.analysis.data_check.tables import check_tables, duration, file_size, remarks
from morphmlp.analysis.data_check.workers import cause_of_death, examine_all
from morphmlp.commands.check_data import run as run_verb
from morphmlp.config import ListConfig, MaskConfig
from morphmlp.data.media.sources import FrameFolder
from morphmlp.data.media.video import probe
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.errors import ConfigError, DataError, UserError

CLASSES = ("moving_up", "moving_down", "moving_apart")


@pytest.fixture
def videos(data: Path, tmp_path: Path) -> Path:
    """Two training videos and one validation video of each of three classes."""
    root = tmp_path / "set"
    for split in ("train", "val"):
        for name in CLASSES:
            shutil.copytree(data / split / name, root / split / name)
    return root


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., CheckReport]:
    """Checks a folder with one worker; the results are in tmp_path/out."""
    return lambda root, **options: check_data(root, tmp_path / "out", **{"workers": 1, **options})


def row_of(report: CheckReport, name: str) -> CheckedFile:
    return next(row for row in report.files if Path(row.path).name == name)


def encode(path: Path, *, num_frames: int = 20, rate: int = 25, times_ms: list[int] | None = None) -> Path:
    """A grey video; `times_ms` are the times of the frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "yuv420p"
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(len(times_ms) if times_ms else num_frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 5 * number, np.uint8), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn_by_quarter(path: Path) -> None:
    """Writes a display matrix of a quarter turn into an MP4."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def overwrite_frames(path: Path, *, first: int, last: int) -> None:
    """Fills the frames `first` to `last` of a video with nonsense."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[first : last + 1]:
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)


def cut_off(path: Path, *, after: int) -> None:
    """Writes the file again with its index in front, and cuts it in its frame number `after`."""
    whole = path.with_name("whole.mp4")
    with av.open(str(path)) as source, av.open(str(whole), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(whole)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(whole.read_bytes()[: positions[after] + 3])
    whole.unlink()


# What is found


def test_a_sound_set_is_counted_and_measured(videos: Path, check: Callable[..., CheckReport]):
    report = check(videos)
    infos = [probe(row.path) for row in report.files]
    assert (len(report.files), len(report.readable), report.unit, report.refusal) == (9, 9, "videos", None)
    assert report.class_counts() == {name: {"train": 2, "val": 1} for name in sorted(CLASSES)}
    assert [row.facts.frames for row in report.files] == [info.num_frames for info in infos]
    assert {(row.facts.width, row.facts.height, row.facts.fps, row.facts.codec) for row in report.files} == {
        (96, 80, 12.0, "h264")
    }
    frames = sorted(info.num_frames for info in infos)
    assert report.spread("frames") == (frames[0], frames[4], frames[-1])
    assert report.duration_s == pytest.approx(sum(frames) / 12)
    assert report.imbalance == 1
    assert not report.duplicates
    assert not any(row.notes for row in report.files)


def damage(kind: str, path: Path) -> None:
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 50)
    elif kind == "missing":
        path.unlink()
        path.symlink_to("nowhere.mp4")
    elif kind == "broken within":
        overwrite_frames(path, first=4, last=probe(path).num_frames - 1)
    elif kind == "forbidden":
        path.chmod(0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "cannot be opened as a video"),
        ("empty", "is empty (0 bytes)"),
        ("text", "is a text file, not a video|cannot be opened as a video"),
        ("missing", "cannot be opened (No such file or directory)"),
        ("broken within", "the stream breaks after"),
        ("forbidden", "Permission denied"),
    ],
)
def test_a_damaged_file_is_broken_and_the_others_are_not(
    videos: Path, check: Callable[..., CheckReport], kind: str, reason: str
):
    if kind == "forbidden" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = videos / "train" / "moving_up" / "moving_up_0002.mp4"
    damage(kind, path)
    report = check(videos)
    assert [row.path for row in report.broken] == [str(path)]
    assert any(part in str(report.broken[0].facts.reason) for part in reason.split("|"))
    assert report.class_counts()["moving_up"] == {"train": 1, "val": 1}


def test_only_a_deep_check_sees_a_break_after_the_last_sampled_frame(videos: Path, check: Callable[..., CheckReport]):
    path = videos / "train" / "moving_up" / "moving_up_0001.mp4"
    last = probe(path).num_frames - 1
    overwrite_frames(path, first=last, last=last)
    assert not check(videos, frames=2).noted("incomplete")
    deep = check(videos, frames=2, all_frames=True)
    assert not deep.broken
    assert [row.path for row in deep.noted("incomplete")] == [str(path)]
    assert (deep.noted("incomplete")[0].facts.frames, deep.noted("incomplete")[0].facts.stated) == (last, last + 1)


def test_half_a_download_is_incomplete_by_its_header(videos: Path, check: Callable[..., CheckReport]):
    path = videos / "train" / "moving_up" / "moving_up_0001.mp4"
    num_frames = probe(path).num_frames
    cut_off(path, after=num_frames // 2)
    report = check(videos)
    assert [row.path for row in report.noted("incomplete")] == [str(path)]
    facts = report.noted("incomplete")[0].facts
    assert (facts.stated, facts.reason) == (num_frames, None)
    assert (facts.frames or 0) < num_frames
    assert any(f"{facts.frames} of {num_frames} frames can be read" in remark for remark in remarks(report))


def test_unusual_videos_are_noted_and_not_broken(videos: Path, check: Callable[..., CheckReport]):
    folder = videos / "train" / "moving_up"
    encode(folder / "short.mp4", num_frames=15, rate=12)
    encode(folder / "just_long_enough.mp4", num_frames=16, rate=12)
    encode(folder / "fast.mp4", rate=60)
    uneven_ms = [0, 10, 20, 30, 500, 510, 520, 900, 910, 1000, 1100, 1150, 1160, 1170, 1300, 1400, 1410, 1420, 1600]
    encode(folder / "uneven.mkv", times_ms=uneven_ms)
    turn_by_quarter(encode(folder / "turned.mp4", rate=12))
    report = check(videos)
    assert not report.broken
    assert {Path(row.path).name: row.notes for row in report.files if row.notes} == {
        "short.mp4": ("short",),
        "fast.mp4": ("odd rate",),
        "uneven.mkv": ("variable rate",),
        "turned.mp4": ("rotated",),
    }
    turned = row_of(report, "turned.mp4").facts
    assert (turned.width, turned.height, turned.rotation) == (48, 64, 270)
    text = "\n".join(remarks(report))
    assert "short: 1 video with fewer than 16 frames, the shortest with 15" in text
    assert f"such as {folder / 'fast.mp4'} with 60" in text
    assert f"variable rate: 1 video, such as {folder / 'uneven.mkv'}" in text


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], False),
        ([5], False),
        ([0, 512, 1024, 1536], False),
        ([0, 33, 67, 100, 133, 167, 200], False),  # 30 a second, in milliseconds
        ([0, 3, 7, 10, 13, 17, 20], False),  # 300 a second, in milliseconds
        ([1536, 0, 1024, 512], False),  # in the order of decoding
        ([0, 40, 80, 200, 240, 400], True),
        ([*range(0, 1000, 10), 1500], False),  # one gap in a hundred
    ],
)
def test_a_rate_is_variable_if_more_than_a_few_gaps_differ(times: list[int], expected: bool):
    assert uneven(np.array(times, dtype=np.int64)) is expected


def test_copies_are_found_by_content_and_leaks_and_conflicts_among_them(
    videos: Path, check: Callable[..., CheckReport]
):
    train, val = videos / "train", videos / "val"
    shutil.copy(train / "moving_up" / "moving_up_0001.mp4", val / "moving_up" / "leak.mp4")
    shutil.copy(train / "moving_down" / "moving_down_0001.mp4", train / "moving_apart" / "other_label.mp4")
    report = check(videos)
    groups = [{Path(row.path).name for row in group} for group in report.duplicates]
    leak, conflict = {"moving_up_0001.mp4", "leak.mp4"}, {"moving_down_0001.mp4", "other_label.mp4"}
    assert sorted(map(sorted, groups)) == sorted(map(sorted, (leak, conflict)))
    assert [{Path(row.path).name for row in group} for group in report.leaks] == [leak]
    assert [{Path(row.path).name for row in group} for group in report.conflicts] == [conflict]
    assert "duplicates: 2 videos with a copy in another split" in "\n".join(remarks(report))


def test_large_files_that_only_begin_alike_are_no_copies(tmp_path: Path, check: Callable[..., CheckReport]):
    for name in ("a", "b"):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(0).integers(0, 256, (180, 180, 3), dtype=np.uint8)
            noise[0, -1] = 10 * number  # the upper row is the last in the file
            Image.fromarray(noise).save(folder / f"{number}.bmp")  # 97 kB, uncompressed
    report = check(tmp_path / "set")
    groups = sorted(sorted(row.path[-7:] for row in group) for group in report.duplicates)
    assert groups == [["a/0.bmp", "b/0.bmp"], ["a/1.bmp", "b/1.bmp"]]


def test_imbalance_and_classes_without_files_come_with_advice(videos: Path, check: Callable[..., CheckReport]):
    for number in range(8):
        encode(videos / "train" / "moving_up" / f"more_{number}.mp4", num_frames=20 + number, rate=12)
    shutil.rmtree(videos / "val" / "moving_apart")
    report = check(videos)
    assert report.imbalance == 5
    text = "\n".join(remarks(report))
    assert "5.0 times the files of the smallest: train with --balanced true" in text
    assert "1 of 3 classes without readable files in val: moving_apart" in text


def test_an_empty_class_folder_is_named_and_the_rest_checked(videos: Path, check: Callable[..., CheckReport]):
    (videos / "train" / "nothing").mkdir()
    report = check(videos)
    assert len(report.readable) == 9
    assert report.empty_classes("train") == ["nothing"]
    assert "nothing" in str(report.refusal)
    train, _ = read_training_sets(report.clean[0].parent)
    assert [train.classes[sample.label] for sample in train.samples][-1] == "moving_up"


def test_files_that_training_does_not_take_are_counted_by_ending(videos: Path, check: Callable[..., CheckReport]):
    (videos / "train" / "moving_up" / "download.mp4.part").write_bytes(b"x")
    (videos / "train" / "moving_up" / ".hidden").write_bytes(b"x")
    (videos / "train" / "noending").write_bytes(b"x")
    encode(videos / "loose.mp4")
    report = check(videos)
    assert report.left_out == {".part": 1, "": 1, ".mp4": 1}
    text = "\n".join(remarks(report))
    assert "1 file not taken, outside the folders of the classes: .mp4 (1)" in text
    assert ".part (1)" in text
    assert "no ending (1)" in text


def test_loose_videos_are_checked_without_labels(videos: Path, check: Callable[..., CheckReport]):
    folder = videos / "train" / "moving_up"
    (folder / "bad.mp4").write_bytes(b"")
    report = check(folder)
    assert (len(report.readable), len(report.broken), report.classes, report.clean) == (2, 1, [], [])
    assert "no labels" in str(report.clean_note)


def test_images_are_decoded_as_images(tmp_path: Path, check: Callable[..., CheckReport]):
    for name in ("red", "blue"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40, 30 + number), name).save(tmp_path / "set" / name / f"{name}{number}.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "set" / "red" / "turned.jpg", exif=exif)
    Image.new("RGB", (300, 10)).save(tmp_path / "set" / "red" / "strip.png")
    cut = tmp_path / "set" / "blue" / "blue0.jpg"
    cut.write_bytes(cut.read_bytes()[:-40])
    report = check(tmp_path / "set")
    assert report.unit == "images"
    assert {Path(row.path).name for row in report.broken} == {"strip.png", "blue0.jpg"}
    turned = row_of(report, "turned.jpg")
    assert (turned.facts.width, turned.facts.height, turned.facts.rotation, turned.facts.codec) == (30, 40, 270, "jpeg")
    assert turned.notes == ("rotated",)
    assert report.spread("duration_s") is None


def test_annotations_are_checked_with_their_images(tmp_path: Path, check: Callable[..., CheckReport]):
    root = tmp_path / "set"
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    masks = {"a": [[0, 0], [1, 255]], "b": [[0, 0], [0, 1]], "wrong": [[0, 7], [0, 0]], "small": [[0]]}
    for name, values in masks.items():
        Image.new("RGB", (2, 2)).save(root / "images" / f"{name}.png")
        Image.fromarray(np.array(values, np.uint8)).save(root / "annotations" / f"{name}.png")
    report = check(root)
    reasons = {Path(row.path).stem: str(row.facts.reason) for row in report.broken}
    assert reasons.keys() == {"wrong", "small"}
    assert reasons["wrong"].startswith("its annotation holds 7, but the 3 classes are 0 to 2")
    assert "is 1 x 1 px, but its image is 2 x 2 px" in reasons["small"]
    assert report.class_pixels() == pytest.approx({"sky": 5 / 7, "road": 2 / 7, "car": 0})
    assert "1 of 3 classes without a pixel: car" in "\n".join(remarks(report))
    ignoring = check(root, masks=MaskConfig(ignore_index=7))  # another way of reading: nothing is taken over
    assert ignoring.taken_over == 0
    assert {Path(row.path).stem for row in ignoring.broken} == {"small"}
    assert str(report.clean_note).endswith("mend or remove the broken pairs, or set the option that their reasons name")
    for folder in ("images", "annotations"):
        for name in ("wrong", "small"):
            (root / folder / f"{name}.png").unlink()
    good = check(root)
    assert (good.sound, good.broken) == (True, [])
    assert str(good.clean_note).endswith("all pairs can be read, train on the folder itself")
    for name in ("a", "b"):
        Image.fromarray(np.array([[0, 0], [0, 255]], np.uint8)).save(root / "annotations" / f"{name}.png")
    refused = check(root)  # as by train
    assert (refused.sound, refused.broken) == (False, [])
    assert "2 of 3 classes without a pixel in the 1 training annotations" in str(refused.refusal)


def test_no_cell_of_the_table_is_a_formula(videos: Path, check: Callable[..., CheckReport], tmp_path: Path):
    for split in ("train", "val"):
        (videos / split / "moving_up").rename(videos / split / "=moving_up")
    report = check(videos)
    assert report.sound
    with open(tmp_path / "out" / "files.csv", newline="") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert labels == {"'=moving_up", "moving_down", "moving_apart"}
    assert read_set(tmp_path / "out", split="val").classes == ["=moving_up", "moving_apart", "moving_down"]


def test_folders_of_frames_are_videos(tmp_path: Path, check: Callable[..., CheckReport]):
    for name, count in (("run/1", 20), ("run/2", 3), ("jump/1", 17), ("jump/2", 16)):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (32, 24), (number, 0, 0)).save(folder / f"img_{number:05d}.jpg")
    (tmp_path / "set" / "jump" / "1" / "img_00003.jpg").write_bytes(b"")  # of four from 17, 2, 6, 10 and 14 are sampled
    as_images = check(tmp_path / "set")
    assert "give --lists.frame_folders true" in "\n".join(remarks(as_images))
    report = check(tmp_path / "set", lists=ListConfig(frame_folders=True), frames=4)
    assert [(row.path[-6:], row.facts.frames, row.notes) for row in sorted(report.files, key=lambda r: r.path)] == [
        ("jump/1", 17, ()),
        ("jump/2", 16, ()),
        ("/run/1", 20, ()),
        ("/run/2", 3, ("short",)),
    ]
    assert (len(report.clean), report.clean_note) == (2, None)
    deep = check(tmp_path / "set", lists=ListConfig(frame_folders=True), frames=4, all_frames=True)
    assert [(row.path[-6:], row.facts.reason) for row in deep.broken] == [
        ("jump/1", "frame img_00003.jpg is empty (0 bytes)")
    ]


# What is written


def test_the_clean_lists_are_what_training_reads(videos: Path, check: Callable[..., CheckReport]):
    damage("empty", videos / "train" / "moving_up" / "moving_up_0001.mp4")
    report = check(videos)
    folder = report.clean[0].parent
    assert [path.name for path in report.clean] == ["train.csv", "val.csv"]
    read, wanted = read_training_sets(folder), read_training_sets(videos)
    for found, whole in zip(read, wanted, strict=True):
        assert found.classes == whole.classes
        assert all(Path(sample.path).is_absolute() for sample in found.samples)
    assert len(read[0].samples) == 5
    assert {(str(s.path), s.label) for s in wanted[0].samples} - {(str(s.path), s.label) for s in read[0].samples} == {
        (str(videos / "train" / "moving_up" / "moving_up_0001.mp4"), 2)
    }


def test_clean_lists_keep_an_order_of_classes_that_is_not_alphabetical(videos: Path, check: Callable[..., CheckReport]):
    (videos / "classes.txt").write_text("zebra\nmoving_up\nmoving_down\n")
    for split in ("train", "val"):
        rows = [f"{split}/{name}/{name}_0001.mp4,{label}" for label, name in ((1, "moving_up"), (2, "moving_down"))]
        (videos / f"{split}.csv").write_text("\n".join(rows))
    report = check(videos)
    train = read_set(report.clean[0].parent, split="train")
    assert train.classes == ["zebra", "moving_up", "moving_down"]
    assert [(Path(sample.path).parent.name, sample.label) for sample in train.samples] == [
        ("moving_up", 1),
        ("moving_down", 2),
    ]
    assert "1 of 3 classes without readable files in train: zebra" in "\n".join(remarks(report))


def test_a_set_without_splits_is_split_as_training_would(videos: Path, check: Callable[..., CheckReport]):
    train, val = read_training_sets(videos / "train")
    damage("empty", Path(val.samples[0].path))
    report = check(videos / "train")
    found = read_set(report.clean[0].parent, split="train")
    assert [str(sample.path) for sample in found.samples] == [str(sample.path) for sample in train.samples]
    assert len(read_set(report.clean[0].parent, split="val").samples) == 2


def test_names_that_a_list_would_change_are_told(videos: Path, check: Callable[..., CheckReport]):
    for split in ("train", "val"):
        (videos / split / "moving_up").rename(videos / split / "moving_up ")
    assert "rename" in str(check(videos).clean_note)


def test_every_file_has_a_row_in_the_table(videos: Path, check: Callable[..., CheckReport], tmp_path: Path):
    broken = videos / "val" / "moving_up" / "moving_up_0001.mp4"
    damage("empty", broken)
    check(videos)
    with open(tmp_path / "out" / "files.csv", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 9
    assert (rows[str(broken)]["status"], rows[str(broken)]["reason"]) == ("broken", "is empty (0 bytes)")
    row = rows[str(videos / "train" / "moving_down" / "moving_down_0001.mp4")]
    info = probe(row["path"])
    assert (row["split"], row["label"], row["status"], row["codec"]) == ("train", "moving_down", "ok", "h264")
    assert (row["frames"], row["fps"], row["width"]) == (str(info.num_frames), "12.0", "96")
    assert int(row["bytes"]) == os.path.getsize(row["path"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["files"], report["readable"]) == (9, 8)
    assert report["broken"] == [{"path": str(broken), "reason": "is empty (0 bytes)"}]


def test_results_do_not_go_into_the_data_or_among_other_files(videos: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="lies in the data"):
        check_data(videos, videos / "results")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("all of it")
    with pytest.raises(DataError, match="holds something else than a check"):
        check_data(videos, tmp_path / "thesis")
    assert tiny.files_below(tmp_path / "thesis") == ["chapter.txt"]


def test_what_a_killed_check_left_half_written_is_removed(videos: Path, check: Callable, tmp_path: Path):
    check(videos)
    (tmp_path / "out" / ".files.csv-x1y2").write_text("half")
    assert check(videos).taken_over == 9
    assert not (tmp_path / "out" / ".files.csv-x1y2").exists()


def test_a_folder_without_media_is_refused(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("none")
    for root in (tmp_path / "set", tmp_path / "nowhere"):
        with pytest.raises(UserError, match=root.name):
            check_data(root)
    assert tiny.files_below(tmp_path) == ["set", "set/notes.txt"]


# The journal


def test_a_second_check_looks_only_at_what_changed_or_was_broken(videos: Path, check: Callable[..., CheckReport]):
    bad, changed = (videos / "train" / "moving_up" / f"moving_up_000{number}.mp4" for number in (1, 2))
    content = bad.read_bytes()
    damage("empty", bad)
    first = check(videos)
    assert (first.taken_over, len(first.broken)) == (0, 1)
    shutil.copy(videos / "train" / "moving_down" / "moving_down_0001.mp4", changed)
    encode(videos / "train" / "moving_up" / "new.mp4")
    second = check(videos)
    assert (second.taken_over, len(second.files), len(second.broken)) == (7, 10, 1)
    assert len(second.duplicates) == 1
    bad.write_bytes(content)
    third = check(videos)
    assert (third.taken_over, len(third.broken)) == (9, 0)
    assert check(videos, fresh=True).taken_over == 0


def test_a_frame_that_is_written_over_is_looked_at_again(tmp_path: Path, check: Callable[..., CheckReport]):
    for name in ("a/1", "a/2", "b/1", "b/2"):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (32, 24), (number, 0, 0)).save(folder / f"{number}.png")
    options = {"lists": ListConfig(frame_folders=True), "frames": 4}
    check(tmp_path / "set", **options)
    assert check(tmp_path / "set", **options).taken_over == 4
    frame = tmp_path / "set" / "b/1/2.png"
    folder_before, size = frame.parent.stat().st_mtime_ns, frame.stat().st_size
    frame.write_bytes(bytes(size))
    assert frame.parent.stat().st_mtime_ns == folder_before
    os.utime(frame, ns=(0, 0))  # clocks of file systems are coarse
    report = check(tmp_path / "set", **options)
    assert (report.taken_over, [row.path[-3:] for row in report.broken]) == (3, ["b/1"])


@pytest.mark.parametrize("change", ["grow", "rename", "add"])
def test_a_folder_of_frames_is_stamped_with_all_its_frames(tmp_path: Path, change: str):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"x")
        os.utime(tmp_path / f"{number}.png", ns=(5, 5))
    job = Job(tmp_path, "video")
    before = stamp_of(job)
    assert before == stamp_of(Job(FrameFolder(tmp_path, None, 3), "video"))
    if change == "grow":
        (tmp_path / "1.png").write_bytes(b"xx")
    elif change == "rename":
        (tmp_path / "1.png").rename(tmp_path / "7.png")
    else:
        (tmp_path / "9.png").touch()
    assert stamp_of(job) != before
    assert stamp_of(Job(tmp_path / "gone", "video")) is None


def test_another_depth_is_another_check(videos: Path, check: Callable[..., CheckReport]):
    check(videos)
    assert check(videos, frames=4).taken_over == 0
    assert check(videos, all_frames=True).taken_over == 0
    assert check(videos).taken_over == 9


def test_half_a_line_and_a_damaged_one_are_dropped(videos: Path, check: Callable[..., CheckReport], tmp_path: Path):
    check(videos)
    journal = tmp_path / "out" / checking.JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]) + b'{"nonsense": 1}\n' + lines[5][: len(lines[5]) // 2])
    assert check(videos).taken_over == 5
    assert check(videos).taken_over == 9


def test_a_journal_holds_names_that_are_no_text(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\xe9.mp4"))
    job, facts = Job(path, "video"), Facts(frames=3)
    with Journal(tmp_path / "journal", Depth()) as journal:
        journal.add(job, [1, 2], facts)
    with Journal(tmp_path / "journal", Depth()) as journal:
        assert journal.known(job, [1, 2]) == facts
        assert journal.known(job, [1, 3]) is None
        assert journal.known(job, None) is None


# Workers that die, hang, or outlive


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_that_dies_takes_its_file_along_and_no_other(tmp_path: Path, workers: int):
    names = ["a", "kills", "b", "exits", "c", "dies once", "d", "e"]
    jobs = [Job(Path(name), "video") for name in names]
    found = dict(examine_all(jobs, partial(misbehaving.look, folder=tmp_path), workers=workers, timeout_s=60))
    expected = {i: Facts(codec=name) for i, name in enumerate(names)}
    expected[1] = Facts(reason="the decoder crashed (SIGKILL)")
    expected[3] = Facts(reason="the decoder crashed (exit code 3)")
    assert found == expected


def test_a_file_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The clock goes on only while the file hangs, so no other is given up, however slow the machine is."""
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    wait, pid = workers.wait, tmp_path / "pid"

    def wait_or_advance(connections: list, remaining: float | None) -> list:
        if remaining and pid.exists() and pid.read_text().endswith("\n") and is_running(int(pid.read_text())):
            clock.now += remaining
            return []
        return wait(connections, None if remaining is None else 0.01)

    monkeypatch.setattr(workers, "time", clock)
    monkeypatch.setattr(workers, "wait", wait_or_advance)
    jobs = [Job(Path(name), "video") for name in ("hangs", "a", "b")]
    found = dict(examine_all(jobs, partial(misbehaving.look, folder=tmp_path), workers=1, timeout_s=0.5))
    assert found[0].reason == "no result within 0.5 s: decoding was stopped"
    assert (found[1], found[2]) == (Facts(codec="a"), Facts(codec="b"))
    assert not is_running(int(pid.read_text()))


def test_processes_are_forked_from_one_that_has_loaded_the_decoder(tmp_path: Path):
    """A wrong name of what to load would be passed over in silence, and each process would load it anew."""
    look = partial(misbehaving.look, folder=tmp_path)
    found = dict(examine_all([Job(Path("server"), "video")], look, workers=1, timeout_s=60))
    assert found == {0: Facts(codec="decodes")}


def test_processes_that_cannot_start_end_the_check():
    def vanished(job: Job) -> Facts:
        raise AssertionError

    module = types.ModuleType("vanished")  # which no other process can import
    module.vanished, vanished.__module__, vanished.__qualname__ = vanished, "vanished", "vanished"  # type: ignore[attr-defined]
    sys.modules["vanished"] = module
    try:
        with pytest.raises(UserError, match=r"cannot be started \(exit code 1\); .* fewer --workers"):
            list(examine_all([Job(Path("a"), "video")], vanished, workers=1, timeout_s=60))
    finally:
        del sys.modules["vanished"]


def test_causes_of_death_are_named():
    assert [cause_of_death(code) for code in (-11, -9, 3)] == ["SIGSEGV", "SIGKILL", "exit code 3"]


def is_running(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def start(script: str, *arguments: object) -> fresh.Process:
    return fresh.start([sys.executable, "-W", "error", "-c", script, *arguments], env=tiny.environment())


def test_a_worker_that_hangs_does_not_outlive_a_killed_check(tmp_path: Path):
    script = (
        "import sys, misbehaving; from functools import partial; from pathlib import Path\n"
        "from morphmlp.analysis.data_check.examine import Job\n"
        "from morphmlp.analysis.data_check.workers import examine_all\n"
        "look = partial(misbehaving.look, folder=Path(sys.argv[1]))\n"
        "list(examine_all([Job(Path('hangs'), 'video')], look, workers=1, timeout_s=600))\n"
    )
    process = start(script, tmp_path)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    worker = int((tmp_path / "pid").read_text())
    assert is_running(worker)
    process.kill()
    process.communicate()
    wait_for(lambda: not is_running(worker))


# The verb, which sends itself a signal after ten files; Python started in the background of a shell ignores SIGINT.
STOPPED = """
import os, signal, sys
from morphmlp.analysis.data_check.journal import Journal
from morphmlp.commands.check_data import run

signal.signal(signal.SIGINT, signal.default_int_handler)
add, calls = Journal.add, []

def add_and_stop(self, *arguments):
    add(self, *arguments)
    calls.append(0)
    if len(calls) == 10:
        os.kill(os.getpid(), int(sys.argv[1]))

Journal.add = add_and_stop
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_check_that_is_stopped_goes_on_where_it_was(
    data: Path, tmp_path: Path, check: Callable[..., CheckReport], signal_number: int
):
    source = data / "train" / "moving_up" / "moving_up_0001.mp4"
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(15):
            os.link(source, tmp_path / "set" / name / f"{number}.mp4")
    journal = tmp_path / "out" / checking.JOURNAL
    process = start(STOPPED, int(signal_number), tmp_path / "set", "--out", tmp_path / "out", "--workers", 1)
    _, err = process.communicate()
    assert process.returncode != 0
    if signal_number == signal.SIGINT:
        assert f"what was found so far is in {tmp_path / 'out'}; the same command goes on from there" in err
    assert not (tmp_path / "out" / "report.json").exists()
    assert journal.read_bytes().count(b"\n") == 10
    report = check(tmp_path / "set")
    assert (report.taken_over, len(report.readable)) == (10, 30)


# The verb


def test_the_verb_tells_broken_files_and_the_clean_list(videos: Path, capfd: pytest.CaptureFixture[str]):
    broken = videos / "train" / "moving_up" / "moving_up_0001.mp4"
    damage("empty", broken)
    status = run_verb([str(videos), "--workers", "1"])
    out, err = capfd.readouterr()
    folder = f"{videos}-check"
    assert status == 1
    assert "9 videos" in out
    assert f"{broken}   is empty (0 bytes)" in out
    assert "lists of the readable files, without the 1 broken: train.csv and val.csv" in err
    assert f"morphmlp train {folder}" in err
    assert sorted(os.listdir(folder)) == sorted(
        ["classes.txt", "files.csv", "journal.jsonl", "report.json", "train.csv", "val.csv"]
    )


def test_the_verb_prints_json_and_ends_with_0_where_all_is_well(
    videos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    status = run_verb([str(videos), "--workers", "1", "--json", "--out", str(tmp_path / "out"), "--frames", "30"])
    out, _ = capfd.readouterr()
    report = json.loads(out)
    assert (status, report["files"], report["broken"], report["short"]) == (0, 9, [], 9)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())


def test_the_verb_ends_with_1_where_training_refuses_the_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    for split in ("train", "val"):
        (tmp_path / "set" / split).mkdir(parents=True)
        with tarfile.open(tmp_path / "set" / split / "0.tar", "w") as archive:
            for number in range(4):
                path = tmp_path / f"{number}.png"
                Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
                (tmp_path / f"{number}.cls").write_text("ab"[number % 2])
                archive.add(path, path.name)
                archive.add(tmp_path / f"{number}.cls", f"{number}.cls")
    arguments = [str(tmp_path / "set"), "--workers", "1", "--out", str(tmp_path / "out")]
    assert run_verb(arguments) == 0
    shard = tmp_path / "set" / "train" / "0.tar"
    os.truncate(shard, 1500)
    capfd.readouterr()
    assert run_verb(arguments) == 1
    out = capfd.readouterr().out
    assert f"training does not take this set: {shard} is" in " ".join(out.split())
    assert ["train", "not", "read"] in [line.split() for line in out.splitlines()]


def test_the_verb_ends_with_1_where_the_lists_do_not_hold_the_names(videos: Path, capfd: pytest.CaptureFixture[str]):
    for split in ("train", "val"):
        (videos / split / "moving_up").rename(videos / split / "moving_up ")
    assert run_verb([str(videos), "--workers", "1"]) == 1
    assert "do not survive" in capfd.readouterr().err


def test_loose_files_are_checked_but_no_set_to_train_on(videos: Path, capfd: pytest.CaptureFixture[str]):
    assert run_verb([str(videos / "train" / "moving_up"), "--workers", "1"]) == 1
    out = " ".join(capfd.readouterr().out.split())
    assert "2 videos" in out
    assert "training does not take this set: " in out


def test_many_broken_files_are_shown_by_reason(videos: Path, check: Callable, capsys: pytest.CaptureFixture[str]):
    from morphmlp.display.tables import print_all

    for number in range(12):
        (videos / "train" / "moving_up" / f"empty_{number:02d}.mp4").write_bytes(b"")
    damage("truncated", videos / "train" / "moving_up" / "moving_up_0001.mp4")
    print_all(check_tables(check(videos)))
    out = capsys.readouterr().out
    assert "Broken: 13, by reason" in out
    assert "empty_02.mp4" in out
    assert "and 9 more" in out
    assert "empty_03.mp4" not in out


def test_durations_and_sizes_are_written_as_people_do():
    assert [duration(s) for s in (0.527, 59.99, 60, 3599, 3600, 7384)] == [
        "0.53 s",
        "59.99 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "2 h 3 min",
    ]
    assert [file_size(b) for b in (0, 999, 1500, 2_400_000, 5e12)] == ["0 B", "999 B", "1.5 kB", "2.4 MB", "5.0 TB"]


def test_what_cannot_be_foreseen_is_a_reason_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object) -> None:
        raise KeyError("odd")

    monkeypatch.setattr("morphmlp.analysis.data_check.examine.probe", fail)
    assert examine(Job(tmp_path / "x.mp4", "video"), Depth()).reason == "KeyError: 'odd'"
