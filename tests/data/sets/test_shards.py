"""Tar shards: every sample of every shard once, with its bytes, and what is said of shards that are not whole."""

import io
import json
import os
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.media.sources import TarMember
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.read import evaluation_split, read_set, read_training_sets
from morphmlp.errors import DataError

Members = list[tuple[str, bytes]]


def write_shard(path: Path, members: Members, *, format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def content_of(key: str) -> bytes:
    return f"video of {key} ".encode() * (len(key) + 40)


def samples(*labels: str | int, start: int = 0) -> Members:
    """`000000.mp4` and `000000.cls`, and so on."""
    members: Members = []
    for number, label in enumerate(labels, start=start):
        key = f"{number:06d}"
        members += [(f"{key}.mp4", content_of(key)), (f"{key}.cls", str(label).encode())]
    return members


def found(root: Path, **options: str) -> list[tuple[str, str]]:
    """Name in its shard and class of each sample."""
    part = read_set(root, **options)
    return [(os.path.basename(sample.path), part.classes[sample.label]) for sample in part.samples]


# Layouts and labels


@pytest.mark.parametrize("pattern", ["{}/000.tar", "{}-000.tar", "{}/data-part.TAR"])
def test_shards_of_train_and_val_are_found(tmp_path: Path, pattern: str):
    write_shard(tmp_path / pattern.format("train"), samples("run", "jump", "run"))
    write_shard(tmp_path / pattern.format("val"), samples("run", start=9))
    train, val = read_training_sets(tmp_path)
    assert (train.classes, train.kind, train.named) == (["jump", "run"], "video", True)
    assert [sample.label for sample in train.samples] == [1, 0, 1]
    assert [os.path.basename(sample.path) for sample in val.samples] == ["000009.mp4"]
    assert evaluation_split(tmp_path) == "val"


def test_samples_come_in_the_order_of_the_shards_and_their_members(tmp_path: Path):
    write_shard(tmp_path / "train/001.tar", samples("a", start=0))
    write_shard(tmp_path / "train/000.tar", samples("b", "a", start=5))
    assert found(tmp_path, split="train") == [("000005.mp4", "b"), ("000006.mp4", "a"), ("000000.mp4", "a")]


def test_one_folder_of_shards_or_one_shard_is_split(tmp_path: Path):
    path = write_shard(tmp_path / "0.tar", samples(*"ab" * 10))
    for root in (tmp_path, path):
        train, val = read_training_sets(root, SplitConfig(val_fraction=0.2))
        assert Counter(sample.label for sample in val.samples) == {0: 2, 1: 2}
        assert len({sample.path for sample in [*train.samples, *val.samples]}) == 20
    train, val = read_training_sets(tmp_path, SplitConfig(val_fraction=0.5, group_pattern=r"^0000(\d)"))
    assert {os.path.basename(sample.path)[4] for sample in val.samples} in ({"0"}, {"1"})


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ([("x.cls", b"7\n")], "7"),
        ([("x.cls", b"pouring tea")], "pouring tea"),
        ([("x.txt", b"\xef\xbb\xbfpouring tea\r\n")], "pouring tea"),
        ([("x.json", json.dumps({"label": 7, "fps": 30}).encode())], "7"),
        ([("x.json", json.dumps({"label": "tea"}).encode())], "tea"),
        ([("x.txt", b"a man pours tea"), ("x.json", b'{"label": "tea"}')], "tea"),
        ([("x.json", b'{"label": "tea"}'), ("x.cls", b"3"), ("x.txt", b"4")], "3"),
        ([("x.json", b'{"fps": 30}'), ("x.txt", b"4")], "4"),
    ],
)
def test_a_label_is_a_number_or_a_name_in_any_of_three_files(tmp_path: Path, members: Members, label: str):
    write_shard(tmp_path / "0.tar", [*members, ("x.mp4", b"video")])
    assert found(tmp_path) == [("x.mp4", label)]


def test_a_label_may_stand_before_or_long_after_its_sample(tmp_path: Path):
    members = samples("a", "b", "c")
    write_shard(tmp_path / "0.tar", members[1::2] + members[::2])
    assert found(tmp_path) == [("000000.mp4", "a"), ("000001.mp4", "b"), ("000002.mp4", "c")]


def test_keys_may_hold_dots_folders_and_other_scripts_and_be_long(tmp_path: Path):
    keys = ["clip.v1", "clip.v2", "a/clip.v1", "挥手", "-x y", "long" * 60]
    members = [(f"{key}{suffix}", b"0") for key in keys for suffix in (".mp4", ".cls")]
    for number, format in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        path = write_shard(tmp_path / f"{number}.tar", members, format=format)
        part = read_set(path)
        assert [str(sample.path) for sample in part.samples] == [f"{path}/{key}.mp4" for key in keys]
        assert all(sample.path.read() == b"0" for sample in part.samples if isinstance(sample.path, TarMember))


def test_names_in_a_shard_that_are_no_utf8_are_kept(tmp_path: Path):
    key = os.fsdecode(b"caf\xe9")
    write_shard(tmp_path / "0.tar", [(f"{key}.mp4", b"v"), (f"{key}.cls", b"0")], format=tarfile.GNU_FORMAT)
    assert found(tmp_path) == [(f"{key}.mp4", "0")]


def test_other_members_are_left_out(tmp_path: Path):
    extra = [("._000000.mp4", b"x"), ("000000.npy", b"x"), ("readme", b"x"), ("notes.txt", b"many\nlines"[:4])]
    path = write_shard(tmp_path / "0.tar", samples("a") + extra)
    with tarfile.open(path, "a") as archive:
        folder = tarfile.TarInfo("folder.mp4")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert found(tmp_path) == [("000000.mp4", "a")]


def test_shards_of_images_are_a_set_of_images(tmp_path: Path):
    write_shard(tmp_path / "0.tar", [("x.JPEG", b"picture"), ("x.cls", b"0")])
    assert read_set(tmp_path).kind == "image"


def test_numbers_take_their_names_from_the_data_folder(tmp_path: Path):
    (tmp_path / "classes.txt").write_text("b\na\n")
    write_shard(tmp_path / "train/0.tar", samples(1, 0))
    write_shard(tmp_path / "val/0.tar", samples(1, start=5))
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == ["b", "a"]
    assert [sample.label for sample in train.samples] == [1, 0]


def test_labels_are_checked_as_those_of_lists(tmp_path: Path):
    write_shard(tmp_path / "train/0.tar", samples(2, 1))
    write_shard(tmp_path / "val/0.tar", samples(2, start=5))
    message = f"{tmp_path}/train, 0.tar/000001.mp4: label 1 is the smallest, and classes count from 0"
    with pytest.raises(DataError, match=re.escape(message)):
        read_training_sets(tmp_path)
    train, _ = read_training_sets(tmp_path, lists=ListConfig(first_label=1))
    assert [sample.label for sample in train.samples] == [1, 0]
    (tmp_path / "classes.txt").write_text("x\n")
    with pytest.raises(DataError, match=r"0\.tar/000000\.mp4: label 2, but .*classes\.txt names 1 classes"):
        read_training_sets(tmp_path)


def test_one_key_may_stand_in_two_shards(tmp_path: Path):
    write_shard(tmp_path / "0.tar", samples("a"))
    write_shard(tmp_path / "1.tar", samples("b"))
    assert found(tmp_path) == [("000000.mp4", "a"), ("000000.mp4", "b")]


def test_a_shard_in_train_and_val_is_refused(tmp_path: Path):
    write_shard(tmp_path / "train/0.tar", samples("a", "b"))
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(DataError, match="2 videos are in both train and val"):
        read_training_sets(tmp_path)


def test_archives_beside_the_class_folders_that_came_in_them_are_no_shards(tmp_path: Path):
    for split in ("train", "val"):
        for name in ("n01440764", "n01443537"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / f"{split}.JPEG").touch()
            (tmp_path / split / f"{name}.tar").write_bytes(b"archive")
    train, _ = read_training_sets(tmp_path)
    assert (train.kind, train.classes) == ("image", ["n01440764", "n01443537"])


# What cannot be used


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (
            [("a.mp4", b"v"), ("a.cls", b"0"), ("b.mp4", b"v"), ("c.mp4", b"v")],
            "2 of 3 samples have no label: b.mp4, c",
        ),
        ([("a.mp4", b"v"), ("a.cls", b"0"), ("b.cls", b"0")], "1 labels have no video or image: b.cls"),
        ([("a.mp4", b"v"), ("a.webm", b"v"), ("a.cls", b"0")], "a.webm and a.mp4 share the key a; rename one"),
        ([("a.mp4", b"v"), ("a.mp4", b"v"), ("a.cls", b"0")], "a.mp4 and a.mp4 share the key a; rename one"),
        ([("a.mp4", b"v"), ("a.cls", b"0"), ("a.cls", b"1")], "a.cls is there twice; each key needs one label"),
        ([("a.mp4", b"v"), ("a.cls", b"")], "a.cls is no label (expected one number or name)"),
        ([("a.mp4", b"v"), ("a.cls", b"\xff")], "a.cls is no label ('utf-8' codec"),
        ([("a.mp4", b"v"), ("a.json", b"{")], "a.json is no label (Expecting"),
        (
            [("a.mp4", b"v"), ("a.json", b'{"label": [[1]]}')],
            'a.json is no label ("label" must be a number or a name, or',
        ),
        ([("a.mp4", b"v"), ("a.json", b"[" * 100_000)], "a.json is no label (its values are nested too deeply)"),
        ([("a.mp4", b"v"), ("a.json", b'{"class": 1}')], "1 of 1 samples have no label: a.mp4; expected key.cls"),
        ([("a.npy", b"v")], " holds no videos or images; expected members such as key.mp4 and key.cls"),
        ([], " holds no videos or images"),
        ([("a.mp4", b"v"), ("a.cls", bytes(2**20 + 1))], "a.cls is no label (it is 1048577 bytes long)"),
    ],
)
def test_members_that_do_not_fit_are_refused(tmp_path: Path, members: Members, reason: str):
    write_shard(tmp_path / "0.tar", samples("x"))
    path = write_shard(tmp_path / "1.tar", members)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}:? {re.escape(reason.strip())}"):
        read_set(tmp_path)


@pytest.mark.parametrize("member", range(4))
@pytest.mark.parametrize("offset", [0, 1, 100, 511, 512, 600, 1023])
def test_a_shard_that_is_cut_off_anywhere_is_refused(tmp_path: Path, member: int, offset: int):
    path = write_shard(tmp_path / "0.tar", samples("a", "b"))
    with tarfile.open(path) as archive:
        position = archive.getmembers()[member].offset + offset
    os.truncate(path, position)
    with pytest.raises(DataError, match=r"0\.tar is (no uncompressed tar archive, or is )?cut off.*make it anew"):
        read_set(tmp_path)


def test_a_shard_that_lacks_its_end_or_is_damaged_within_is_refused(tmp_path: Path):
    path = write_shard(tmp_path / "0.tar", samples("a", "b"))
    with tarfile.open(path) as archive:
        third, end = archive.getmembers()[2].offset, archive.offset
    content = path.read_bytes()
    path.write_bytes(content[:end])
    with pytest.raises(DataError, match=rf"0\.tar is cut off or damaged after 2 samples \(no end .* at byte {end}\)"):
        read_set(tmp_path)
    path.write_bytes(content[:third] + b"\xff" * 512 + content[third + 512 :])
    with pytest.raises(DataError, match=rf"0\.tar is cut off or damaged after 1 samples \(no end .* at byte {third}\)"):
        read_set(tmp_path)


def test_what_is_no_tar_archive_or_is_compressed_is_refused(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/0.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match=r"0\.tar is no uncompressed tar archive"):
        read_set(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b/0.tar", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"0\.tar is no uncompressed tar archive"):
        read_set(tmp_path / "b")
    (tmp_path / "b/0.tar").rename(tmp_path / "b/0.tar.gz")
    with pytest.raises(DataError, match=r"0\.tar\.gz is compressed, so its members cannot be read alone"):
        read_set(tmp_path / "b")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 10_239), st.integers(0, 255)), max_size=3), st.integers(0, 10_240))
def test_a_damaged_shard_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
):
    path = write_shard(tmp_path_factory.mktemp("shard") / "0.tar", samples("a", "b", "c"))
    content = bytearray(path.read_bytes())
    assert len(content) == 10_240
    for position, value in changes:
        content[position] = value
    path.write_bytes(content[: 10_240 - (cut if cut % 2 else 0)])
    message = ""
    try:
        assert read_set(path).samples
    except DataError as error:
        message = str(error)
    assert not message or (str(path) in message and "\n" not in message)


# Reading by several processes


class Contents(Dataset):
    """The bytes of each sample, with its index."""

    def __init__(self, samples: list[Sample]):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        source = self.samples[index].path
        assert isinstance(source, TarMember)
        return index, source.read()


def test_two_ranks_with_two_workers_see_every_sample_once_with_its_bytes(tmp_path: Path):
    for shard in range(3):
        labels = [str(i % 2) for i in range(7 + shard)]
        write_shard(tmp_path / f"train/{shard}.tar", samples(*labels, start=100 * shard))
    part = read_set(tmp_path, split="train")
    order = list(range(len(part.samples)))[::-1]
    seen: list[int] = []
    for rank in range(2):
        loader = DataLoader(Contents(part.samples), batch_size=None, sampler=order[rank::2], num_workers=2)
        for index, content in loader:
            seen.append(index)
            assert content == content_of(os.path.splitext(os.path.basename(part.samples[index].path))[0])
    assert sorted(seen) == list(range(24))


def test_shards_of_other_spelling_are_parts(tmp_path: Path):
    write_shard(tmp_path / "Train-0.tar", samples("run", "jump"))
    write_shard(tmp_path / "Validation-0.tar", samples("run", start=5))
    assert [len(part.samples) for part in read_training_sets(tmp_path)] == [2, 1]


# Headers that make no sense


def header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A header block with the size field as given, 12 bytes."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def pax(**records: str) -> bytes:
    lines = b""
    for key, value in records.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = next(n for n in range(len(rest), len(rest) + 9) if len(str(n)) + len(rest) == n)
        lines += str(length).encode() + rest
    return header("pax", f"{len(lines):011o}".encode(), b"x") + lines.ljust(-(-len(lines) // 512) * 512, b"\0")


MEMBER = header("z.mp4", b"00000000004") + b"film".ljust(512, b"\0")


@pytest.mark.parametrize(
    "blocks",
    [
        header("z.mp4", b"\x80" + b"\x7f" * 11),
        header("z.mp4", b"\xff" * 10 + b"\xfc\x00"),
        header("z.cls", b"\xff" * 11 + b"\x80"),
        pax(size="99999999999999999999") + MEMBER,
        pax(size="-1024") + MEMBER,
        pax(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__name="z.mp4") + MEMBER,
        pax(GNU__sparse__map="0,a", GNU__sparse__size="4") + MEMBER,
        pax(path="z\0.mp4") + MEMBER,
        b"".join(header("pax", b"00000000000", b"x") for _ in range(3000)) + MEMBER,
    ],
    ids=["huge", "negative", "negative label", "pax huge", "pax back", "sparse", "sparse map", "zero byte", "nested"],
)
@pytest.mark.parametrize("first", [[], samples("run")])
def test_a_header_that_makes_no_sense_is_one_line(tmp_path: Path, blocks: bytes, first: Members):
    shard = write_shard(tmp_path / "0.tar", first)
    good = shard.read_bytes()[: sum(512 + -(-len(content) // 512) * 512 for _, content in first)]
    shard.write_bytes(good + blocks + bytes(1024))
    with pytest.raises(DataError) as caught:
        read_set(tmp_path)
    assert str(caught.value).startswith(f"{shard}")
    assert str(caught.value).isprintable()


def test_times_that_are_no_numbers_do_no_harm(tmp_path: Path):
    shard = write_shard(tmp_path / "0.tar", samples("run", "jump"))
    shard.write_bytes(pax(mtime="nan") + shard.read_bytes())
    assert len(read_set(tmp_path).samples) == 2


def test_a_json_beside_a_member_may_say_its_stretch(tmp_path: Path):
    shard = tmp_path / "a.tar"
    labels = [{"label": "run", "start": 1.5, "end": 4}, {"label": "jump"}]
    with tarfile.open(shard, "w") as archive:
        for number, label in enumerate(labels):
            for name, content in ((f"{number}.mp4", b"x" * 10), (f"{number}.json", json.dumps(label).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    paths = [sample.path for sample in read_set(shard).samples]
    assert isinstance(paths[0], Stretch)
    assert (paths[0].span, str(paths[0])) == ((1.5, 4, "seconds"), f"{shard}/0.mp4 (1.5 to 4 s)")
    assert isinstance(paths[1], TarMember)
