"""How a data set's files are read and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from morphmlp.config.base import Config
from morphmlp.config.inputs import LEAST_WINDOW_S, MOST_WINDOW_S


@dataclass(frozen=True)
class SplitConfig(Config):
    """How a folder without `train` and `val` is split.

    Attributes:
        val_fraction: share of each class's videos, or of the groups, that goes to validation.
        group_pattern: regular expression on the file name; its first group (or the whole match) names what
            must not be on both sides, such as a speaker: `^([FM]\\d+)_`.
        seed: of the draw.
        folds: divide all samples, those of `train` and `val` together, into so many parts of whole groups instead.
        fold: the part of them that is the validation part, from 1; the others are for training.
    """

    val_fraction: float = 0.2
    group_pattern: str | None = None
    seed: int = 0
    folds: int | None = None
    fold: int | None = None

    def validate(self) -> None:
        self._require(self.folds is None or 2 <= self.folds <= 1_000, "folds", "2 to 1,000, or None")
        allowed = "None without folds"
        if self.folds is not None:
            allowed = f"1 to {self.folds}; --folds {self.folds} trains all of them"
        self._require((self.fold or 0) in range(self.folds is not None, (self.folds or 0) + 1), "fold", allowed)
        self._require(0 < self.val_fraction < 1, "val_fraction", "between 0 and 1")
        self._require(self.seed >= 0, "seed", "0 or more")


@dataclass(frozen=True)
class ListConfig(Config):
    """Where the lists of a set of videos or images are, and how they are read.

    Attributes:
        train: list file of the training part; None looks for `train` with .csv, .tsv, .txt, .json or .xml in the
            data folder.
        val: list file of the validation part; None looks for `val` in the same way.
        prefix: folder that the names in lists are relative to; None takes the data folder, then the list's.
        labels: class names in the order of the labels: "k400", "ssv1", "ssv2", or a text file with one name a line;
            None takes `classes.txt` or `labels.json` of the data folder.
        first_label: the number of the first class in the lists, 0 or 1; None refuses lists that seem to count from 1.
        frame_folders: a folder of images below a class folder is a video; one that a list names always is.
        fps: the rate that the frame numbers of a list assume; None counts the frames of the file, whatever their rate.
        background: share of clips from between the labelled stretches, of class `(nothing)`, among the samples.
        window: seconds of the windows that clips of stretches are, each with its middle in the stretch, so that
            recordings can be watched through such windows; 0 takes twice the median length of the training's
            stretches. None: a clip is the stretch itself.
        multi_label: a row of a list may have several labels, or none: parted by `|`, or in several columns. None takes
            lists with several label columns for such ones, and refuses `|`, which may be part of a name.
    """

    paths = ("train", "val", "prefix", "labels")

    train: str | None = None
    val: str | None = None
    prefix: str | None = None
    labels: str | None = None
    first_label: Literal[0, 1] | None = None
    frame_folders: bool = False
    fps: float | None = None
    background: float = 0.0
    window: float | None = None
    multi_label: bool | None = None

    def validate(self) -> None:
        self._require(self.fps is None or 0 < self.fps < 10_000, "fps", "above 0 and below 10000, or None")
        self._require(0 <= self.background <= 0.9, "background", "0 to 0.9")
        within = not self.window or LEAST_WINDOW_S <= self.window <= MOST_WINDOW_S
        allowed = f"{LEAST_WINDOW_S} to {MOST_WINDOW_S:,} s, 0 (from the data), or None"
        self._require(within, "window", allowed)


@dataclass(frozen=True)
class MaskConfig(Config):
    """How the annotations of a segmentation set are read.

    Attributes:
        labels: class names: "ade20k", or a text file with one name a line; None takes `classes.txt` of the data.
        ignore_index: the value of pixels without a class, beside 255, which never has one (CamVid: 11).
        reduce_zero_label: 0 means "no class" and the values 1 to N the classes 0 to N - 1 (ADE20K).
        values: the value of each class, in the order of the classes: `[0, 255]` for masks in black and white; where it
            is empty, the values are 0 to N - 1. Of these, 255 is a class too.
    """

    paths = ("labels",)

    labels: str | None = None
    ignore_index: int = 255
    reduce_zero_label: bool = False
    values: tuple[int, ...] = ()

    def validate(self) -> None:
        self._require(0 <= self.ignore_index <= 65535, "ignore_index", "0 to 65535")
        self._require(all(0 <= value <= 65535 for value in self.values), "values", "0 to 65535 each")
        self._require(len(set(self.values)) == len(self.values), "values", "different ones, one for each class")
        self._require(not (self.values and self.reduce_zero_label), "reduce_zero_label", "False where values are given")
        self._require(
            self.ignore_index == 255 or self.ignore_index not in self.values, "ignore_index", "none of masks.values"
        )
