"""`morphmlp demo`."""

import signal

from morphmlp.commands.parsing import INTERRUPTED, make_parser, print_json
from morphmlp.output import tell


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "demo",
        "",
        "Renders a small data set, trains morphmlp_video_nano on it, evaluates, predicts a held-out clip, and leaves\n"
        "a page with what came out.",
        "morphmlp demo --out runs/demo",
    )
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for data, run and page")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the training")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)

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
