"""The json of Something-Something V2, and what is said of a json that is none of the formats."""

import re
from typing import Any

from morphmlp.data.sets.formats.rows import ListFile, ListRow
from morphmlp.errors import DataError
from morphmlp.formatting import encodable, shortened

# Keys that tell the json of another data set, and what it is called.
_OTHER_SETS = {
    ("vid_name", "start_frame"): "Diving48",
    ("annotations", "categories"): "COCO",
    ("database", "taxonomy"): "ActivityNet",
    ("database",): "ActivityNet or HACS",
    ("labels", "database"): "UCF101-24 or HMDB51",
    ("video", "caption"): "a set of captions",
    ("image_id", "caption"): "COCO's captions",
}
_WANTED = (
    'expected the list of Something-Something V2, [{"id": ..., "template": ...}, ...]; write the labels of another set '
    "as a csv of path,label"
)


def rows(file: ListFile) -> list[ListRow] | None:
    """Entries with `id` and `template`, whose brackets are no part of the class name; None of other files than JSON."""
    if not file.is_json:
        return None
    if not isinstance(file.json, list):
        raise DataError(f"{file.path} is not a list of entries{_what_it_is(file.json)}; {_WANTED}")
    return [_row(file, number, entry) for number, entry in enumerate(file.json, start=1)]


def _what_it_is(content: Any) -> str:
    """The kind of a json of another data set, with its first keys."""
    if not isinstance(content, dict) or not content:
        return ""
    keys = [str(key) for key in content]
    name = next((name for wanted, name in _OTHER_SETS.items() if set(wanted) <= set(keys)), None)
    first = next(iter(content.values()))
    if name is None and isinstance(first, dict) and {"annotations", "subset"} <= set(first):
        name = "Kinetics"
    shown = encodable(shortened([key[:40] for key in keys]))
    return f", but looks like {name}, with the keys {shown}" if name else f", but has the keys {shown}"


def _row(file: ListFile, number: int, entry: Any) -> ListRow:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), (str, int)) or not str(entry["id"]):
        raise DataError(f"{file.path}, entry {number} has no id{_what_it_is(entry)}; {_WANTED}")
    template = entry.get("template")
    if not isinstance(template, str) or not template.strip():
        raise DataError(
            f"{file.path}, entry {number} (id {entry['id']}) has no template, which tells its class; a test list "
            "without labels cannot be used: take the validation list"
        )
    return ListRow(f"entry {number}", str(entry["id"]), re.sub(r"[\[\]]", "", template).strip())
