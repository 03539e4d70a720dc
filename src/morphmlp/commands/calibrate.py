"""`morphmlp calibrate`."""

from pathlib import Path

from jsonargparse import Namespace

from morphmlp.commands.parsing import (
    add_cache,
    add_execution,
    make_parser,
    precision_of,
    print_json,
    use_limits,
    write_and_show,
)
from morphmlp.config import ListConfig
from morphmlp.files import require_own_folder
from morphmlp.output import tell


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options, lists = _read_options(arguments)

    from morphmlp.checkpoints.hub import local_checkpoint
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.inference.device import Execution
    from morphmlp.tasks.classification.calibration.calibrate import calibrate_checkpoint, write_calibration
    from morphmlp.tasks.classification.calibration.report import calibration_tables, plot_reliability, summary

    use_limits(options)
    _require_place(options)
    with counting("files", enabled=not options.json) as progress:
        calibration = calibrate_checkpoint(
            options.checkpoint,
            options.data,
            at_precision=options.at_precision,
            unknown=options.unknown,
            split=options.split,
            lists=lists,
            execution=Execution(options.device, precision_of(options), options.workers, progress),
        )

    def write() -> None:
        write_calibration(options.checkpoint, calibration, options.out)
        if options.plots:
            plot_reliability(calibration, Path(options.plots) / "reliability.png")

    def show() -> None:
        if options.json:
            print_json(summary(calibration))
        else:
            print_all(calibration_tables(calibration))

    write_and_show(write, show)
    folder = Path(options.out) if options.out else local_checkpoint(options.checkpoint)
    tell(f"temperature and threshold are in {folder / 'config.json'}")
    return 0


def _require_place(options: Namespace) -> None:
    """Finds out before all the work whether its result can be written."""
    from morphmlp.checkpoints.folder import require_rewritable
    from morphmlp.checkpoints.info import CONFIG_FILE, WEIGHTS_FILE, load_config

    load_config(options.checkpoint)
    if options.out:
        require_own_folder(Path(options.out), {CONFIG_FILE, WEIGHTS_FILE}, what="a checkpoint")
    else:
        require_rewritable(options.checkpoint)


def _read_options(arguments: list[str]) -> tuple[Namespace, dict]:
    """The options, and those of `lists` that were given."""
    parser = make_parser(
        "calibrate",
        "CHECKPOINT DIR",
        "Fits a temperature, which makes probabilities mean what they say, and a threshold, below which the answer is\n"
        "'none of these', and writes both into CHECKPOINT's config.json; the weights stay as they are.\n"
        "DIR is labelled data that the checkpoint was not trained on; its part is chosen as by evaluate.",
        "morphmlp calibrate runs/mine my_videos --unknown other_videos\n"
        "  morphmlp calibrate runs/mine my_videos --at_precision 0.95 --out careful --plots plots",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder of a classifier, or hf://owner/name of the hub")
    parser.add_argument("data", type=str, help="labelled data, in any layout that train takes")
    parser.add_argument(
        "--at_precision",
        type=float | None,
        help="take the lowest threshold whose answers are right this often, such as 0.95; default: that of the best F1",
    )
    parser.add_argument(
        "--unknown",
        type=str,
        nargs="+",
        default=[],
        help="files, folders or globs of no class: none should be answered",
    )
    parser.add_argument("--split", type=str | None, help="val, test or all")
    parser.add_argument("--out", type=str | None, help="write a calibrated copy into this folder instead")
    parser.add_argument("--plots", type=str | None, help="folder for reliability.png")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_execution(parser)
    add_cache(parser)
    parser.add_class_arguments(ListConfig, "lists", help="How the data is read; what is not given is as in training")
    given = parser.parse_args(arguments, defaults=False).as_dict()
    return parser.parse_args(arguments), given.get("lists") or {}
