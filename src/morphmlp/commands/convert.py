"""`morphmlp convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from morphmlp.commands.parsing import make_parser, print_json
from morphmlp.config import PUBLISHED_INPUTS
from morphmlp.errors import ConfigError
from morphmlp.formatting import encodable

if TYPE_CHECKING:
    from morphmlp.checkpoints.folder import CheckpointInfo
    from morphmlp.models.morphmlp import MorphMLP


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "convert",
        "SOURCE FOLDER",
        "Converts a released .pth or .pyth file. --labels names the data set that it was trained on, whose class\n"
        "names and test protocol come with the package, or a text file with one class name a line.\n\n"
        "With --frames, carries a video model, from a checkpoint folder or such a file, to another number of frames,\n"
        "and makes an image model a video model, whose temporal layers start as the identity. If the shapes in a file\n"
        "fit --frames, its model is taken to have that many. 8 and 16 frames have the same shapes: to carry a model\n"
        "from 16 to 8, convert the file first, then its folder.",
        "morphmlp convert K400_S16.pyth k400_s16 --labels k400\n  morphmlp convert k400_s16 k400_s32 --frames 32",
    )
    parser.add_argument("source", type=str, help="released file, or checkpoint folder")
    parser.add_argument("folder", type=str, help="new checkpoint folder")
    parser.add_argument("--labels", type=str | None, help="k400, ssv1, ssv2, or a text file; released files only")
    parser.add_argument(
        "--protocol", type=str | None, help=f"how to test: {', '.join(PUBLISHED_INPUTS)}; released files only"
    )
    parser.add_argument("--frames", type=int | None, help="frames of a clip; default: as many as in SOURCE")
    parser.add_argument(
        "--kernel",
        type=Literal["center", "mean"] | None,
        help="image models: tap of the stem's kernel that takes the image's, or a third in each of the three; "
        "default: center",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier checkpoint in FOLDER")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.checkpoints.folder import save

    if Path(options.folder).exists() and not options.overwrite:
        raise ConfigError(f"{options.folder} exists already; choose another folder, or --overwrite")
    model = _with_frames(_read(options), options)
    info = model.checkpoint_info
    save(model, options.folder, info)
    if options.json:
        print_json({"folder": options.folder, "model": model.config.to_dict(), "input": info.input.to_dict()})
    else:
        print(encodable(f"{options.folder}: {_summary(model, info)}"))
    return 0


def _read(options: Namespace) -> "MorphMLP":
    """The source's model, with what is saved beside it in `checkpoint_info`."""
    from morphmlp.checkpoints.folder import load
    from morphmlp.checkpoints.hub import local_checkpoint
    from morphmlp.checkpoints.released import read_released, released_info
    from morphmlp.data.sets.class_names import class_names_of

    if not local_checkpoint(options.source).is_dir():
        labels = class_names_of(options.labels) if options.labels else None
        model = read_released(options.source, frames=options.frames, num_classes=len(labels) if labels else None)
        model.checkpoint_info = released_info(model, options.source, labels=options.labels, protocol=options.protocol)
        return model
    if options.labels or options.protocol:
        raise ConfigError(f"{options.source} is a checkpoint folder, which has labels and protocol; leave them out")
    if options.frames is None:
        raise ConfigError(f"{options.source} is a folder: a checkpoint needs no conversion, unless to --frames N")
    return load(options.source)


def _with_frames(model: "MorphMLP", options: Namespace) -> "MorphMLP":
    from morphmlp.checkpoints.frame_counts import resize_frames
    from morphmlp.checkpoints.inflation import inflate

    if options.frames is not None and not model.config.temporal:
        return inflate(model, frames=options.frames, kernel=options.kernel or "center")
    if options.kernel is not None:
        raise ConfigError("--kernel is for image models that --frames makes video models; leave it out")
    return model if options.frames in (None, model.config.frames) else resize_frames(model, options.frames)


def _summary(model: "MorphMLP", info: "CheckpointInfo") -> str:
    kind = f"{model.config.frames} frames" if model.config.temporal else "images"
    names = "with" if info.labels else "without"
    parts = [model.config.name, kind, f"{model.config.num_classes} classes {names} names"]
    if fresh := info.training.get("fresh"):
        parts.append(f"{' and '.join(fresh)} fresh: train it before it predicts")
    if conversions := info.training.get("conversions"):
        parts.append(conversions[-1])
    elif "protocol" in info.training:
        parts.append(f"tested as {info.training['protocol']}")
    return ", ".join(parts)
