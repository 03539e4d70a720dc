"""`morphmlp evaluate`."""

import os
import sys
from pathlib import Path

from morphmlp.commands.parsing import add_protocol, make_parser, print_json, protocol


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "evaluate",
        "CHECKPOINT DIR",
        "Evaluates on DIR's test or validation part. Where DIR has no parts: on the videos that were held out when\n"
        "the checkpoint was trained on DIR, or on all of another folder.",
        "morphmlp evaluate runs/mine/best my_videos --clips 4 --crops 1",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("data", type=str, help="labelled videos, in any layout that train takes")
    parser.add_argument("--split", type=str | None, help="train, val, test or all")
    parser.add_argument("--shuffle_frames", action="store_true", help="destroy the order of the frames")
    parser.add_argument("--out", type=str | None, help="folder for figures and tables; default CHECKPOINT-evaluation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_protocol(parser)
    options = parser.parse_args(arguments)

    from morphmlp import evaluate as evaluation
    from morphmlp.console import counting
    from morphmlp.figures import plot_confusion
    from morphmlp.tables import evaluation_tables, print_all

    out = Path(options.out or f"{os.path.realpath(options.checkpoint)}-evaluation")
    evaluation.require_own_folder(out)
    with counting("videos", enabled=not options.json) as progress:
        result = evaluation.evaluate_checkpoint(
            options.checkpoint,
            options.data,
            split=options.split,
            shuffle_frames=options.shuffle_frames,
            progress=progress,
            workers=options.workers,
            **protocol(options),
        )
    # Shown first: a folder that cannot be written must not cost the figures.
    if options.json:
        print_json(evaluation.summary(result))
    else:
        print_all(evaluation_tables(result))
    evaluation.write_summary(result, out / "summary.json")
    evaluation.write_predictions(result, out / "predictions.csv")
    plot_confusion(result, out / "confusion.png")
    print(f"summary.json, predictions.csv and confusion.png are in {out}", file=sys.stderr)
    return 0
