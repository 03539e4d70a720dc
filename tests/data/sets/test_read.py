"""Folders and lists of labelled videos or images: what is taken, how it is split, and what is said of the unusable."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import listed, touch, write

from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.media.sources import FrameFolder, Source, TarMember, media_kind
from morphmlp.data.sets import read as datasets
from morphmlp.data.sets.class_folders import read_class_folders
from morphmlp.data.sets.find import describe_left_out, find_media
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.data.sets.splits import split_set
from morphmlp.errors import DataError

over_cases = settings(max_examples=60, deadline=None, derandomize=True)


def paths_of(videos: LabelledSet) -> set[Path]:
    return {sample.path for sample in videos.samples}


def made_set(counts: list[int]) -> LabelledSet:
    """Class i has `counts[i]` videos."""
    samples = [Sample(Path(f"{label}/{i}.mp4"), label) for label, count in enumerate(counts) for i in range(count)]
    return LabelledSet(samples, [f"class {label}" for label in range(len(counts))])


# Folders of class folders


def test_classes_and_videos_are_in_alphabetical_order(tmp_path: Path):
    touch(tmp_path, "b/2.mp4", "b/1.mp4", "B/1.mp4", "a/9.mp4", "10/1.mp4", "9/1.mp4")
    videos = read_class_folders(tmp_path)
    assert videos.classes == ["10", "9", "B", "a", "b"]
    assert listed(videos, tmp_path) == [
        ("10/1.mp4", "10"),
        ("9/1.mp4", "9"),
        ("B/1.mp4", "B"),
        ("a/9.mp4", "a"),
        ("b/1.mp4", "b"),
        ("b/2.mp4", "b"),
    ]


def test_videos_are_found_at_any_depth_and_hidden_or_other_files_are_not(tmp_path: Path):
    touch(
        tmp_path,
        "a/x.mp4",
        "a/deep/er/y.webm",
        "a/.hidden.mp4",
        "a/._x.mp4",
        "a/.cache/z.mp4",
        "a/notes.txt",
        "a/mp4",
        "a/.mp4",
        "b/x.avi",
        ".git/x.mp4",
        "readme.md",
        "loose.mp4",
    )
    (tmp_path / "a" / "folder.mp4").mkdir()
    videos = read_class_folders(tmp_path)
    assert listed(videos, tmp_path) == [("a/deep/er/y.webm", "a"), ("a/x.mp4", "a"), ("b/x.avi", "b")]


def test_a_hidden_folder_that_is_asked_for_is_searched(tmp_path: Path):
    touch(tmp_path, ".videos/x.mp4")
    assert find_media(tmp_path / ".videos") == [tmp_path / ".videos" / "x.mp4"]


@pytest.mark.parametrize(
    "ending", ["MP4", "MoV", "mkv", "AVI", "webm", "m4v", "mpg", "ts", "3gp", "JPEG", "Png", "tif"]
)
def test_endings_are_taken_in_any_case(tmp_path: Path, ending: str):
    touch(tmp_path, f"a/x.{ending}")
    assert [path.name for path in find_media(tmp_path)] == [f"x.{ending}"]


def test_names_may_hold_spaces_dots_and_any_script(tmp_path: Path):
    touch(tmp_path, "pouring tea/my clip.v2.mp4", "挥手/一.mp4", "čaj/x.mp4")
    videos = read_class_folders(tmp_path)
    assert videos.classes == ["pouring tea", "čaj", "挥手"]
    assert listed(videos, tmp_path)[0] == ("pouring tea/my clip.v2.mp4", "pouring tea")


def test_a_linked_class_folder_is_read(tmp_path: Path):
    touch(tmp_path, "disk/x.mp4", "set/a/y.mp4")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "disk")
    assert listed(read_class_folders(tmp_path / "set"), tmp_path / "set") == [("a/y.mp4", "a"), ("b/x.mp4", "b")]


def test_the_order_of_the_file_system_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, *[f"{name}/{i}.mp4" for name in "abc" for i in range(5)])
    expected = read_training_sets(tmp_path)
    walk, iterdir = os.walk, Path.iterdir
    monkeypatch.setattr(
        os, "walk", lambda *args, **kwargs: ((top, dirs, names[::-1]) for top, dirs, names in walk(*args, **kwargs))
    )
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(iterdir(self))))
    assert read_training_sets(tmp_path) == expected


# Layouts


def test_class_folders_are_split(tmp_path: Path):
    touch(tmp_path, *[f"{name}/{i}.mp4" for name in "ab" for i in range(10)])
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == ["a", "b"]
    assert Counter(sample.label for sample in train.samples) == {0: 8, 1: 8}
    assert Counter(sample.label for sample in val.samples) == {0: 2, 1: 2}


def test_train_and_val_folders_are_taken_as_they_are(tmp_path: Path):
    touch(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "train/c/3.mp4", "val/c/4.mp4", "val/a/5.mp4", "test/a/6.mp4")
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == ["a", "b", "c"]
    assert listed(train, tmp_path) == [("train/a/1.mp4", "a"), ("train/b/2.mp4", "b"), ("train/c/3.mp4", "c")]
    assert listed(val, tmp_path) == [("val/a/5.mp4", "a"), ("val/c/4.mp4", "c")]
    assert [sample.label for sample in val.samples] == [0, 2]


def test_train_and_val_lists_are_taken_as_they_are(tmp_path: Path):
    touch(tmp_path, "x/1.mp4", "x/2.mp4", "x/3.mp4")
    write(tmp_path / "train.csv", "x/1.mp4,b\nx/2.mp4,a\n")
    write(tmp_path / "val.csv", "x/3.mp4,b\n")
    train, val = read_training_sets(tmp_path)
    assert (train.classes, val.classes) == (["a", "b"], ["a", "b"])
    assert train.samples == [Sample(tmp_path / "x/1.mp4", 1), Sample(tmp_path / "x/2.mp4", 0)]
    assert val.samples == [Sample(tmp_path / "x/3.mp4", 1)]


def test_a_list_and_a_folder_can_stand_side_by_side(tmp_path: Path):
    touch(tmp_path, "val/a/1.mp4", "1.mp4", "2.mp4")
    write(tmp_path / "train.csv", "1.mp4,a\n2.mp4,b\n")
    assert read_training_sets(tmp_path)[1] == LabelledSet([Sample(tmp_path / "val/a/1.mp4", 0)], ["a", "b"])


def test_a_single_list_is_split(tmp_path: Path):
    touch(tmp_path, "0.mp4")
    path = write(tmp_path / "all.csv", "".join(f"{i}.mp4,{'ab'[i % 2]}\n" for i in range(10)))
    train, val = read_training_sets(path)
    assert (len(train.samples), len(val.samples)) == (8, 2)
    assert paths_of(train) | paths_of(val) == {tmp_path / f"{i}.mp4" for i in range(10)}


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["train/a/1.mp4", "val/a/1.mp4", "test/a/1.mp4"], "test"),
        (["train/a/1.mp4", "val/a/1.mp4"], "val"),
        (["train.csv", "val.csv"], "val"),
        (["a/1.mp4", "b/1.mp4"], None),
    ],
)
def test_the_part_to_evaluate_on_is_test_then_val_then_all(tmp_path: Path, names: list[str], split: str | None):
    assert datasets.evaluation_split(touch(tmp_path, *names)) == split


def test_a_part_is_read_by_its_name(tmp_path: Path):
    touch(tmp_path, "train/a/1.mp4", "val/b/2.mp4")
    assert listed(read_set(tmp_path, split="train"), tmp_path) == [("train/a/1.mp4", "a")]
    with pytest.raises(DataError, match="test: no such file or folder"):
        read_set(tmp_path, split="test")


# Videos or images


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a/x.mp4", "video"), ("x.JPG", "image"), ("x.jpg.mkv", "video"), ("x.txt", None), ("jpg", None), (".jpg", None)],
)
def test_the_ending_tells_the_kind(name: str, kind: str | None):
    assert media_kind(name) == media_kind(Path(name)) == kind


def test_media_of_one_kind_are_found_among_others(tmp_path: Path):
    touch(tmp_path, "a/x.mp4", "a/x.jpg", "b.png", "notes.txt", ".thumbnail.jpg")
    assert find_media(tmp_path, "image") == [tmp_path / "a/x.jpg", tmp_path / "b.png"]
    assert find_media(tmp_path, "video") == [tmp_path / "a/x.mp4"]
    assert find_media(tmp_path) == [tmp_path / "a/x.jpg", tmp_path / "a/x.mp4", tmp_path / "b.png"]


def test_folders_of_images_are_a_set_of_images(tmp_path: Path):
    touch(tmp_path, "n01440764/n01440764_10026.JPEG", "n01443537/2.png", "n01443537/deep/1.jpg")
    images = read_class_folders(tmp_path)
    assert (images.kind, images.unit, images.classes) == ("image", "images", ["n01440764", "n01443537"])
    assert [path for path, _ in listed(images, tmp_path)] == [
        "n01440764/n01440764_10026.JPEG",
        "n01443537/2.png",
        "n01443537/deep/1.jpg",
    ]


def test_folders_of_videos_are_a_set_of_videos(tmp_path: Path):
    videos = read_class_folders(touch(tmp_path, "a/1.mp4", "b/2.mp4"))
    assert (videos.kind, videos.unit) == ("video", "videos")


def test_train_and_val_folders_of_images_are_taken_as_they_are(tmp_path: Path):
    touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/b/3.jpg")
    train, val = read_training_sets(tmp_path)
    assert (train.kind, val.kind) == ("image", "image")
    assert listed(val, tmp_path) == [("val/b/3.jpg", "b")]


def test_a_list_of_images_is_a_set_of_images_and_so_are_its_parts(tmp_path: Path):
    touch(tmp_path, "0.png")
    path = write(tmp_path / "all.csv", "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(10)))
    assert read_set(path).kind == "image"
    assert [part.kind for part in read_training_sets(path)] == ["image", "image"]


def test_a_file_in_a_list_whose_ending_says_nothing_is_taken_for_a_video(tmp_path: Path):
    touch(tmp_path, "x", "y.y4m", "z.mp4")
    assert read_set(write(tmp_path / "l.csv", "x,a\ny.y4m,b\nz.mp4,b\n")).kind == "video"


def test_class_folders_with_both_kinds_are_refused_with_an_example_of_each(tmp_path: Path):
    touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4", "b/cover.jpg", "c/cover.jpg")
    message = f"{tmp_path} holds both videos and images, such as {tmp_path}/a/1.mp4 and {tmp_path}/b/cover.jpg; move"
    with pytest.raises(DataError, match=re.escape(message)):
        read_training_sets(tmp_path)


def test_a_list_with_both_kinds_is_refused_with_an_example_of_each(tmp_path: Path):
    touch(tmp_path, "1.jpg", "2.mp4")
    path = write(tmp_path / "l.csv", "1.jpg,a\n2.mp4,b\n")
    message = f"{path} holds both videos and images, such as {tmp_path}/2.mp4 and {tmp_path}/1.jpg"
    with pytest.raises(DataError, match=re.escape(message)):
        read_set(path)


def test_train_and_val_of_different_kinds_are_refused(tmp_path: Path):
    touch(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/1.mp4")
    with pytest.raises(DataError, match="train holds images, but val videos; both need one kind"):
        read_training_sets(tmp_path)


def test_what_is_said_of_images_calls_them_images(tmp_path: Path):
    touch(tmp_path, "empty/a/1.jpg", "empty/b/notes.txt")
    with pytest.raises(DataError, match=r"no images in b; files are taken by their ending: \.apng .*\.gif .*\.webp$"):
        read_training_sets(tmp_path / "empty")
    touch(tmp_path, "single/a/1.jpg", "single/a/2.jpg", "single/b/1.jpg")
    with pytest.raises(DataError, match=r"one image only in b: .*; add images, remove"):
        read_training_sets(tmp_path / "single")
    touch(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path / "train.csv", "a.jpg,x\nb.jpg,y\n")
    write(tmp_path / "val.csv", "a.jpg,x\n")
    with pytest.raises(DataError, match="1 images are in both train and val"):
        read_training_sets(tmp_path)


def test_relabelling_keeps_the_kind(tmp_path: Path):
    images = LabelledSet([Sample(Path("x.jpg"), 0)], ["b"], kind="image")
    assert images.relabelled(["a", "b"], source="model") == LabelledSet(
        [Sample(Path("x.jpg"), 1)], ["a", "b"], kind="image"
    )


# What cannot be used


def test_a_path_that_does_not_exist_is_named(tmp_path: Path):
    for read in (read_training_sets, read_set):
        with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'nowhere'}: no such file or folder")):
            read(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [[], ["1.mp4", "2.mp4"], [".hidden/1.mp4"]])
def test_a_folder_without_class_folders_says_what_was_expected(tmp_path: Path, names: list[str]):
    with pytest.raises(DataError, match=re.escape(f"holds no class folders; expected {tmp_path}/<class>/ with")):
        read_training_sets(touch(tmp_path, *names))


def test_empty_class_folders_are_named_with_the_endings_that_are_taken(tmp_path: Path):
    touch(tmp_path, "a/1.mp4", "b/notes.txt")
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"no videos in b, c; files are taken by their ending: .*\.mp4"):
        read_training_sets(tmp_path)


def test_of_many_names_six_are_shown(tmp_path: Path):
    for i in range(8):
        (tmp_path / f"c{i}").mkdir()
    with pytest.raises(DataError, match="no videos or images in c0, c1, c2, c3, c4, c5 and 2 more;"):
        read_class_folders(tmp_path)


def test_one_class_is_too_few(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds one class \(a\): at least two"):
        read_training_sets(touch(tmp_path, "a/1.mp4", "a/2.mp4"))


def test_one_class_that_has_a_number_above_0_is_too_few(tmp_path: Path):
    touch(tmp_path, "1.mp4", "2.mp4")
    with pytest.raises(DataError, match=r"holds one class \(3\): at least two"):
        read_training_sets(write(tmp_path / "all.csv", "1.mp4,3\n2.mp4,3\n"))


def test_classes_with_one_video_are_named(tmp_path: Path):
    touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4", "c/1.mp4")
    with pytest.raises(DataError, match="one video only in b, c: it cannot be in both"):
        read_training_sets(tmp_path)


def test_train_without_val_says_what_to_add(tmp_path: Path):
    with pytest.raises(DataError, match=re.escape(f"has train but no val; add {tmp_path / 'val'}")):
        read_training_sets(touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4"))


def test_a_class_of_val_that_train_does_not_know_is_named_with_those_of_train(tmp_path: Path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4", "val/B/1.mp4")
    message = (
        f"1 of 2 classes of val in {tmp_path} are not among the 2 of train: B; train has: a, b; add training videos of "
        "what is missing, or leave it out of val"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        read_training_sets(tmp_path)


def test_a_class_of_val_whose_name_may_be_a_slip_is_shown_the_one_that_is_near(tmp_path: Path):
    touch(tmp_path, "train/running/1.mp4", "train/jumping/1.mp4", "val/runing/1.mp4", "val/swimming/1.mp4")
    with pytest.raises(DataError, match=r"has: jumping, running; add .*; did you mean 'running' for 'runing'\?$"):
        read_training_sets(tmp_path)


def test_a_class_with_one_video_whose_name_may_be_a_slip_is_shown_the_one_that_is_near(tmp_path: Path):
    touch(tmp_path, "running/1.mp4", "running/2.mp4", "runing/1.mp4", "jumping/1.mp4", "jumping/2.mp4")
    with pytest.raises(DataError, match=r"one video only in runing: .*; did you mean 'running' for 'runing'\?$"):
        read_training_sets(tmp_path)


def test_a_slip_in_a_list_is_shown_the_class_that_is_near(tmp_path: Path):
    touch(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    write(tmp_path / "classes.txt", "Running\njumping\n")
    with pytest.raises(DataError, match=r"row 3: class 'runing' is not .*; did you mean 'Running' for 'runing'\?$"):
        read_training_sets(write(tmp_path / "all.csv", "1.mp4,Running\n2.mp4,jumping\n3.mp4,runing\n"))


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "a/1.mp4", "a/locked/2.mp4")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}/a/locked cannot be listed: Permission denied")):
        read_class_folders(tmp_path)


def test_a_root_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path} cannot be listed: Permission denied")):
        read_class_folders(tmp_path)


# Relabelling


def test_labels_are_counted_in_another_list_by_name():
    videos = LabelledSet([Sample(Path("x"), 0), Sample(Path("y"), 1)], ["b", "d"])
    relabelled = videos.relabelled(["d", "c", "b"], source="model")
    assert relabelled == LabelledSet([Sample(Path("x"), 2), Sample(Path("y"), 0)], ["d", "c", "b"])
    assert videos.samples[0].label == 0


def test_an_unknown_class_lists_both_sides():
    videos = LabelledSet([Sample(Path("x"), 0)], ["b", "e", "f"])
    with pytest.raises(DataError, match=r"2 of 3 classes .* the 2 of model: e, f; model has: a, b"):
        videos.relabelled(["a", "b"], source="model")


# The split by a fraction


@over_cases
@given(st.lists(st.integers(2, 30), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_a_split_holds_out_the_fraction_of_each_class_and_one_at_least(counts: list[int], fraction: float, seed: int):
    videos = made_set(counts)
    train, val = split_set(videos, SplitConfig(val_fraction=fraction, seed=seed), source="x")
    assert not paths_of(train) & paths_of(val)
    assert paths_of(train) | paths_of(val) == paths_of(videos)
    held_out = Counter(sample.label for sample in val.samples)
    for label, count in enumerate(counts):
        assert held_out[label] == min(max(round(fraction * count), 1), count - 1)


@over_cases
@given(st.permutations(made_set([4, 7, 2]).samples), st.integers(0, 100), st.sampled_from([None, r"^\d"]))
def test_a_split_does_not_depend_on_the_order_of_the_list(order: list[Sample], seed: int, pattern: str | None):
    config = SplitConfig(val_fraction=0.3, seed=seed)
    if pattern:  # 0.mp4 and 1.mp4 stand in all classes
        config = SplitConfig(val_fraction=0.5, seed=seed, group_pattern=pattern)
        order = [sample for sample in order if sample.path.name in ("0.mp4", "1.mp4")]
    videos = LabelledSet(order, ["a", "b", "c"])
    ordered = LabelledSet(sorted(order, key=lambda sample: sample.path), videos.classes)
    assert paths_of(split_set(videos, config, source="x")[1]) == paths_of(split_set(ordered, config, source="x")[1])


def test_the_seed_decides_the_split():
    videos = made_set([20, 20])

    def held_out(seed: int) -> set[Path]:
        return paths_of(split_set(videos, SplitConfig(seed=seed), source="x")[1])

    assert held_out(1) == held_out(1)
    assert len({frozenset(held_out(seed)) for seed in range(10)}) == 10


def test_classes_are_drawn_independently():
    _, val = split_set(made_set([50, 50]), SplitConfig(), source="x")
    names = [{os.path.basename(s.path) for s in val.samples if s.label == label} for label in (0, 1)]
    assert names[0] != names[1]


def test_the_order_of_the_videos_is_kept():
    videos = made_set([9, 9])
    for part in split_set(videos, SplitConfig(), source="x"):
        assert [sample for sample in videos.samples if sample in part.samples] == part.samples


def test_a_video_listed_twice_stands_on_one_side():
    videos = LabelledSet(
        [Sample(Path(f"{i}.mp4"), 0) for i in (0, 0, 1, 1, 2, 2)] + made_set([0, 4]).samples, ["a", "b"]
    )
    for seed in range(10):
        train, val = split_set(videos, SplitConfig(val_fraction=0.5, seed=seed), source="x")
        assert not paths_of(train) & paths_of(val)
        assert len(train.samples) + len(val.samples) == 10


# The split by groups


def speakers(names: list[str]) -> LabelledSet:
    """Two classes; each speaker says both."""
    samples = [Sample(Path(f"{label}/{name}_{label}.mp4"), label) for label in (0, 1) for name in names]
    return LabelledSet(samples, ["a", "b"])


@over_cases
@given(st.integers(2, 12), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_no_group_stands_on_both_sides(num_groups: int, fraction: float, seed: int):
    videos = speakers([f"F{i:02}" for i in range(num_groups)])
    config = SplitConfig(val_fraction=fraction, seed=seed, group_pattern=r"^([FM]\d+)_")
    train, val = split_set(videos, config, source="x")
    groups = [{path.name[:3] for path in paths_of(part)} for part in (train, val)]
    assert not groups[0] & groups[1]
    assert len(groups[1]) == min(max(round(fraction * num_groups), 1), num_groups - 1)
    assert paths_of(train) | paths_of(val) == paths_of(videos)


def test_without_a_group_in_the_pattern_the_whole_match_names_the_group():
    videos = speakers(["F01", "M02"])
    with_group, without = (
        split_set(videos, SplitConfig(group_pattern=pattern), source="x") for pattern in (r"^([FM]\d+)", r"^[FM]\d+")
    )
    assert with_group == without


@pytest.mark.parametrize("pattern", [r"^F\d+", r"^(F\d+)?_?"])
def test_a_name_that_does_not_fit_the_pattern_is_named(pattern: str):
    with pytest.raises(DataError, match=re.escape("0/M02_0.mp4: the name does not fit group_pattern")):
        split_set(speakers(["F01", "M02", "F03"]), SplitConfig(group_pattern=pattern), source="x")


def test_a_pattern_that_is_no_regular_expression_is_refused():
    with pytest.raises(DataError, match=re.escape("group_pattern '(F' is no regular expression: missing )")):
        split_set(speakers(["F01", "F02"]), SplitConfig(group_pattern="(F"), source="x")


@pytest.mark.parametrize("pattern", ["^F", ""])
def test_one_group_only_is_refused(pattern: str):
    with pytest.raises(DataError, match="finds 1 group in the file names; two needed"):
        split_set(speakers(["F01", "F02"]), SplitConfig(group_pattern=pattern), source="x")


def test_groups_that_leave_a_class_out_of_one_part_are_refused():
    videos = LabelledSet(
        [Sample(Path(name), label) for label, name in enumerate(["F1_a", "F2_a"]) for _ in "xy"], ["a", "b"]
    )
    with pytest.raises(
        DataError, match=r"x: the training part has no video of [ab]; change val_fraction, seed or group"
    ):
        split_set(videos, SplitConfig(group_pattern=r"^F\d"), source="x")


# Folders of frames


def test_with_frame_folders_a_folder_of_images_is_a_video(tmp_path: Path):
    touch(tmp_path, "a/2/1.jpg", "a/2/2.jpg", "a/1/1.png", "a/deep/3/1.jpg", "a/x.mp4", "b/10/1.jpg", "b/.hidden/1.jpg")
    videos = read_set(tmp_path, lists=ListConfig(frame_folders=True))
    assert (videos.kind, videos.classes) == ("video", ["a", "b"])
    assert [path for path, _ in listed(videos, tmp_path)] == ["a/1", "a/2", "a/deep/3", "a/x.mp4", "b/10"]
    assert read_set(tmp_path / "b", lists=ListConfig()).kind == "image"


def test_frame_folders_of_train_and_val_are_taken_as_they_are(tmp_path: Path):
    touch(tmp_path, "train/a/1/1.jpg", "train/b/2/1.jpg", "val/b/3/1.jpg")
    _, val = read_training_sets(tmp_path, lists=ListConfig(frame_folders=True))
    assert listed(val, tmp_path) == [("val/b/3", "b")]


def test_images_right_below_a_class_are_no_frames(tmp_path: Path):
    touch(tmp_path, "a/1/1.jpg", "b/1.jpg")
    with pytest.raises(DataError, match="b holds images itself; with frame_folders, each video needs a folder"):
        read_set(tmp_path, lists=ListConfig(frame_folders=True))


def test_a_class_without_frame_folders_is_named(tmp_path: Path):
    touch(tmp_path, "a/1/1.jpg", "b/1/notes.txt")
    with pytest.raises(DataError, match="no videos in b; expected folders of images, or video files"):
        read_set(tmp_path, lists=ListConfig(frame_folders=True))


def test_sources_of_all_types_are_split_alike_whatever_their_order():
    sources: list[Source] = [FrameFolder(Path("clip"), first, 10) for first in range(0, 100, 10)]
    sources += [TarMember(Path("0.tar"), f"{i}.mp4", 512 * i, 9) for i in range(10)]
    samples = [Sample(source, 0) for source in sources]
    config = SplitConfig(val_fraction=0.4, seed=3)
    train, val = split_set(LabelledSet(samples, ["a"]), config, source="x")
    again = split_set(LabelledSet(samples[::-1], ["a"]), config, source="x")[1]
    assert (len(train.samples), len(val.samples)) == (12, 8)
    assert {sample.path for sample in val.samples} == {sample.path for sample in again.samples}


# Odd folders and names


def test_a_link_in_a_circle_below_a_class_folder_is_not_followed(tmp_path: Path):
    touch(tmp_path, "a/1.mp4", "b/2.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "c").symlink_to("c")  # leads nowhere
    for config in (ListConfig(), ListConfig(frame_folders=True)):
        assert listed(read_set(tmp_path, lists=config), tmp_path) == [("a/1.mp4", "a"), ("b/2.mp4", "b")]


def test_a_class_folder_that_links_to_what_it_lies_in_is_refused(tmp_path: Path):
    touch(tmp_path, "set/a/1.mp4", "set/b/2.mp4")
    (tmp_path / "set" / "loop").symlink_to(tmp_path)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}/set/loop is a link to {tmp_path}, which it lies in")):
        read_class_folders(tmp_path / "set")


def test_names_may_start_with_a_dash_and_need_not_be_utf8(tmp_path: Path):
    try:
        touch(tmp_path, "-a/--x.mp4", os.fsdecode(b"b/caf\xe9.mp4"))
    except OSError:
        pytest.skip("this file system does not take the name")
    videos = read_class_folders(tmp_path)
    assert [path for path, _ in listed(videos, tmp_path)] == ["-a/--x.mp4", os.fsdecode(b"b/caf\xe9.mp4")]
    assert all(os.path.exists(sample.path) for sample in videos.samples)


def test_class_folders_take_their_order_from_named_labels(tmp_path: Path):
    touch(tmp_path, "marching/1.mp4", "riding_a_bike/2.mp4")
    videos = read_set(tmp_path, lists=ListConfig(labels="k400"))
    assert (len(videos.classes), videos.classes[:2]) == (400, ["riding a bike", "marching"])
    assert [sample.label for sample in videos.samples] == [1, 0]


def test_class_folders_that_are_not_among_given_labels_may_do_without_them(tmp_path: Path):
    touch(tmp_path, "marching/1.mp4", "pouring tea/2.mp4")
    message = "1 of 2 classes of the data are not among the 400 of labels k400: pouring tea; labels k400 has: .*"
    with pytest.raises(DataError, match=f"{message}; --lists.labels null takes the data's own classes$"):
        read_set(tmp_path, lists=ListConfig(labels="k400"))
    with pytest.raises(DataError) as of_a_model:
        read_set(tmp_path).relabelled(["a"], source="model")
    assert "null" not in str(of_a_model.value)


def test_class_folders_called_by_numbers_are_matched_with_a_list_of_numbers_or_refused(tmp_path: Path):
    touch(tmp_path, *(f"folders/{i}/{i}.mp4" for i in range(11)), "b0.mp4")
    rows = "".join(f"b{i}.mp4,{i}\n" for i in range(11))
    (tmp_path / "folders").rename(tmp_path / "val")
    write(tmp_path / "train.csv", rows)
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == [str(i) for i in range(11)]
    assert [(path, name) for path, name in listed(val, tmp_path / "val") if path != f"{name}/{name}.mp4"] == []
    (tmp_path / "val").rename(tmp_path / "train")
    (tmp_path / "train.csv").rename(tmp_path / "val.csv")
    with pytest.raises(DataError, match=r"labels of train are names \(0, 1, 10, 2, .*, but those of val are numbers"):
        read_training_sets(tmp_path)


def test_class_folders_in_the_order_of_given_labels_go_with_a_list_of_numbers(tmp_path: Path):
    touch(tmp_path, "train/marching/1.mp4", "train/riding a bike/2.mp4", "3.mp4")
    write(tmp_path / "val.csv", "3.mp4,0\n")
    _, val = read_training_sets(tmp_path, lists=ListConfig(labels="k400"))
    assert listed(val, tmp_path) == [("3.mp4", "riding a bike")]


def test_class_names_match_but_for_brackets_and_underscores():
    videos = LabelledSet([Sample(Path("x"), 0), Sample(Path("y"), 1)], ["Holding [something]", "riding_a bike"])
    relabelled = videos.relabelled(["riding a bike", "Holding something"], source="model")
    assert [sample.label for sample in relabelled.samples] == [1, 0]


def test_a_name_that_matches_two_others_is_unknown():
    videos = LabelledSet([Sample(Path("x"), 0)], ["a b"])
    with pytest.raises(DataError, match="1 of 1 classes of the data are not among the 2 of model"):
        videos.relabelled(["a_b", "a [b]"], source="model")
    assert videos.relabelled(["a_b", "a b"], source="model").samples[0].label == 1


def test_a_val_list_that_is_named_comes_before_a_test_folder(tmp_path: Path):
    touch(tmp_path, "test/a/1.mp4")
    assert datasets.evaluation_split(tmp_path) == "test"
    assert datasets.evaluation_split(tmp_path, ListConfig(val="anywhere.csv")) == "val"


# Parts of other spelling


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "VAL", "TEST"),
        ("training", "validation", "testing"),
        ("train", "Valid", "x"),
    ],
)
def test_parts_are_known_by_other_spellings(tmp_path: Path, train: str, val: str, test: str):
    touch(tmp_path, f"{train}/a/1.mp4", f"{train}/b/2.mp4", f"{val}/a/3.mp4", f"{test}/b/4.mp4")
    sets = read_training_sets(tmp_path)
    assert [listed(part, tmp_path) for part in sets] == [
        [(f"{train}/a/1.mp4", "a"), (f"{train}/b/2.mp4", "b")],
        [(f"{val}/a/3.mp4", "a")],
    ]
    assert datasets.evaluation_split(tmp_path) == ("val" if test == "x" else "test")


def test_lists_of_other_spelling_are_known_where_both_parts_are_there(tmp_path: Path):
    touch(tmp_path, "1.mp4", "3.mp4", "a/x.mp4", "b/y.mp4")
    write(tmp_path / "Train.csv", "1.mp4,x\n2.mp4,y\n")
    with pytest.raises(DataError, match="one video only in a, b"):
        read_training_sets(tmp_path)
    write(tmp_path / "Validation.txt", "3.mp4 y\n")
    assert [listed(part, tmp_path) for part in read_training_sets(tmp_path)] == [
        [("1.mp4", "x"), ("2.mp4", "y")],
        [("3.mp4", "y")],
    ]


def test_a_class_may_be_called_like_a_part(tmp_path: Path):
    touch(tmp_path, *(f"{name}/{person}/{i}.mp4" for name in ("Training", "Swimming") for person in "ab" for i in "12"))
    assert read_training_sets(tmp_path)[0].classes == ["Swimming", "Training"]


def test_two_folders_that_could_be_one_part_are_refused(tmp_path: Path):
    touch(tmp_path, "Train/a/1.mp4", "Valid/a/1.mp4", "validation/a/1.mp4")
    with pytest.raises(DataError, match="holds Valid and validation: which of them is val"):
        read_training_sets(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["Val/a/1.mp4", "Test/a/1.mp4"],
        ["train_set/a/1.mp4", "test_set/a/1.mp4"],
        ["train_images/1.jpg", "test_images/1.jpg"],
        ["TrainData/a/1.jpg", "dev/b/1.jpg"],
    ],
)
def test_parts_never_become_classes(tmp_path: Path, names: list[str]):
    with pytest.raises(DataError, match="look like the parts of a set, not like classes; call them train and val"):
        read_training_sets(touch(tmp_path, *names))


def test_parts_without_val_say_what_to_add(tmp_path: Path):
    with pytest.raises(DataError, match=re.escape(f"has TRAIN but no val; add {tmp_path / 'val'}")):
        read_training_sets(touch(tmp_path, "TRAIN/a/1.mp4", "TRAIN/b/1.mp4", "TEST/a/2.mp4"))


def test_files_that_are_neither_video_nor_image_are_counted_by_their_endings(tmp_path: Path):
    touch(tmp_path, *(f"{c}/{i}.jpg" for c in "ab" for i in range(2)), "a/x.PSD", "a/deep/y.psd", "b/z", "b/.hidden")
    train, val = read_training_sets(tmp_path)
    assert train.left_out == {".psd": 2, "": 1}
    assert val.left_out is train.left_out
    said = "3 files are left out, with endings that are not known as those of videos or images: .psd (2), no ending (1)"
    assert describe_left_out(train.left_out) == said
