"""Lists of videos and images: where their files are, and what is said of rows that cannot be used."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import KINETICS, listed, touch, write

from morphmlp.config import ListConfig
from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.errors import DataError

# Where the files are


def test_names_are_relative_to_the_data_folder_or_else_to_the_list(tmp_path: Path):
    path = write(tmp_path / "lists/train.csv", "1.mp4,0\n2.mp4,1\n")
    config = ListConfig(train=str(path))
    touch(tmp_path, "lists/1.mp4", "data/2.mp4")
    assert listed(read_set(tmp_path / "data", split="train", lists=config), tmp_path)[0] == ("lists/1.mp4", "0")
    touch(tmp_path, "data/1.mp4")
    assert listed(read_set(tmp_path / "data", split="train", lists=config), tmp_path)[0] == ("data/1.mp4", "0")


def test_a_relative_prefix_is_that_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "here/videos/1.mp4")
    path = write(tmp_path / "l.csv", "1.mp4,a\n")
    monkeypatch.chdir(tmp_path / "here")
    assert os.path.exists(read_set(path, lists=ListConfig(prefix="videos")).samples[0].path)
    with pytest.raises(DataError, match=re.escape(f"lists.prefix 'movies': there is no folder {tmp_path}/here/movies")):
        read_set(path, lists=ListConfig(prefix="movies"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "a.mp4,0\nb.mp4,1\nc.mp4,1\nd.mp4,0\n",
            "of its 4 files exists; looked for {0}/a.mp4, {0}/b.mp4, {0}/c.mp4 and",
        ),
        ("100218 42 134\n", "of its 1 files exists; looked for {0}/100218 (a folder of frames, or with the ending of"),
    ],
)
def test_a_list_of_nothing_that_exists_names_the_first_files_and_the_prefix(tmp_path: Path, text: str, shown: str):
    path = write(tmp_path / "l.txt", text)
    with pytest.raises(DataError, match=re.escape(shown.format(tmp_path)) + ".* as --lists.prefix"):
        read_set(path)


def test_files_that_are_missing_stay_in_the_set(tmp_path: Path):
    videos = read_set(write(touch(tmp_path, "2.mp4") / "l.csv", "1.mp4,0\n2.mp4,1\n3.mp4,0\n"))
    assert [name for name, _ in listed(videos, tmp_path)] == ["1.mp4", "2.mp4", "3.mp4"]


def test_lists_that_the_configuration_names_are_taken(tmp_path: Path):
    touch(tmp_path, "data/1.mp4", "data/2.mp4", "data/3.mp4")
    write(tmp_path / "data/train.csv", "no list")
    train = write(tmp_path / "a.list", "1.mp4 0\n2.mp4 1\n")
    val = write(tmp_path / "b.list", "3.mp4 1\n")
    sets = read_training_sets(tmp_path / "data", lists=ListConfig(train=str(train), val=str(val)))
    assert [listed(part, tmp_path) for part in sets] == [
        [("data/1.mp4", "0"), ("data/2.mp4", "1")],
        [("data/3.mp4", "1")],
    ]


def test_a_named_list_that_is_missing_or_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=re.escape(f"lists.train '{tmp_path}': is a folder, not a list")):
        read_training_sets(tmp_path, lists=ListConfig(train=str(tmp_path)))
    with pytest.raises(DataError, match=re.escape(f"lists.val '{tmp_path}/x': there is no file {tmp_path}/x")):
        read_set(tmp_path, split="val", lists=ListConfig(val=f"{tmp_path}/x"))


def test_two_lists_of_one_part_are_refused(tmp_path: Path):
    write(tmp_path / "train.csv", "")
    write(tmp_path / "train.json", "")
    with pytest.raises(DataError, match=r"holds train\.csv and train\.json: which list is meant\?.*--lists\.train"):
        read_training_sets(tmp_path)


def test_a_list_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"l\.csv: no such file or folder"):
        read_set(tmp_path / "l.csv")


# Rows that cannot be used


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("x.mp4,a\ny.mp4 1\n", 2, "path,label"),
        ("path,label\nx.mp4,a,3\n", 2, "path,label"),
        ("x.mp4\n", 1, "path,label"),
        ("x.mp4,a\n\ny.mp4,\n", 3, "path,label"),
        ("x.mp4,a\n,b\n", 2, "path,label"),
        ('x.mp4,a\ny.mp4,"b, c",d\n', 2, "path,label"),
        ("x.mp4 1\ny.mp4\n", 2, "'path label'"),
        ("x.mp4 1\ny.mp4 2 3\n", 2, "'path label'"),
        ("x.mp4\t1\ny.mp4\ta\t3\n", 2, "'path label'"),
        ("10 37 5\n\r\n11 37\n12 30 4\n", 3, "'folder num_frames label'"),
        ("10 37 5\n12 30 4\n13 30 4 5\n", 3, "'folder num_frames label'"),
        ("a 1 37 5\na 1 30 4\nb 30 4\n", 3, "'folder first_frame num_frames label'"),
        ("10 37 5\n12 30 -4\n12 30 4\n", 2, "'folder num_frames label'"),
        (" 1\r\npath,label-c d.mp4 {", 1, "'path label'"),
    ],
)
def test_a_row_with_too_few_or_too_many_values_is_refused_with_its_number(
    tmp_path: Path, text: str, row: int, expected: str
):
    path = write(touch(tmp_path, "x.mp4", "10/1.jpg") / "l.csv", text)
    with pytest.raises(DataError, match=re.escape(f"{path}, row {row}: ") + f".* is not {re.escape(expected)}"):
        read_set(path)


PIECES = ["x.mp4", "b", "-c d.webm", ",", " ", "\t", "\n", "\r\n", "0", "1", "12", '"', "\ufeff", "\udcff", "é", "\0"]
PIECES += ["path,label", KINETICS.splitlines()[0], '[{"id": 3, "template": "x"}]', "{", "99999999999", "inf", "\u2028"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES), max_size=14), st.sampled_from(["l.csv", "l.json"]))
def test_anything_in_a_list_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], name: str
):
    folder = touch(tmp_path_factory.mktemp("lists"), "x.mp4", "b/1.jpg")
    path = write(folder / name, "".join(pieces).encode("utf-8", "surrogateescape"))
    message = ""
    try:
        assert read_set(path).samples
    except DataError as error:
        message = str(error)
    assert not message or (str(path) in message and "\n" not in message)


def test_a_quotation_mark_that_is_not_closed_is_refused_with_its_row(tmp_path: Path):
    path = write(touch(tmp_path, "x.mp4") / "l.csv", 'x.mp4,a\n"y.mp4,b\n' + "z.mp4,c\n" * 1000)
    with pytest.raises(
        DataError, match=re.escape(f"{path}, row 2: ") + r".{100,140}\.\.\. holds a line break; is a quot"
    ):
        read_set(path)


def test_a_folder_listed_with_no_frames_is_refused_with_its_row(tmp_path: Path):
    path = write(tmp_path / "l.txt", "10 37 5\n12 0 4\n")
    with pytest.raises(DataError, match=re.escape(f"{path}, row 2: 12 is listed with 0 frames; remove the row")):
        read_set(path)


@pytest.mark.parametrize("text", ["", "\n\n", "path,label\n", "path label\n", "\ufeff"])
def test_a_list_without_rows_is_refused(tmp_path: Path, text: str):
    path = write(tmp_path / "l.csv", text)
    with pytest.raises(DataError, match=re.escape(f"{path} holds no rows; expected one path,label a line")):
        read_set(path)


@pytest.mark.parametrize("data", [b"\x00\x00\x00 ftypisom\xff\xfe", b"\x89PNG\r\n\x00", "x.mp4,a\n".encode("utf-16")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes):
    path = write(tmp_path / "video.mp4", data)
    with pytest.raises(DataError, match=re.escape(f"{path} cannot be read as a list: it is no text in UTF-8")):
        read_training_sets(path)


def test_a_zero_byte_far_down_is_refused_with_its_row(tmp_path: Path):
    path = write(tmp_path / "l.csv", "x.mp4,a\n" * 10_000 + "\0.mp4,a\n")
    with pytest.raises(DataError, match=r"row 10001: .* is no file name"):
        read_set(path)


def test_a_row_that_stands_twice_is_taken_once_and_counted(tmp_path: Path):
    videos = read_set(write(touch(tmp_path, "1.mp4") / "l.csv", "1.mp4,0\n2.mp4,1\n./1.mp4,00\n1.mp4,0\n"))
    assert listed(videos, tmp_path) == [("1.mp4", "0"), ("2.mp4", "1")]
    assert videos.num_duplicates == 2


def test_a_file_with_two_labels_is_refused_with_both_rows(tmp_path: Path):
    path = write(touch(tmp_path, "1.mp4") / "l.csv", "path,label\n1.mp4,a\n2.mp4,b\n1.mp4,b\n")
    message = f"{path}, row 4: {tmp_path}/1.mp4 has label b, but a in row 2; which one is right?"
    with pytest.raises(DataError, match=re.escape(message)):
        read_set(path)


def test_a_video_in_train_and_val_is_refused_whatever_links_lead_to_it(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "here").symlink_to(tmp_path)
    write(tmp_path / "train.csv", "a.mp4,x\nb.mp4,y\n")
    for name in ("./a.mp4", "link.mp4", "here/a.mp4"):
        write(tmp_path / "val.csv", f"{name},x\n")
        with pytest.raises(DataError, match=rf"1 videos are in both train and val, such as {tmp_path}/a\.mp4"):
            read_training_sets(tmp_path)


def test_parts_of_one_folder_of_frames_are_different_videos(tmp_path: Path):
    touch(tmp_path, "a/1.jpg")
    write(tmp_path / "train.txt", "a 1 10 0\na 11 10 1\n")
    write(tmp_path / "val.txt", "a 21 10 0\n")
    train, val = read_training_sets(tmp_path)
    assert (len(train.samples), len(val.samples)) == (2, 1)
    write(tmp_path / "val.txt", "./a 11 10 1\n")
    with pytest.raises(DataError, match="1 videos are in both train and val"):
        read_training_sets(tmp_path)


@pytest.mark.parametrize("between", [",", " "])
def test_a_hundred_thousand_rows_are_read(tmp_path: Path, between: str):
    touch(tmp_path, "videos/clip number 7.mp4")
    rows = "".join(f"videos/clip number {i}.mp4{between}{i % 400}\n" for i in range(100_000))
    videos = read_set(write(tmp_path / "train.csv", rows))
    assert (len(videos.samples), len(videos.classes), videos.num_duplicates) == (100_000, 400, 0)
    assert videos.samples[-1] == Sample(tmp_path / "videos/clip number 99999.mp4", 399)


@pytest.mark.parametrize("name", ["train.json", "train.txt"])
def test_a_list_that_nests_too_deep_or_counts_too_far_is_one_line(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text("[" * 100_000 if name.endswith("json") else f"clip {'9' * 5000} 0\n")
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}"):
        read_set(path)
