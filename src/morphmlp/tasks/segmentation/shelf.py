"""Pictures of many images: each is written as soon as it is known, and the same command goes on where it was.

In the folder of the pictures is `parts`: what they depend on, and a row for each image (see `journal`). An image has a
row before its pictures are written, too, so that what a killed run leaves is known to be its own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from morphmlp.checkpoints.hub import local_checkpoint
from morphmlp.data.media.sources import state_if_there
from morphmlp.inference.device import show_nothing
from morphmlp.tasks.journal import FILES, Entry, Journal
from morphmlp.tasks.segmentation.pictures import plan_outputs, write_pictures
from morphmlp.tasks.segmentation.predictor import SegmentPredictor
from morphmlp.tasks.shared_work import PARTS_FOLDER, WorkFolder, digest_of_model

Row = dict[str, Any]
_BEGUN = {"error": "not done yet"}  # rows with an error are done again


def segment_images(
    load: Callable[[], SegmentPredictor],
    checkpoint: str | Path,
    paths: Sequence[Path],
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = show_nothing,
) -> list[Row]:
    """Writes mask and overlay of each image; returns a row for each, see `write_pictures`.

    What an earlier run with the same settings has written is not done again, except where an image could not be read
    or has changed since, or a picture is gone.

    Args:
        load: gives the predictor, after it is sure that the pictures may be written.
        overwrite: replace what is there, and forget what earlier runs have written.

    Raises:
        ConfigError: a picture would take the place of something else.
        DataError: earlier pictures are of other settings, or another run is at work there.
    """
    known = _Known(out)
    outputs = plan_outputs(paths, out, overwrite=overwrite, own=known.own)
    predictor = load()
    settings = what_pictures_depend_on(predictor, local_checkpoint(checkpoint))
    work = WorkFolder(out / PARTS_FOLDER, settings, result=out, what="pictures", files=FILES, again="--overwrite")
    with work.locked():
        if overwrite:
            work.clear()
        work.begin()
        rows = [None if overwrite else known.row(path, *pair) for path, pair in zip(paths, outputs, strict=True)]
        todo = [number for number, row in enumerate(rows) if row is None]
        progress(len(paths) - len(todo), len(paths))
        written = _written(predictor, [paths[i] for i in todo], [outputs[i] for i in todo], work.folder)
        for done, (number, row) in enumerate(zip(todo, written, strict=True), len(paths) - len(todo) + 1):
            rows[number] = row
            progress(done, len(paths))
    return [row for row in rows if row is not None]


def what_pictures_depend_on(predictor: SegmentPredictor, checkpoint: Path) -> dict[str, Any]:
    """Plain values: all that a picture depends on, beside its image and the kind of device."""
    return {
        "version": version("morphmlp"),
        "model": predictor.config.name,
        "weights_sha256": digest_of_model(checkpoint),
        "labels": predictor.labels,
        "input": predictor.info.input.to_dict(),
        "precision": predictor.precision,
        "engine": predictor.engine,
    }


def _written(
    predictor: SegmentPredictor, paths: Sequence[Path], outputs: Sequence[tuple[Path, Path]], folder: Path
) -> Iterator[Row]:
    """The rows of images whose pictures are on the disk."""
    with closing(Journal(folder).writer(0)) as writer:
        writer.add([Entry(str(path), None, _names(*pair) | _BEGUN) for path, pair in zip(paths, outputs, strict=True)])
        states = map(state_if_there, paths)  # each is asked for before its image is read
        for path, state, result, pair in zip(paths, states, predictor.many(paths), outputs, strict=True):
            row = write_pictures(result, *pair)
            writer.add([Entry(str(path), state, row | _names(*pair))])
            yield row


def _names(mask: Path, overlay: Path) -> Row:
    return {"mask": mask.name, "overlay": overlay.name}


class _Known:
    """What earlier runs have written into a folder.

    Attributes:
        own: the names of their pictures, and of those that they were about to write.
    """

    def __init__(self, out: Path):
        entries = [entry for _, entry in Journal(out / PARTS_FOLDER).news()]
        self.own = {entry.row[kind] for entry in entries for kind in ("mask", "overlay")}
        self._last = {entry.name: entry for entry in entries}

    def row(self, path: Path, mask: Path, overlay: Path) -> Row | None:
        """The row of an image whose pictures are there, by these names; None where it is to be done."""
        entry = self._last.get(str(path))
        if entry is None or "error" in entry.row or entry.state is None or entry.state != state_if_there(path):
            return None
        if _names(mask, overlay) != {kind: entry.row[kind] for kind in ("mask", "overlay")}:
            return None
        if not (mask.is_file() and overlay.is_file()):
            return None
        return entry.row | {"mask": str(mask), "overlay": str(overlay)}
