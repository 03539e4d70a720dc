"""One list however it was written: separators, quotes, headers, encodings, the order of the columns."""

import csv
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import listed, touch, write

from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.list_rows import read_rows
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.errors import DataError

# However it was written

ROWS = [("x/1.mp4", "run"), ("y 2.mp4", "jump high"), ("z.mp4", "run")]


@pytest.mark.parametrize(
    "text",
    [
        "x/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        "x/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run",
        "path,label\nx/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        "Path, Label\r\nx/1.mp4,run\r\ny 2.mp4,jump high\r\nz.mp4,run\r\n",
        "filename,label\rx/1.mp4,run\ry 2.mp4,jump high\rz.mp4,run\r",
        "\ufeffpath,label\nx/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        "\ufeffx/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        " x/1.mp4 , run \ny 2.mp4,  jump high\t\n z.mp4,run\n",
        '"x/1.mp4","run"\n"y 2.mp4", "jump high"\nz.mp4,run\n',
        "x/1.mp4,run\n\n  \n,\ny 2.mp4,jump high\nz.mp4,run\n\n",
        "x/1.mp4 run\ny 2.mp4 jump high\nz.mp4 run\n",
        "path label\r\nx/1.mp4   run\r\ny 2.mp4 jump high \r\n\r\n z.mp4 run",
        "\ufeffx/1.mp4\trun\ny 2.mp4\tjump high\nz.mp4\trun\n",
        'x/1.mp4 run\n"y 2.mp4" jump high\nz.mp4 run\n',
    ],
    ids=[
        "plain",
        "no end",
        "header",
        "windows",
        "old mac",
        "bom and header",
        "bom",
        "spaces",
        "quotes",
        "blank rows",
        "spaced",
        "spaced windows header",
        "tabs",
        "spaced quotes",
    ],
)
def test_a_list_is_read_however_it_was_written(tmp_path: Path, text: str):
    touch(tmp_path, "x/1.mp4")
    videos = read_set(write(tmp_path / "l.csv", text))
    assert videos.classes == ["jump high", "run"]
    assert listed(videos, tmp_path) == ROWS


def test_commas_in_quoted_names_and_other_scripts_are_kept(tmp_path: Path):
    touch(tmp_path, "一.mp4")
    videos = read_set(write(tmp_path / "l.csv", '"a, b.mp4","čaj, hot"\n一.mp4,挥手\n'))
    assert listed(videos, tmp_path) == [("a, b.mp4", "čaj, hot"), ("一.mp4", "挥手")]


@pytest.mark.parametrize("text", ["a, b.mp4 1\nc.mp4 0\n", "a, b.mp4\t1\n", "a, b.mp4 1\nd, e f.mp4 0\n"])
def test_names_in_a_spaced_list_may_hold_commas(tmp_path: Path, text: str):
    touch(tmp_path, "a, b.mp4")
    assert listed(read_set(write(tmp_path / "l.txt", text)), tmp_path)[0] == ("a, b.mp4", "1")


NAMES = st.text(
    st.characters(exclude_characters='\r\n\t\0"/', exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name == name.strip())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(NAMES, st.integers(0, 99)), min_size=1, max_size=6), st.booleans())
def test_any_names_are_read_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, int]], spaced: bool):
    path = tmp_path_factory.mktemp("lists") / "l.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        if spaced:
            file.writelines(f"{name}.mp4 {label}\n" for name, label in pairs)
        else:
            csv.writer(file).writerows((f"{name}.mp4", label) for name, label in pairs)
    assert [(row.name, row.label) for row in read_rows(path)] == [(f"{name}.mp4", str(label)) for name, label in pairs]


def test_names_may_start_with_a_dash_or_hold_endings_and_quotes(tmp_path: Path):
    names = ["-x.mp4", "--help.mp4", "a.mp4 b.mp4", "it's.mp4", "100%.MP4"]
    videos = read_set(write(touch(tmp_path, *names) / "l.txt", "".join(f"{name} 0\n" for name in names)))
    assert [name for name, _ in listed(videos, tmp_path)] == names


def test_names_that_are_no_utf8_keep_their_bytes(tmp_path: Path):
    name = b"caf\xe9.mp4"
    try:
        write(tmp_path / os.fsdecode(name), b"")
    except OSError:
        pytest.skip("this file system does not take the name")
    for text in (name + b",0\n", name + b" 0\n"):
        videos = read_set(write(tmp_path / "l.csv", text))
        assert videos.samples == [Sample(tmp_path / os.fsdecode(name), 0)]
        assert os.path.exists(videos.samples[0].path)


def test_a_label_that_is_no_utf8_is_refused_with_its_row(tmp_path: Path):
    path = write(tmp_path / "l.csv", "x.mp4,tea\nx.mp4,ä".encode("latin-1"))
    with pytest.raises(DataError, match=re.escape(f"{path}, row 2: the label is no UTF-8 text; save the list as")):
        read_set(path)


def test_absolute_paths_stay_absolute(tmp_path: Path):
    file = touch(tmp_path, "elsewhere/x.mp4") / "elsewhere/x.mp4"
    videos = read_set(write(tmp_path / "lists/l.csv", f"{file},a\n"))
    assert videos.samples == [Sample(file, 0)]


@pytest.mark.parametrize(
    "text",
    [
        "path,class\n",
        "Video Name,Target\n",
        "filename,y\n",
        "\n\npath,Class ID\n",
        '"path","category_id"\n',
        "video label_id\n",
        "video\tclass\n",
        "clip path class name\n",
    ],
)
def test_the_first_row_is_a_header_where_its_label_alone_is_no_number(tmp_path: Path, text: str):
    between = "," if "," in text else "\t" if "\t" in text else " "
    numbered = "".join(f"a{i}.mp4{between}{i}\n" for i in range(12))
    videos = read_set(write(touch(tmp_path, "a0.mp4") / "l.csv", text + numbered))
    assert (videos.classes, videos.named) == ([str(i) for i in range(12)], False)
    assert [sample.label for sample in videos.samples] == list(range(12))


@pytest.mark.parametrize("header", ["folder num_frames class", "id frames label_id", "folder\tnum_frames\tclass"])
def test_a_list_of_frame_folders_may_have_a_header(tmp_path: Path, header: str):
    (tmp_path / "48032").mkdir()
    videos = read_set(write(tmp_path / "l.txt", f"{header}\n100218 42 1\n48032 57 0\n"))
    assert [sample.label for sample in videos.samples] == [1, 0]


@pytest.mark.parametrize("header", ["path,class", "Video_Path,Class_Name", "file,category", "video class"])
def test_a_header_above_names_is_no_class(tmp_path: Path, header: str):
    between = "," if "," in header else " "
    path = write(touch(tmp_path, "x.mp4") / "l.csv", f"{header}\nx.mp4{between}run\ny.mp4{between}jump\n")
    assert read_set(path).classes == ["jump", "run"]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a.mp4,label\nb.mp4,run\n", ["label", "run"]),
        ("a.mp4 label\nb.mp4 run\n", ["label", "run"]),
        ("a.mp4 class 1\nb.mp4 class 2\n", ["class 1", "class 2"]),
        ("v_a,run\nv_b,jump\n", ["run", "jump"]),
    ],
)
def test_a_first_row_that_names_a_file_is_no_header(tmp_path: Path, text: str, labels: list[str]):
    assert [row.label for row in read_rows(write(tmp_path / "l.csv", text))] == labels


# Semicolons, and columns that are turned round


@pytest.mark.parametrize(
    "text",
    [
        "1;jump high\n2;run\n",
        "1;run, slowly\n2;run\n3;jump\n",
        "1;jump\n2;run\n",
        "id;label\n1;jump\n2;run\n",
        "path;label\r\n1.mp4;jump high\r\n2.mp4;run\r\n",
        "sep=;\r\npath;label\r\n1.mp4;jump high\r\n2.mp4;run\r\n",
        "\ufeffVideo;Class\n1.mp4; jump, high\n2.mp4;run\n",
        '"1.mp4";"jump; high"\n"2.mp4";"run"\n',
        "1.mp4;0\n2.mp4;1\n",
        "1.mp4;jump, high\n",
    ],
)
def test_semicolons_may_stand_for_commas(tmp_path: Path, text: str):
    rows = read_rows(write(tmp_path / "l.csv", text))
    assert [row.name.removesuffix(".mp4") for row in rows] == ["1", "2", "3"][: len(rows)]
    assert all(";" not in row.name and row.label in text for row in rows)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.mp4 x;y\nb.mp4 z;w\n", "a.mp4"),
        ("a.mp4,x;y\nb.mp4,z;w\n", "a.mp4"),
        ("a;b.mp4,run\n", "a;b.mp4"),
        ("a;b.mp4 run\nc;d.mp4 jump\n", "a;b.mp4"),
        ("x.mp4;y.mp4,3\n", "x.mp4;y.mp4"),
    ],
)
def test_a_semicolon_in_a_name_or_a_label_is_a_part_of_it(tmp_path: Path, text: str, name: str):
    assert read_rows(write(tmp_path / "l.csv", text))[0].name == name


def test_a_row_that_lacks_its_semicolon_is_named(tmp_path: Path):
    path = write(touch(tmp_path, "1.mp4") / "l.csv", "1.mp4;run\n2.mp4;\n")
    with pytest.raises(DataError, match=r"row 2: .* is not path;label: two values, both filled"):
        read_set(path)


@pytest.mark.parametrize(
    "text",
    [
        "label,path\nrun,1.mp4\njump,2.mp4\n",
        "Class;Video\nrun;1.mp4\njump;2.mp4\n",
        "label,id\nrun,1.mp4\njump,2.mp4\n",
        "run,1.mp4\njump,2.mp4\n",
    ],
)
def test_labels_may_stand_before_names(tmp_path: Path, text: str):
    videos = read_set(write(touch(tmp_path, "1.mp4") / "l.csv", text))
    assert listed(videos, tmp_path) == [("1.mp4", "run"), ("2.mp4", "jump")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[{"vid_name": "1", "label": 3, "start_frame": 0}]',
            "entry 1 has no id, but looks like Diving48, with the keys",
        ),
        ('{"images": [], "annotations": [], "categories": []}', "looks like COCO, with the keys images, annotations"),
        ('{"x1": {"annotations": {}, "subset": "train"}}', "looks like Kinetics, with the keys x1"),
        ('{"a": 1}', "is not a list of entries, but has the keys a; expected the list of Something-Something V2"),
    ],
)
def test_the_json_of_another_set_is_told(tmp_path: Path, text: str, says: str):
    with pytest.raises(DataError, match=re.escape(says) + ".* as a csv of path,label"):
        read_set(write(tmp_path / "l.json", text))


# Two Unicode forms of one name

COMPOSED, DECOMPOSED = "p\u00e9tanque \u00e0 deux", "pe\u0301tanque a\u0300 deux"


@pytest.mark.parametrize(("written", "there"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_file_is_found_by_its_name_in_the_other_form(tmp_path: Path, written: str, there: str):
    touch(tmp_path, f"{there}/{there}.mp4", f"{there}/b.webm", f"{there}/c/0.jpg")
    path = write(tmp_path / "l.csv", f"{written}/{written}.mp4,a\n{written}/b.webm,b\n")
    assert all(os.path.exists(sample.path) for sample in read_set(path).samples)
    assert all(os.path.exists(s.path) for s in read_set(write(path, f"{written}/b,a\n")).samples)
    assert all(os.path.exists(s.path) for s in read_set(write(path, f"{written}/c 1 0\n")).samples)


def test_two_forms_of_a_label_are_one_class(tmp_path: Path):
    touch(tmp_path, "1.mp4", "3.mp4")
    write(tmp_path / "train.csv", f"1.mp4,{COMPOSED}\n2.mp4,{DECOMPOSED}\n4.mp4,run\n")
    write(tmp_path / "val.csv", f"3.mp4,{DECOMPOSED}\n")
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == [COMPOSED, "run"]
    write(tmp_path / "classes.txt", f"run\n{DECOMPOSED}\n")
    assert [sample.label for sample in read_set(tmp_path, split="train").samples] == [1, 1, 0]


def test_two_forms_of_a_class_folder_are_one_class(tmp_path: Path):
    touch(
        tmp_path, f"train/{COMPOSED}/1.mp4", f"train/{DECOMPOSED}/2.mp4", "train/run/3.mp4", f"val/{DECOMPOSED}/4.mp4"
    )
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == [COMPOSED, "run"]
    assert [sample.label for sample in train.samples] == [0, 0, 1]
    old = ["run", DECOMPOSED]  # of a checkpoint
    assert [s.label for s in train.relabelled(old, source="the checkpoint").samples] == [1, 1, 0]


def test_labels_that_were_kept_from_being_formulas_are_read_back(tmp_path: Path):
    videos = read_set(write(touch(tmp_path, "=a.mp4") / "l.csv", "./=a.mp4,'=run\nb.mp4,'-jump\nc.mp4,''+x\n"))
    assert listed(videos, tmp_path) == [("=a.mp4", "=run"), ("b.mp4", "-jump"), ("c.mp4", "'+x")]
