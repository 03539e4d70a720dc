"""Files of lists, and what was read from them."""

import os
from pathlib import Path

from morphmlp.data.sets.labelled import LabelledSet

KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
riding a bike,abc-_def,10,20,val,0
"massaging, legs",xyz,3.0,13,val,0
"""


def touch(root: Path, *names: str) -> Path:
    """Empty files below `root`: none is opened here."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def listed(videos: LabelledSet, root: Path) -> list[tuple[str, str]]:
    """Relative path and class name of each video."""
    return [(os.path.relpath(sample.path, root), videos.classes[sample.label]) for sample in videos.samples]
