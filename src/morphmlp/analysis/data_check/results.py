"""The files that a check writes: report, table of files, and lists of what is good."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphmlp.analysis.data_check.inventory import WHOLE, Inventory
from morphmlp.analysis.data_check.report import CheckReport
from morphmlp.config import ListConfig
from morphmlp.data.media.remote import place_of
from morphmlp.data.media.sources import why_not_listed
from morphmlp.data.media.stretches import Stretch, stretch_columns
from morphmlp.data.sets.class_names import CLASSES_FILE, read_class_names
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.matching import are_numbers
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.data.sets.splits import SPLITS, split_set
from morphmlp.data.sets.written import SEPARATOR
from morphmlp.errors import DataError
from morphmlp.files import replace_json, replaced_file
from morphmlp.formatting import csv_path, csv_text

LISTS = tuple(f"{split}.csv" for split in SPLITS)
RESULT_FILES = ("report.json", "files.csv", *LISTS, CLASSES_FILE)


def write_results(report: CheckReport, inventory: Inventory, folder: Path) -> CheckReport:
    """Writes `RESULT_FILES`; returns the report, which now tells of the clean lists."""
    clean, note = _write_clean_lists(report, inventory, folder)
    report = replace(report, clean=clean, clean_note=note)
    _write_files(report, folder / "files.csv")
    replace_json(folder / "report.json", report.to_dict())
    return report


def _write_files(report: CheckReport, path: Path) -> None:
    columns = ("frames", "fps", "width", "height", "rotation", "codec", "duration_s")
    with replaced_file(path) as table:
        writer = csv.writer(table)
        bounds = stretch_columns(file.source for file in report.files)
        writer.writerow(["path", *bounds, "split", "label", "status", "reason", *columns, "bytes", "notes"])
        for file in report.files:
            label = csv_text(report.class_of(file) or "")
            status = "broken" if file.broken else "ok"
            facts = [_cell(getattr(file.facts, column)) for column in columns]
            place = [csv_path(file.path), *(bound(file.source) for bound in bounds.values())]
            cells = [*place, file.split, label, status, csv_text(file.facts.reason or ""), *facts]
            writer.writerow([*cells, file.bytes, "; ".join(file.notes)])


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return csv_text(value)
    return round(value, 3) if isinstance(value, float) else value


def _write_clean_lists(report: CheckReport, inventory: Inventory, folder: Path) -> tuple[list[Path], str | None]:
    """The lists of readable files, with the classes in their order; and why there are none, or what is wrong."""
    for name in (*LISTS, CLASSES_FILE):
        (folder / name).unlink(missing_ok=True)
    if inventory.count_annotation is not None:
        return [], f"there are no lists of images with annotations: {_step_for_pairs(report)}"
    if not inventory.classes:
        return [], "there are no clean lists, as there are no labels: put each class into a folder of its name"
    if reason := next((reason for file in report.readable if (reason := why_not_listed(file.source))), None):
        return [], f"there are no clean lists, as {reason}; training leaves out broken files by itself"
    try:
        parts = _clean_parts(report, inventory)
    except DataError as error:
        return [], f"there are no clean lists: {error}"
    numbers = are_numbers(inventory.classes)  # as such they are matched by their value, in whatever order they are
    labels = inventory.classes if numbers else [str(label) for label in range(len(inventory.classes))]
    paths = []
    for name, part in parts.items():
        paths.append(folder / f"{name}.csv")
        with replaced_file(paths[-1]) as file:
            writer = csv.writer(file)
            bounds = stretch_columns(sample.path for sample in part.samples)
            writer.writerow(["path", "label", *bounds])
            for sample in part.samples:
                cells = [bound(sample.path) for bound in bounds.values()]
                label = SEPARATOR.join(labels[label] for label in sample.classes)
                writer.writerow([place_of(sample.path), label, *cells])
    if inventory.named or labels[0] != "0":
        with replaced_file(folder / CLASSES_FILE) as file:
            file.writelines(f"{name}\n" for name in inventory.classes)
    return paths, _read_back(parts, folder, ListConfig(multi_label=inventory.multi_label))


def _step_for_pairs(report: CheckReport) -> str:
    if report.broken:
        return "mend or remove the broken pairs, or set the option that their reasons name"
    return "see why training refuses the set" if report.refusal else "all pairs can be read, train on the folder itself"


def _clean_parts(report: CheckReport, inventory: Inventory) -> dict[str, LabelledSet]:
    """The readable files by split; a set without splits is split as training would."""
    parts: dict[str, LabelledSet] = {}
    for name in report.splits:
        files = [file for file in report.readable if file.split == name]
        samples = [Sample(file.source, file.file.label or 0, labels=file.file.labels) for file in files]
        kind = files[0].kind if files else "video"
        parts[name] = LabelledSet(samples, inventory.classes, inventory.named, kind, multi_label=inventory.multi_label)
    if WHOLE in parts:
        return dict(zip(SPLITS, split_set(parts[WHOLE], inventory.split, source=str(inventory.root)), strict=False))
    return {name: part for name, part in parts.items() if part.samples}


def _read_back(parts: dict[str, LabelledSet], folder: Path, lists: ListConfig) -> str | None:
    """Why training would refuse the lists, or read something else from them; None where all is well."""
    try:
        read = {name: read_set(folder, split=name, lists=lists) for name in parts}
        if "train" in parts:
            read_training_sets(folder, lists=lists)
        classes = read_class_names(folder / CLASSES_FILE) if (folder / CLASSES_FILE).is_file() else None
    except DataError as error:
        return f"training would refuse the clean lists: {error}"
    for name, part in parts.items():
        wanted = [_place(sample) for sample in part.samples]
        found = [_place(sample) for sample in read[name].samples]
        if wanted != found or classes not in (None, part.classes):
            return f"names with spaces at their ends or line breaks do not survive in {folder / name}.csv: rename them"
    return None


def _place(sample: Sample) -> tuple[Any, ...]:
    """What a list says of a sample."""
    span = sample.path.span if isinstance(sample.path, Stretch) else None
    return place_of(sample.path), span, sample.classes
