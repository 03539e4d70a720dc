"""`morphmlp segment`."""

from pathlib import Path

from jsonargparse import Namespace

from morphmlp.commands.parsing import USER_ERROR, add_engine, add_precision, make_parser, precision_of, print_json
from morphmlp.output import tell
from morphmlp.signals import Terminated


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _read_options(arguments)

    from morphmlp.data.sets.find import expand_paths
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.tasks.segmentation.predictor import SegmentPredictor
    from morphmlp.tasks.segmentation.report import area_table
    from morphmlp.tasks.segmentation.shelf import segment_images

    paths = expand_paths(options.paths, kind="image")
    how = {"device": options.device, "precision": precision_of(options), "engine": options.engine}
    try:
        with counting("images", enabled=not options.json) as progress:
            rows = segment_images(
                lambda: SegmentPredictor(options.checkpoint, **how),
                options.checkpoint,
                paths,
                Path(options.out),
                overwrite=options.overwrite,
                progress=progress,
            )
    except (KeyboardInterrupt, Terminated):
        tell(f"the pictures so far are in {options.out}; the same command goes on from there")
        raise
    failures = [row for row in rows if "error" in row]
    if options.json:
        print_json(rows)
    else:
        if len(failures) < len(rows):
            print_all([area_table([row for row in rows if "error" not in row])])
            tell(f"masks and overlays are in {options.out}")
        for row in failures:
            tell(f"error: {row['path']}: {row['error']}")
    return USER_ERROR if failures else 0


def _read_options(arguments: list[str]) -> Namespace:
    parser = make_parser(
        "segment",
        "CHECKPOINT PATH... --out DIR",
        "Writes two pictures of each image: DIR/<name>_mask.png, whose values are the numbers of the classes, and\n"
        "DIR/<name>_overlay.png, the image under their colours with a legend. Images that share a name are told\n"
        "apart by their folders. The same command goes on where a run was stopped, and does what was added or changed.",
        "morphmlp segment runs/camvid/best street.jpg more_streets --out masks",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder of a segmenter, or hf://owner/name of the hub")
    parser.add_argument("paths", type=str, nargs="+", help="image files, folders or globs")
    parser.add_argument("--out", type=str, required=True, help="folder for the pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in --out, and begin again")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, mps or xpu")
    add_precision(parser)
    add_engine(parser)
    return parser.parse_args(arguments)
