"""The files that `segment` writes: masks and overlays, each with a name of its own."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.errors import ConfigError, MediaError
from morphmlp.files import replace_bytes
from morphmlp.formatting import shortened

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphmlp.tasks.segmentation.predictor import SegmentedImage

MOST_NAME_BYTES = 255  # of a file name, on the usual file systems


def plan_outputs(
    paths: Sequence[Path], out: Path, *, overwrite: bool, own: Collection[str] = ()
) -> list[tuple[Path, Path]]:
    """Mask and overlay of each image.

    Args:
        own: names of pictures that an earlier run of the same work has written, or was about to write.

    Raises:
        ConfigError: one of them would take the place of an image to read, or, without `overwrite`, of a file that is
            not one of our own.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; choose another --out")
    outputs = [(out / f"{name}_mask.png", out / f"{name}_overlay.png") for name in output_names(paths)]
    for path in (path for pair in outputs for path in pair):
        if len(os.fsencode(path.name)) > MOST_NAME_BYTES:
            raise ConfigError(f"{path.name} is longer than {MOST_NAME_BYTES} bytes; give the image a shorter name")
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, where a picture is to be written; choose another --out")
    existing = [path for pair in outputs for path in pair if path.exists()]
    inputs = {os.path.realpath(path) for path in paths}
    if read_too := [str(path) for path in existing if os.path.realpath(path) in inputs]:
        raise ConfigError(f"{shortened(read_too, limit=3)} would be read and overwritten; choose another --out")
    foreign = [str(path) for path in existing if path.name not in own]
    if foreign and not overwrite:
        names = shortened(foreign, limit=3)
        raise ConfigError(f"{names} would be replaced; choose another --out, or --overwrite")
    return outputs


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name for the pictures of each image, no two alike, not even where case does not count.

    That is the image's name without its ending. Images that share it are named by their path below the folder that
    all have in common; should even that be taken, they are numbered.

    >>> output_names([Path("a/x.jpg"), Path("b/x.jpg"), Path("a/y.jpg")])
    ['a-x.jpg', 'b-x.jpg', 'y']
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]
    common = os.path.commonpath([path.parent for path in absolute])
    uses = Counter(path.stem.casefold() for path in absolute)
    names: list[str] = []
    taken: set[str] = set()
    for path in absolute:
        name = path.stem if uses[path.stem.casefold()] == 1 else "-".join(path.relative_to(common).parts)
        names.append(_untaken(name, taken))
        taken.add(names[-1].casefold())
    return names


def _untaken(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def write_pictures(result: "SegmentedImage | MediaError", mask: Path, overlay: Path) -> dict[str, Any]:
    """Writes both pictures; returns plain values: path, files, and share of area by class, or path and error."""
    from morphmlp.tasks.segmentation.overlays import draw_overlay, mask_picture

    if isinstance(result, MediaError):
        return {"path": str(result.path), "error": result.reason}
    pictures = {
        mask: _png(mask_picture(result.mask, len(result.labels))),
        overlay: _png(draw_overlay(result.image, result.mask, result.labels)),
    }
    try:
        for path, picture in pictures.items():
            replace_bytes(path, picture)
    except OSError:
        mask.unlink(missing_ok=True)  # not one of the two without the other
        raise
    areas = {name: round(share, 6) for name, share in result.areas()}
    return {"path": str(result.path), "mask": str(mask), "overlay": str(overlay), "areas": areas}


def _png(picture: "Image") -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
