"""`morphmlp evaluate`."""

import os
import sys
from pathlib import Path

from jsonargparse import Namespace

from morphmlp.commands.parsing import add_protocol, make_parser, print_json, protocol
from morphmlp.config import MaskConfig
from morphmlp.errors import ConfigError


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "evaluate",
        "CHECKPOINT DIR",
        "Evaluates on DIR's test or validation part. Where DIR has no parts: on what was held out when the checkpoint\n"
        "was trained on DIR, or on all of another folder. A segmenter is compared with DIR/annotations.",
        "morphmlp evaluate runs/mine/best my_videos --clips 4 --crops 1",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("data", type=str, help="labelled videos, images or masks, in any layout that train takes")
    parser.add_argument("--split", type=str | None, help="train, val, test or all")
    parser.add_argument("--shuffle_frames", action="store_true", help="destroy the order of a video's frames")
    parser.add_argument("--masks", type=MaskConfig | None, help="how annotations are read; default: as in training")
    parser.add_argument("--out", type=str | None, help="folder for figures and tables; default CHECKPOINT-evaluation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_protocol(parser)
    options = parser.parse_args(arguments)

    from morphmlp import evaluate as evaluation
    from morphmlp.checkpoints import load_config

    out = Path(options.out or f"{os.path.realpath(options.checkpoint)}-evaluation")
    evaluation.require_own_folder(out)
    if load_config(options.checkpoint)[0].task == "segmentation":
        _evaluate_masks(options, out)
    else:
        _evaluate_labels(options, out)
    return 0


def _evaluate_labels(options: Namespace, out: Path) -> None:
    from morphmlp import evaluate as evaluation
    from morphmlp.console import counting
    from morphmlp.figures import plot_confusion
    from morphmlp.tables import evaluation_tables, print_all

    if options.masks is not None:
        raise ConfigError(f"--masks is for segmenters; {options.checkpoint} names classes of whole files")
    with counting("files", enabled=not options.json) as progress:
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


def _evaluate_masks(options: Namespace, out: Path) -> None:
    from morphmlp import segment
    from morphmlp.console import counting
    from morphmlp.tables import print_all

    views = {"--clips": options.clips, "--crops": options.crops, "--aggregation": options.aggregation}
    given = [name for name, value in views.items() if value is not None]
    if given or options.shuffle_frames:
        names = ", ".join(given or ["--shuffle-frames"])
        raise ConfigError(f"{options.checkpoint} is a segmenter, which sees the whole image once; leave out {names}")
    with counting("images", enabled=not options.json) as progress:
        result = segment.evaluate_mask_checkpoint(
            options.checkpoint,
            options.data,
            split=options.split,
            masks=options.masks and MaskConfig.from_dict(options.masks.as_dict()),
            workers=options.workers,
            device=options.device,
            precision=options.precision,
            progress=progress,
        )
    if options.json:
        print_json(segment.mask_summary(result))
    else:
        print_all(segment.mask_tables(result))
    segment.write_mask_evaluation(result, out)
    print(f"the figures are in {out}", file=sys.stderr)
