"""`morphmlp evaluate`."""

import os
import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from morphmlp.commands.parsing import add_protocol, make_parser, print_json, protocol
from morphmlp.config import ListConfig, MaskConfig
from morphmlp.errors import ConfigError
from morphmlp.files import require_own_folder


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "evaluate",
        "CHECKPOINT DIR",
        "Evaluates on DIR's test or validation part. Where DIR has no parts: on what was held out when the checkpoint\n"
        "was trained on DIR, or on all of another folder. A segmenter is compared with DIR/annotations.\n"
        "Shown are the accuracy of whole videos, their views joined, and that of single views.\n"
        "On several GPUs: torchrun --nproc-per-node 8 -m morphmlp.cli evaluate CHECKPOINT DIR",
        "morphmlp evaluate runs/mine/best my_videos --clips 4 --crops 1\n"
        "  morphmlp evaluate runs/ssv2/best frames --lists.val val.txt --lists.labels ssv2",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("data", type=str, help="labelled videos, images or masks, in any layout that train takes")
    parser.add_argument("--split", type=str | None, help="train, val, test or all")
    parser.add_argument("--shuffle_frames", action="store_true", help="destroy the order of a video's frames")
    parser.add_argument("--out", type=str | None, help="folder for figures and tables; default CHECKPOINT-evaluation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_protocol(parser)
    parser.add_class_arguments(ListConfig, "lists", help="Lists of the data; what is not given is as in training")
    parser.add_class_arguments(
        MaskConfig, "masks", help="How annotations are read; what is not given is as in training"
    )
    options = parser.parse_args(arguments)
    given = parser.parse_args(arguments, defaults=False).as_dict()

    from morphmlp.checkpoints.folder import load_config
    from morphmlp.tasks.classification.report import OUTPUT_FILES

    out = Path(options.out or f"{os.path.realpath(options.checkpoint)}-evaluation")
    require_own_folder(out, OUTPUT_FILES, what="an evaluation")
    if load_config(options.checkpoint)[0].task == "segmentation":
        _refuse(given, "lists", f"classifiers; {options.checkpoint} is a segmenter")
        _evaluate_masks(options, given.get("masks"), out)
    else:
        _refuse(given, "masks", f"segmenters; {options.checkpoint} names classes of whole files")
        _evaluate_labels(options, given.get("lists"), out)
    return 0


def _refuse(given: dict[str, Any], part: str, reason: str) -> None:
    if given.get(part):
        raise ConfigError(f"--{part} is for {reason}")


def _evaluate_labels(options: Namespace, lists: dict[str, Any] | None, out: Path) -> None:
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.distributed import is_main
    from morphmlp.tasks.classification import evaluation
    from morphmlp.tasks.classification.report import (
        evaluation_tables,
        plot_confusion,
        summary,
        write_predictions,
        write_summary,
    )

    with counting("files", enabled=not options.json and is_main()) as progress:
        result = evaluation.evaluate_checkpoint(
            options.checkpoint,
            options.data,
            split=options.split,
            shuffle_frames=options.shuffle_frames,
            lists=lists,
            progress=progress,
            workers=options.workers,
            **protocol(options),
        )
    if not is_main():
        return
    # Shown first: a folder that cannot be written must not cost the figures.
    if options.json:
        print_json(summary(result))
    else:
        print_all(evaluation_tables(result))
    write_summary(result, out / "summary.json")
    write_predictions(result, out / "predictions.csv")
    plot_confusion(result, out / "confusion.png")
    print(f"summary.json, predictions.csv and confusion.png are in {out}", file=sys.stderr)


def _evaluate_masks(options: Namespace, masks: dict[str, Any] | None, out: Path) -> None:
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.distributed import is_main
    from morphmlp.tasks.segmentation import evaluation as mask_evaluation
    from morphmlp.tasks.segmentation.report import mask_summary, mask_tables, write_mask_evaluation

    views = {"--clips": options.clips, "--crops": options.crops, "--aggregation": options.aggregation}
    given = [name for name, value in views.items() if value is not None] + ["--shuffle_frames"] * options.shuffle_frames
    if given:
        raise ConfigError(
            f"{options.checkpoint} is a segmenter, which sees the whole image once; leave out {', '.join(given)}"
        )
    with counting("images", enabled=not options.json and is_main()) as progress:
        result = mask_evaluation.evaluate_mask_checkpoint(
            options.checkpoint,
            options.data,
            split=options.split,
            masks=masks,
            workers=options.workers,
            device=options.device,
            precision=options.precision,
            progress=progress,
        )
    if not is_main():
        return
    if options.json:
        print_json(mask_summary(result))
    else:
        print_all(mask_tables(result))
    write_mask_evaluation(result, out)
    print(f"the figures are in {out}", file=sys.stderr)
