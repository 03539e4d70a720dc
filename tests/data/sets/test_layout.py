"""A new way of keeping data is a class and a row: training, the choice of a split and check-data take it from there."""

from pathlib import Path

import pytest

from morphmlp.analysis.data_check.inventory import take_inventory
from morphmlp.data.sets import read
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.read import evaluation_split, read_set, read_training_sets
from morphmlp.data.sets.written import WrittenSample, labelled_set


class NameFiles(Layout[Path]):
    """`train.names`, `test.names`: one name a line, whose beginning is the class."""

    def find(self, place: Place) -> Path | None:
        path = place.root if place.split is None else place.root / f"{place.split}.names"
        return path if path.suffix == ".names" and path.is_file() else None

    def read(self, found: Path, place: Place) -> LabelledSet:
        names = found.read_text().split()
        samples = [WrittenSample(name, found.parent / name, name.partition("_")[0]) for name in names]
        return labelled_set(samples, origin=found, names=None, training=place.training)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in a new layout, with class folders beside its files."""
    monkeypatch.setattr(read, "LAYOUTS", (NameFiles(), *read.LAYOUTS))
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.names").write_text(f"run_{split}.mp4 jump_{split}.mp4")
        (tmp_path / split / "run").mkdir(parents=True)
    return tmp_path


def test_the_first_layout_that_finds_a_set_reads_it(root: Path):
    train, val = read_training_sets(root)
    assert train.classes == val.classes == ["jump", "run"]
    assert [(sample.path, sample.label) for sample in val.samples] == [
        (root / "run_val.mp4", 1),
        (root / "jump_val.mp4", 0),
    ]


def test_a_file_or_a_split_is_read_alone(root: Path):
    assert read_set(root / "val.names") == read_set(root, split="val")
    assert evaluation_split(root) == "test"


def test_a_check_of_the_data_finds_the_same_files(root: Path):
    inventory = take_inventory(root)
    assert inventory.refusal is None
    assert [file.split for file in inventory.files] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert inventory.files[2].job.path == root / "run_val.mp4"
