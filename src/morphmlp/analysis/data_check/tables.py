"""A check of a data set for the terminal: tables, the broken files by name, and what to do about the rest."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from morphmlp.analysis.data_check.inventory import WHOLE
from morphmlp.analysis.data_check.report import (
    FIGURES,
    MOST_IMBALANCED,
    NOTES,
    ODD_RATE,
    CheckedFile,
    CheckReport,
    codecs,
    sizes,
)
from morphmlp.data.media.sources import media_kind
from morphmlp.data.sets.split_names import split_folder
from morphmlp.data.sets.splits import SPLITS
from morphmlp.display.tables import MOST_CLASSES_IN_FULL, number_columns, table, text_columns
from morphmlp.formatting import encodable, one_line, percent, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_NAMED = 10  # broken files, or reasons, on the terminal; all files are in the report
RECIPE_FPS = 30.0  # that the strides of dense sampling count in

_HEADINGS = {"duration_s": "duration", "bytes": "size of file"}


def check_tables(report: CheckReport) -> "list[RenderableType]":
    """Counts by split, figures, classes, broken files, and remarks with the next step."""
    from rich.text import Text

    tables: list[RenderableType] = [_split_table(report)]
    if report.readable:
        tables += [_figure_table(report), Text(encodable("\n".join(_kinds(report))))]
    if report.classes:
        tables.append(_pixel_table(report) if report.has_annotations else _class_table(report))
    if report.broken:
        tables.append(_broken_table(report.broken))
    return [*tables, *(Text(encodable(f"- {remark}")) for remark in remarks(report))]


def _split_table(report: CheckReport) -> "Table":
    notes = [name for name in NOTES if report.noted(name)]
    cells = [[split, "not read"] for split in _unread_splits(report)]
    for split in [*report.splits, *(["total"] if len(report.splits) > 1 else [])]:
        files = [file for file in report.files if split in ("total", file.split)]
        good = [file for file in files if not file.broken]
        noted = [sum(note in file.notes for file in good) for note in notes]
        counts = [len(files), len(good), len(files) - len(good), *noted]
        cells.append([split, *(f"{count:,}" for count in counts)])
    columns = [*text_columns("split"), *number_columns("files", "readable", "broken", *notes)]
    return table(f"{len(report.files):,} {report.unit}", columns, cells)


def _unread_splits(report: CheckReport) -> list[str]:
    """Folders of splits that nothing was taken from, in a set that training refuses."""
    if report.refusal is None or WHOLE in report.splits:
        return []
    return [name for name in SPLITS if name not in report.splits and split_folder(report.root, name)]


def _figure_table(report: CheckReport) -> "Table":
    cells = []
    for figure in FIGURES:
        spread = report.spread(figure)
        if spread and (figure != "frames" or spread[2] > 1):
            cells.append([_HEADINGS.get(figure, figure), *(_shown(figure, value) for value in spread)])
    return table("Readable files", [*text_columns(""), *number_columns("min", "median", "max")], cells)


def _shown(figure: str, value: float) -> str:
    if figure == "bytes":
        return file_size(value)
    if figure == "duration_s":
        return duration(value)
    return _figure(value) + (" px" if figure in ("width", "height") else "")


def _figure(value: float) -> str:
    """Two decimals at the most: 30, 29.97."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def duration(seconds: float) -> str:
    """Seconds as people write them.

    >>> duration(0.53), duration(75), duration(7384)
    ('0.53 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min {int(seconds % 60)} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def file_size(num_bytes: float) -> str:
    """Bytes in decimal units.

    >>> file_size(999), file_size(1500), file_size(2_400_000)
    ('999 B', '1.5 kB', '2.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def _kinds(report: CheckReport) -> Iterator[str]:
    """Lines on sizes, codecs and the time that all take."""
    for heading, counts in (("sizes", sizes(report.readable)), ("codecs", codecs(report.readable))):
        if counts:
            yield f"  {heading}: {shortened([f'{name} ({count:,})' for name, count in counts], limit=4)}"
    if report.duration_s:
        yield f"  total duration: {duration(report.duration_s)}"
    if report.taken_over:
        yield f"  taken over from an earlier check: {report.taken_over:,} of {len(report.files):,} files"


def _class_table(report: CheckReport) -> "Table":
    counts = sorted(report.class_counts().items(), key=lambda item: -item[1][report.splits[0]])
    rows = [(name, *(f"{by_split[split]:,}" for split in report.splits)) for name, by_split in counts]
    columns = [*text_columns("class"), *number_columns(*report.splits)]
    if len(rows) <= MOST_CLASSES_IN_FULL:
        return table("Classes: readable files", columns, rows)
    title = f"The 10 largest and the 10 smallest of {len(rows)} classes: readable files"
    return table(title, columns, rows[:10], rows[-10:])


def _pixel_table(report: CheckReport) -> "Table":
    shares = sorted((report.class_pixels() or {}).items(), key=lambda item: -item[1])
    present = [(name, share) for name, share in shares if share]
    title = "Classes: share of the pixels that have one"
    if len(present) > MOST_CLASSES_IN_FULL:
        title += f" (the largest {MOST_CLASSES_IN_FULL} of {len(present)})"
    cells = [(name, percent(share, digits=2)) for name, share in present[:MOST_CLASSES_IN_FULL]]
    return table(title, [*text_columns("class"), *number_columns("share")], cells)


def _broken_table(broken: Sequence[CheckedFile]) -> "Table":
    """Each broken file, or where they are many, each reason with a few of its files."""
    title = f"Broken: {len(broken):,}, by reason" if len(broken) > MOST_NAMED else "Broken"
    if len(broken) <= MOST_NAMED:
        groups = [[file] for file in broken]
    else:
        by_reason: dict[str, list[CheckedFile]] = defaultdict(list)
        for file in broken:
            by_reason[re.sub(r"[0-9]+", "#", file.facts.reason or "")].append(file)  # as "after 28 good frame(s)"
        groups = sorted(by_reason.values(), key=len, reverse=True)[:MOST_NAMED]
    cells = []
    for group in groups:
        more = [f"and {len(group) - 3:,} more"] if len(group) > 3 else []
        paths = "\n".join([*(file.name for file in group[:3]), *more])
        cells.append((paths, one_line(group[0].facts.reason or "")))
    return table(title, text_columns("file", "reason"), cells)


def remarks(report: CheckReport) -> list[str]:
    """What is wrong or unusual beside broken files, each with what it means and the next step."""
    refusal = [f"training does not take this set: {report.refusal}"] if report.refusal else []
    return [
        *refusal,
        *report.notes,
        *_remarks_on_videos(report),
        *(_remarks_on_pixels(report) if report.has_annotations else _remarks_on_classes(report)),
        *_remarks_on_duplicates(report),
        *_remarks_on_copies(report),
        *_remarks_on_left_out(report),
    ]


def _number(count: int, nouns: str) -> str:
    """`_number(1, "videos")` is "1 video"."""
    return f"{count:,} {nouns if count != 1 else nouns[:-1]}"


def _remarks_on_videos(report: CheckReport) -> Iterator[str]:
    frames, rate = report.spread("frames"), report.spread("fps")
    if frames and (short := report.noted("short")):
        yield (
            f"short: {_number(len(short), 'videos')} with fewer than {report.frames} frames, the shortest with "
            f"{frames[0]:.0f}: clips of them repeat frames; for shorter clips: --arch.frames in training, --frames here"
        )
    if rate and (odd := report.noted("odd rate")):
        yield (
            f"odd rate: {_number(len(odd), 'videos')} more than {ODD_RATE:.0%} off the median of {_figure(rate[1])} "
            f"frames a second, such as {odd[0].name} with {_figure(odd[0].facts.fps or 0)}: sparse sampling shows such "
            "a video faster or slower; dense sampling makes up for it"
        )
    if rate and abs(rate[1] - RECIPE_FPS) > ODD_RATE * RECIPE_FPS:
        yield (
            f"the median rate is {_figure(rate[1])} frames a second: the stride of dense sampling counts in "
            f"{RECIPE_FPS:.0f} unless --input.target_fps says otherwise"
        )
    if variable := report.noted("variable rate"):
        yield (
            f"variable rate: {_number(len(variable), 'videos')}, such as {variable[0].name}: sampling counts frames, "
            "so that time runs unevenly in a clip"
        )
    if incomplete := report.noted("incomplete"):
        example = incomplete[0].facts
        missing = example.missing or f"{example.frames} of {example.stated} frames can be read"
        advice = "correct the stretch" if example.missing else "fetch the file again if it was cut off on its way"
        yield (
            f"incomplete: {_number(len(incomplete), 'videos')}, such as {incomplete[0].name}: {missing}, and clips are "
            f"sampled from what there is; {advice}"
        )
    if rotated := report.noted("rotated"):
        yield f"rotated: {_number(len(rotated), report.unit)}, turned upright on reading, as the file asks"


def _remarks_on_classes(report: CheckReport) -> Iterator[str]:
    for split in report.splits if report.classes else []:
        if empty := report.empty_classes(split):
            where = "" if split == WHOLE else f" in {split}"
            yield f"{len(empty):,} of {len(report.classes):,} classes without readable files{where}: {shortened(empty)}"
    if report.imbalance is not None and report.imbalance >= MOST_IMBALANCED:
        yield (
            f"the largest class has {report.imbalance:.1f} times the files of the smallest: train with "
            + (
                "--class_weights balanced"
                if report.multi_label
                else "--balanced true, which draws every class equally often"
            )
        )
    if _looks_like_frames(report.files, report.classes):
        yield (
            "the images lie in folders of their own below the classes and are numbered: if each folder is a video, "
            "give --lists.frame_folders true, here and in training"
        )


def _looks_like_frames(files: Sequence[CheckedFile], classes: Sequence[str]) -> bool:
    """Whether every file is such as `running/0001/img_00007.jpg`, with `running` a class."""
    return all(
        file.kind == "image"
        and file.classes is not None
        and file.path.split("/")[-2:-1] != [classes[label] for label in file.classes]
        and file.path.rpartition(".")[0][-1:].isdigit()
        for file in files
    )


def _remarks_on_pixels(report: CheckReport) -> Iterator[str]:
    shares = report.class_pixels() or {}
    if without := [name for name, share in shares.items() if share == 0]:
        yield f"{len(without)} of {len(shares)} classes without a pixel: {shortened(without)}"


def _remarks_on_duplicates(report: CheckReport) -> Iterator[str]:
    for groups, meaning in (
        (report.leaks, "with a copy in another split, so that testing sees what training saw"),
        (report.conflicts, "with a copy of another label"),
        (report.duplicates, "with the content of another"),
    ):
        if groups:
            count = sum(len(group) for group in groups)
            example = f"{groups[0][0].path} = {_other(groups, report).path}"
            yield f"duplicates: {_number(count, report.unit)} {meaning}, such as {example}"


def _remarks_on_copies(report: CheckReport) -> Iterator[str]:
    """The pairs that are most alike, each in a line."""
    if report.copies is None:
        return
    across = sum(copy.first.split != copy.second.split for copy in report.copies)
    if not report.copies:
        yield f"near copies: none in another split or with another label is {report.copies_above:g} or more alike"
        return
    pairs = [f"{copy.first.path} ~ {copy.second.path} ({copy.alike:.3f})" for copy in report.copies]
    most = f", of which the first {len(report.copies):,} are in the report" if report.num_copies > len(pairs) else ""
    yield (
        f"near copies: {_number(report.num_copies, 'pairs')} {report.copies_above:g} or more alike{most}; {across:,} "
        "across splits, so that testing sees what training saw, the others with different labels: "
        f"{shortened(pairs, limit=10)}"
    )


def _other(groups: list[list[CheckedFile]], report: CheckReport) -> CheckedFile:
    """Of the first group, the file that shows beside the first one what is wrong with the group."""
    first, *others = groups[0]
    if groups is report.duplicates:
        return others[0]
    return next(file for file in others if (file.split, file.classes) != (first.split, first.classes))


def _remarks_on_left_out(report: CheckReport) -> Iterator[str]:
    media = {suffix: count for suffix, count in report.left_out.items() if media_kind(f"x{suffix}")}
    other = {suffix: count for suffix, count in report.left_out.items() if suffix not in media}
    for counts, meaning in (
        (media, "outside the folders of the classes"),
        (other, "with endings that are not known as those of videos or images"),
    ):
        if counts:
            listed = shortened([f"{suffix or 'no ending'} ({count:,})" for suffix, count in counts.items()])
            yield f"{_number(sum(counts.values()), 'files')} not taken, {meaning}: {listed}"
