"""`morphmlp demo`."""

import signal
from typing import Any

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
        "cameras and light of all sorts, to pretrain a model on before it sees your few videos.\n"
        "With --start it also trains on them, for an hour or so, and packs the weights as a start of the package.",
        "morphmlp demo --out runs/demo\n"
        "  morphmlp demo --motions motions && morphmlp train motions --recipe rendered --out runs/rendered",
    )
    parser.add_argument("--out", type=str | None, help="folder for data, run and page (default: runs/demo)")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the training")
    parser.add_argument("--motions", type=str | None, metavar="DIR", help="only write the motions, into this folder")
    parser.add_argument(
        "--start", type=str | None, metavar="DIR", help="motions, training and weights, into this folder"
    )
    parser.add_argument("--clips", type=PositiveInt, help="training clips of each motion (default: 160)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    _require_one_work(options)
    if options.motions:
        return _write_motions(options)

    from morphmlp.training import run as training

    try:
        figures = _make_start(options) if options.start else _run_demo(options)
    except training.Interrupted as stop:
        again = "to go on" if options.start else "to start the training anew"
        tell(f"stopped; run the same command again {again}")
        return INTERRUPTED if stop.signal_number == signal.SIGINT else 0
    if options.json:
        print_json(figures)
    return 0


def _require_one_work(options: Namespace) -> None:
    """Options of another work than the one that is asked for would be without effect."""
    folders = [f"--{name} {value}" for name in ("out", "motions", "start") if (value := options[name])]
    if len(folders) > 1:
        raise ConfigError(f"{' and '.join(folders)} are folders of different works; give one of them")
    if options.clips is not None and not (options.motions or options.start):
        raise ConfigError(f"--clips {options.clips} is for --motions DIR or --start DIR; leave it out, or give one")


def _run_demo(options: Namespace) -> dict[str, Any]:
    from morphmlp.demo.run import run_demo

    return run_demo(options.out or "runs/demo", seed=options.seed)


def _make_start(options: Namespace) -> dict[str, Any]:
    from morphmlp.demo.motions.dataset import TRAIN_PER_MOTION
    from morphmlp.demo.start import make_start

    folder = make_start(options.start, clips=options.clips or TRAIN_PER_MOTION, seed=options.seed)
    return {"start": str(folder)}


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
