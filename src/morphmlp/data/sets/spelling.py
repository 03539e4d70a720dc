"""Names of files as the disk spells them, where a list has them in another Unicode form.

A Mac writes `é` as two characters into the names of files, most other programs as one.
"""

import os
from pathlib import Path

from morphmlp.data.sets.matching import composed


class Spelling:
    """Finds files below `folder` by their names in any Unicode form; each folder is listed once at most."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._names: dict[str, dict[str, str]] = {}  # of a folder: names on the disk by their composed form

    def path_of(self, name: str) -> Path:
        """The path of a file or folder; what exists in no form is as the name is written."""
        path = self.folder / name
        if name.isascii() or os.path.exists(path):
            return path
        found = str(self.folder)
        for part in Path(name).parts:
            found = os.path.join(found, self._on_disk(found, part))
        return Path(found)

    def _on_disk(self, folder: str, part: str) -> str:
        if part.isascii() or os.path.exists(os.path.join(folder, part)):
            return part
        if folder not in self._names:
            try:
                self._names[folder] = {composed(name): name for name in os.listdir(folder) if not name.isascii()}
            except OSError:
                self._names[folder] = {}
        return self._names[folder].get(composed(part), part)
