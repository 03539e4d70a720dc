"""The files that a check writes: report, table of files, and lists of what is good."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphmlp.analysis.data_check.inventory import SPLITS, WHOLE, Inventory
from morphmlp.analysis.data_check.report import CheckReport
from morphmlp.data.media.frame_folders import list_frames
from morphmlp.data.media.sources import FrameFolder, Source, TarMember
from morphmlp.data.sets.class_names import read_class_names
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.data.sets.splits import split_set
from morphmlp.errors import DataError
from morphmlp.files import replaced_file

CLASSES_FILE = "classes.txt"
LISTS = tuple(f"{split}.csv" for split in SPLITS)
RESULT_FILES = ("report.json", "files.csv", *LISTS, CLASSES_FILE)


def write_results(report: CheckReport, inventory: Inventory, folder: Path) -> CheckReport:
    """Writes `RESULT_FILES`; returns the report with what there is to say of the clean lists."""
    clean, note = _write_clean_lists(report, inventory, folder)
    report = replace(report, clean=clean, clean_note=note)
    _write_files(report, folder / "files.csv")
    with replaced_file(folder / "report.json") as file:
        json.dump(report.to_dict(), file, indent=2)
        file.write("\n")
    return report


def _write_files(report: CheckReport, path: Path) -> None:
    columns = ("frames", "fps", "width", "height", "rotation", "codec", "duration_s")
    with replaced_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "label", "status", "reason", *columns, "bytes", "notes"])
        for row in report.rows:
            label = "" if row.entry.label is None else report.classes[row.entry.label]
            status = "broken" if row.broken else "ok"
            facts = [_cell(getattr(row.facts, column)) for column in columns]
            cells = [row.path, row.entry.split, label, status, row.facts.reason or "", *facts]
            writer.writerow([*cells, row.bytes, "; ".join(row.notes)])


def _cell(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _write_clean_lists(report: CheckReport, inventory: Inventory, folder: Path) -> tuple[list[Path], str | None]:
    """The lists of readable files, with the classes in their order; and why there are none, or what is wrong."""
    for name in (*LISTS, CLASSES_FILE):
        (folder / name).unlink(missing_ok=True)
    if inventory.masks is not None:
        return [], "there are no lists of images with annotations: mend or remove the broken pairs"
    if not inventory.classes:
        return [], "there are no clean lists, as there are no labels: put each class into a folder of its name"
    if any(isinstance(row.entry.job.path, TarMember) for row in report.readable):
        return [], "there are no lists of members of tar shards; training leaves out broken ones by itself"
    if part_folder := next((row.path for row in report.readable if not _is_whole(row.entry.job.path)), None):
        return [], f"there are no clean lists, as {part_folder} has more frames than its list takes"
    try:
        parts = _clean_parts(report, inventory)
    except DataError as error:
        return [], f"there are no clean lists: {error}"
    paths = []
    for name, part in parts.items():
        paths.append(folder / f"{name}.csv")
        with replaced_file(paths[-1]) as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label"])
            writer.writerows((os.path.abspath(sample.path), sample.label) for sample in part.samples)
    if inventory.named:
        with replaced_file(folder / CLASSES_FILE) as file:
            file.writelines(f"{name}\n" for name in inventory.classes)
    return paths, _read_back(parts, folder)


def _is_whole(source: Source) -> bool:
    """Whether a path alone says which frames are meant, as it does for all but parts of a folder of frames."""
    return not isinstance(source, FrameFolder) or list_frames(source) == list_frames(source.path)


def _clean_parts(report: CheckReport, inventory: Inventory) -> dict[str, LabelledSet]:
    """The readable files by split; a set without splits is split as training would."""
    parts: dict[str, LabelledSet] = {}
    for name in report.splits:
        rows = [row for row in report.readable if row.entry.split == name]
        samples = [Sample(row.entry.job.path, row.entry.label or 0) for row in rows]
        kind = rows[0].entry.job.kind if rows else "video"
        parts[name] = LabelledSet(samples, inventory.classes, inventory.named, kind)
    if WHOLE in parts:
        return dict(zip(SPLITS, split_set(parts[WHOLE], inventory.split, source=str(inventory.root)), strict=False))
    return {name: part for name, part in parts.items() if part.samples}


def _read_back(parts: dict[str, LabelledSet], folder: Path) -> str | None:
    """Why training would refuse the lists, or read something else from them; None where all is well."""
    try:
        read = {name: read_set(folder, split=name) for name in parts}
        if "train" in parts:
            read_training_sets(folder)
        classes = read_class_names(folder / CLASSES_FILE) if (folder / CLASSES_FILE).is_file() else None
    except DataError as error:
        return f"training would refuse the clean lists: {error}"
    for name, part in parts.items():
        wanted = [(os.path.abspath(sample.path), sample.label) for sample in part.samples]
        found = [(os.path.abspath(sample.path), sample.label) for sample in read[name].samples]
        if wanted != found or classes not in (None, part.classes):
            return f"names with spaces at their ends or line breaks do not survive in {folder / name}.csv: rename them"
    return None
