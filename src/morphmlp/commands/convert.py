"""`morphmlp convert`."""

from pathlib import Path

from morphmlp.commands.parsing import make_parser, print_json
from morphmlp.config import PUBLISHED_INPUTS
from morphmlp.errors import ConfigError


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "convert",
        "FILE FOLDER --labels k400",
        "Converts a released .pth or .pyth file. --labels names the data set that it was trained on, whose class\n"
        "names and test protocol come with the package, or a text file with one class name a line.",
        "morphmlp convert K400_S16.pyth k400_s16 --labels k400",
    )
    parser.add_argument("file", type=str, help="released file")
    parser.add_argument("folder", type=str, help="new checkpoint folder")
    parser.add_argument("--labels", type=str | None, help="k400, ssv1, ssv2, or a text file")
    parser.add_argument("--protocol", type=str | None, help=f"how to test: {', '.join(PUBLISHED_INPUTS)}")
    parser.add_argument("--frames", type=int | None, help="only for lengths that the shapes do not tell")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier checkpoint in FOLDER")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.checkpoints import convert_released

    if Path(options.folder).exists() and not options.overwrite:
        raise ConfigError(f"{options.folder} exists already; choose another folder, or --overwrite")
    model, info = convert_released(
        options.file, options.folder, labels=options.labels, protocol=options.protocol, frames=options.frames
    )
    if options.json:
        print_json({"folder": options.folder, "model": model.config.to_dict(), "input": info.input.to_dict()})
        return 0
    kind = f"{model.config.frames} frames" if model.config.temporal else "images"
    names = "with" if info.labels else "without"
    print(
        f"{options.folder}: {model.config.name}, {kind}, {model.config.num_classes} classes {names} names, "
        f"tested as {info.training['protocol']}"
    )
    return 0
