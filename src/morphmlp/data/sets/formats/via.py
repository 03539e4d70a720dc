"""The csv that VIA 3 (VGG Image Annotator, for video) exports: rows with two temporal coordinates are stretches.

    # CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
    "1_j5sJvB9h","[""talk.mp4""]",0,"[1.124,5.31493]","[]","{""1"":""0""}"

Still frames and regions of pictures are left out. A value stands for one of its attribute's options, or for itself.
"""

import csv
from collections.abc import Mapping
from typing import Any

from morphmlp.data.sets.formats.rows import ListFile, ListRow, is_number, parsed_json, shown
from morphmlp.errors import DataError

_COLUMNS = ("metadata_id", "file_list", "flags", "temporal_coordinates", "spatial_coordinates", "metadata")
_LABEL_NAMES = ("label", "class", "action", "activity", "category")
_TEMPORAL = "_Z2_"  # in the anchor of an attribute of temporal segments, such as FILE1_Z2_XY0


def rows(file: ListFile) -> list[ListRow] | None:
    """A row for each temporal segment; None of other files."""
    comments = [line for _, line in file.lines if line.lstrip('"').startswith("#")]
    if file.is_json or not any("CSV_HEADER" in line and "temporal_coordinates" in line for line in comments):
        return None
    attributes = _attributes(comments)
    found = []
    for number, line in file.lines:
        if line.lstrip('"').startswith("#"):
            continue
        row = _row(file, f"row {number}", _cells(file, f"row {number}", line), attributes)
        found += [row] if row else []
    if not found:
        raise DataError(f"{file.path} is an export of VIA without a temporal segment: mark some, and export it again")
    return found


def _cells(file: ListFile, where: str, line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error as error:
        raise file.refused(where, str(error)) from None


def _attributes(comments: list[str]) -> dict[str, Any]:
    for line in comments:
        key, _, text = line.partition("=")
        if key.strip(' #"').startswith("ATTRIBUTE"):
            try:
                found = parsed_json(text)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _row(file: ListFile, where: str, cells: list[str], attributes: Mapping[str, Any]) -> ListRow | None:
    if len(cells) < len(_COLUMNS):
        raise file.refused(where, f"{shown(cells)} does not fill the columns {','.join(_COLUMNS)}")
    try:
        files, times, values = (
            parsed_json(cells[_COLUMNS.index(name)]) for name in ("file_list", "temporal_coordinates", "metadata")
        )
    except ValueError:
        raise file.refused(where, f"{shown(cells)} is no row of VIA: its lists are no JSON") from None
    if not isinstance(times, list) or len(times) != 2:
        return None
    if not all(is_number(time) for time in times):
        raise file.refused(where, f"{shown(times)} is no pair of seconds, the start and the end")
    if not isinstance(files, list) or len(files) != 1 or not isinstance(files[0], str):
        raise file.refused(where, f"{shown(files)} is not one file")
    label = _label(values, attributes) if isinstance(values, dict) else None
    if not label:
        raise file.refused(where, f"{shown(values)} has no label; give the segment a value of its attribute in VIA")
    return ListRow(where, files[0], label, float(times[0]), float(times[1]))


def _label(values: Mapping[str, Any], attributes: Mapping[str, Any]) -> str | None:
    """The value of the attribute that is named as a label, or else of the first one of temporal segments."""

    def rank(attribute_id: str) -> tuple[bool, bool]:
        about = attributes.get(attribute_id)
        name = about.get("aname", "") if isinstance(about, dict) else about
        anchor = about.get("anchor_id", "") if isinstance(about, dict) else ""
        return str(name).lower() not in _LABEL_NAMES, _TEMPORAL not in anchor

    chosen = min(values, key=rank, default=None)
    if chosen is None:
        return None
    about, value = attributes.get(chosen), str(values[chosen])
    options = about.get("options") if isinstance(about, dict) else None
    return str(options.get(value, value) if isinstance(options, dict) else value).strip()
