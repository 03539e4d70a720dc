"""Labelled videos or images on disk: class folders, lists or tar shards; and the split into training and validation.

The layouts are told apart by what the folder holds, as are videos (shown here) and images:

    DIR/train/<class>/*.mp4, DIR/val/<class>/*.mp4      split by the user
    DIR/train.csv, DIR/val.csv                           lists, also .txt, .json ...: see `list_rows`
    DIR/train/*.tar, DIR/val/*.tar                       shards, also DIR/train-*.tar: see `shards`
    DIR/<class>/*.mp4                                    split here, by a seeded fraction
    s3://bucket/DIR, https://host/train.csv              lists and shards at an address: see `at_address`

Other spellings of the parts are known, too: see `split_names`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.media.remote import remote_file
from morphmlp.data.media.sources import Source
from morphmlp.data.sets.at_address import AtAddress
from morphmlp.data.sets.background import with_background
from morphmlp.data.sets.class_folders import ClassFolders
from morphmlp.data.sets.folds import fold_of
from morphmlp.data.sets.labelled import LabelledSet, joined_notes
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.lists import Lists
from morphmlp.data.sets.recordings import by_recording, meeting, note_on_shared
from morphmlp.data.sets.shards import Shards
from morphmlp.data.sets.split_names import split_folder
from morphmlp.data.sets.splits import evaluation_part, split_set
from morphmlp.data.sets.stretch_windows import window_length_s, with_windows
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

# The first that finds a set reads it. `Lists` takes any file that is left, and `ClassFolders` any folder.
LAYOUTS: tuple[Layout[Any], ...] = (AtAddress(), Lists(), Shards(), ClassFolders())


def read_training_sets(
    root: str | Path, config: SplitConfig | None = None, lists: ListConfig | None = None
) -> tuple[LabelledSet, LabelledSet]:
    """The training and validation sets below `root`, in any of the layouts.

    Raises:
        DataError: nothing usable is found, there are fewer than two classes, a class lacks files, there are both
            videos and images, a row of a list cannot be used, or names in one part meet numbers in the other.
    """
    root, config, lists = _existing(root), config or SplitConfig(), lists or ListConfig()
    train, val = _read_pair(root, config, lists)
    window_s = window_length_s(lists.window, train.samples, origin=root)
    background = partial(
        with_background, share=lists.background, seed=config.seed, origin=root, moments=window_s is not None
    )
    train = background(train, beside=val)
    _require_two_classes(train, root=root)
    return with_windows(train, window_s), with_windows(background(val, beside=train), window_s)


def _read_pair(root: Path, config: SplitConfig, lists: ListConfig) -> tuple[LabelledSet, LabelledSet]:
    """Both parts as they are labelled, with labels in the classes of the training part."""
    read_train = find_set(Place(root, "train", lists, training=True))
    if read_train is None:
        whole = read_set(root, lists=replace(lists, background=0.0, window=None), training=True)
        if config.fold is not None:
            return fold_of(whole, replace(whole, samples=[]), config, source=str(root))
        train, val = split_set(whole, config, source=str(root))
    else:
        train = read_train()
        if train.multi_label:
            lists = replace(lists, multi_label=True)  # of the validation part, too, whose rows may have a label each
        read_val = find_set(Place(root, "val", lists))
        if read_val is None:
            found = _name_of(root, "train")
            raise DataError(f"{root} has {found} but no val; add {root / 'val'}, or give one folder of class folders")
        val = _beside(train, read_val(), root=root)
        if config.fold is not None:
            return fold_of(train, val, config, source=str(root))
    return train, val


def _require_two_classes(train: LabelledSet, *, root: Path) -> None:
    answers = {sample.classes for sample in train.samples}
    if len(answers) < 2:
        only = ", ".join(train.classes[label] for label in answers.pop())
        raise DataError(f"{root} holds one class ({only}): at least two are needed to learn to tell apart")


def _name_of(root: Path, split: str) -> str:
    folder = split_folder(root, split)
    return folder.name if folder else split


def find_set(place: Place) -> Callable[[], LabelledSet] | None:
    """What reads the set of a place, in the first layout that finds one; None where none does."""
    for layout in LAYOUTS:
        found = layout.find(place)
        if found is not None:
            return partial(layout.read, found, place)
    return None


def _beside(train: LabelledSet, val: LabelledSet, *, root: Path) -> LabelledSet:
    """The validation set of a training set: of the same kind and classes, and with no video of it."""
    if train.multi_label != val.multi_label:
        raise DataError(
            f"{root}: val has several labels a row, but train has not; give --lists.multi_label true for both"
        )
    if train.kind != val.kind:
        raise DataError(f"{root}: train holds {train.unit}, but val {val.unit}; both need one kind")
    val = matched(val, train, root=root, name="val")
    both = _in_both(train, val)
    if both:
        raise DataError(
            f"{root}: {len(both)} {train.unit} are in both train and val, such as {min(map(str, both.values()))}"
        )
    return replace(val, note=joined_notes(val.note, note_on_shared(train.samples, val.samples)))


def _in_both(train: LabelledSet, val: LabelledSet) -> dict[Source, Source]:
    """The samples of `val` that share frames with one of `train`, and that one."""
    of_train, of_val = by_recording(train.samples), by_recording(val.samples)
    pairs = (pair for path in of_train.keys() & of_val.keys() for pair in meeting(of_val[path], of_train[path]))
    return {sample.path: other.path for sample, other in pairs}


def matched(part: LabelledSet, train: LabelledSet, *, root: Path, name: str) -> LabelledSet:
    """The part called `name`, with labels counted in the classes of the training set.

    Raises:
        DataError: a class is unknown to the training set, or one counts by names and the other by numbers.
    """
    by_name = part.named and set(part.classes) <= set(train.classes)  # folders `0`, `1`, ... beside a list of numbers
    if part.named != train.named and not train.named_by_file and not by_name:
        named, numbered, names = ("train", name, train.classes) if train.named else (name, "train", part.classes)
        raise DataError(
            f"{root}: the labels of {named} are names ({shortened(names)}), but those of {numbered} are numbers; write "
            "both alike, or give the names in the order of the numbers as --lists.labels FILE"
        )
    advice = f"; add training {train.unit} of what is missing, or leave it out of {name}"
    return part.relabelled(train.classes, source="train", part=f"{name} in {root}", advice=advice)


def read_set(
    root: str | Path, *, split: str | None = None, lists: ListConfig | None = None, training: bool = False
) -> LabelledSet:
    """One set: a list, a shard, or a folder of class folders or shards; or the named split of `root`.

    A background and windows that `lists` asks for are of the part alone; those of a training: `read_training_sets`.
    With `split=None`, a folder is taken as it is; use `evaluation_split` to find the part to evaluate on.

    Raises:
        DataError: nothing usable is found.
    """
    root, lists = _existing(root), lists or ListConfig()
    read = find_set(Place(root, split, lists, training=training or split == "train"))
    if read is None:
        return read_set(root / str(split), lists=lists)
    part = with_background(read(), lists.background, seed=0, origin=root, moments=lists.window is not None)
    return with_windows(part, lists.window or window_length_s(lists.window, part.samples, origin=root))


def evaluation_split(root: str | Path, lists: ListConfig | None = None) -> str | None:
    """The split of `root` to evaluate on: "test" or "val" where there is one, else None (the whole folder).

    A list that is given as `lists.val` comes before a "test" that happens to be there.
    """
    lists = lists or ListConfig()
    if lists.val is not None:
        return "val"
    return evaluation_part(lambda split: find_set(Place(Path(root), split, lists)) is not None)


def _existing(root: str | Path) -> Path:
    root = Path(root)
    if not root.exists() and not remote_file(root):
        raise DataError(f"{root}: no such file or folder")
    return root
