"""`morphmlp demo`."""

import signal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from morphmlp.commands.parsing import INTERRUPTED, make_parser, print_json
from morphmlp.errors import ConfigError
from morphmlp.output import tell


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "demo",
        "",
        "Renders a small data set, trains morphmlp_video_nano on it, evaluates, predicts a held-out clip, and leaves\n"
        "a page with what came out.\n"
        "With --motions it renders another, large data set instead, and stops there: 63 kinds of motion, of things,\n"
        "cameras and light of all sorts, to pretrain a model on before it sees your few videos.",
        "morphmlp demo --out runs/demo\n"
        "  morphmlp demo --motions motions && morphmlp train motions --recipe rendered --out runs/rendered",
    )
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for data, run and page")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the training")
    parser.add_argument("--motions", type=str | None, metavar="DIR", help="only write the motions, into this folder")
    parser.add_argument("--clips", type=PositiveInt, help="training clips of each motion (default: 160)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if options.motions is not None:
        return _write_motions(options)
    if options.clips is not None:
        raise ConfigError(f"--clips {options.clips} is for --motions DIR; leave it out, or give both")

    from morphmlp.demo.run import run_demo
    from morphmlp.training import run as training

    try:
        figures = run_demo(options.out, seed=options.seed)
    except training.Interrupted as stop:
        tell("stopped; run the same command again to start the training anew")
        return INTERRUPTED if stop.signal_number == signal.SIGINT else 0
    if options.json:
        print_json(figures)
    return 0


def _write_motions(options: Namespace) -> int:
    """Writes the data set to pretrain on; the same command goes on after a stop."""
    from morphmlp.demo.motions.dataset import MOTIONS, TRAIN_PER_MOTION, VAL_PER_MOTION, write_motions
    from morphmlp.display.progress_bar import counting

    train = options.clips or TRAIN_PER_MOTION
    with counting("clips", enabled=not options.json, lines=True) as progress:
        data = write_motions(options.motions, train=train, motions=MOTIONS, seed=options.seed, progress=progress)
    figures = {"data": str(data), "motions": len(MOTIONS), "train": len(MOTIONS) * train}
    figures["val"] = len(MOTIONS) * VAL_PER_MOTION
    if options.json:
        print_json(figures)
    else:
        tell(f"{figures['train']:,} training and {figures['val']:,} validation clips of {len(MOTIONS)} motions: {data}")
    return 0
