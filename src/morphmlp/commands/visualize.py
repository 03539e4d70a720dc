"""`morphmlp visualize`."""

from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from morphmlp.commands.parsing import make_parser, print_json
from morphmlp.errors import ConfigError
from morphmlp.files import require_own_folder


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "visualize",
        "CHECKPOINT PATH",
        "Looks inside a model at one video or image: feature map, Grad-CAM, branch weights and what its FCs learnt,\n"
        "as pictures, and as a page with all of them. With --augment, draws what a recipe's random changes make of\n"
        "videos or images; this needs no model.",
        "morphmlp visualize runs/mine clip.mp4 --out inside --stage 2 --class moving_up\n"
        "  morphmlp visualize --augment my_videos --recipe k400_s16 --change erase=1 --out sheet.png",
    )
    parser.add_argument(
        "checkpoint", type=str | None, nargs="?", help="checkpoint folder, or hf://owner/name of the hub"
    )
    parser.add_argument("path", type=str | None, nargs="?", help="video file, or image file for a model of images")
    parser.add_argument(
        "--out",
        type=str | None,
        help="folder for pictures and page (runs/visualize), or file of the sheet (augment.png)",
    )
    parser.add_argument("--stage", type=int, default=3, help="1 to 4, of feature map, Grad-CAM and single weights")
    parser.add_argument("--class", dest="class_name", type=str | None, help="for Grad-CAM; default: what is predicted")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, mps or xpu")
    parser.add_argument("--json", action="store_true", help="print JSON")
    sheet = parser.add_argument_group("augmented clips")
    sheet.add_argument("--augment", type=str | None, metavar="PATH", help="video, image, folder of them, or list")
    sheet.add_argument("--recipe", type=str | None, help="default: k400_s16 for videos, imagenet_s for images")
    sheet.add_argument("--change", type=str, nargs="+", default=[], metavar="NAME=VALUE", help="fields of augment")
    sheet.add_argument("--draws", type=PositiveInt, default=6, help="clips made of each video")
    sheet.add_argument("--videos", type=PositiveInt, default=3, help="files taken from a folder")
    sheet.add_argument("--seed", type=NonNegativeInt, default=0, help="of the draws")
    options = parser.parse_args(arguments)
    if options.augment is not None:
        if options.checkpoint is not None:
            parser.error("--augment takes no checkpoint and no second path")
        return _draw_augmented(options)
    if options.path is None:
        parser.error("CHECKPOINT and PATH are needed, or --augment PATH")
    return _look_inside(options)


def _draw_augmented(options: Namespace) -> int:
    from morphmlp.analysis.insight.augment_sheet import draw_augmented, parse_changes, pick_samples, sheet_rows
    from morphmlp.formatting import encodable

    out = Path(options.out or "augment.png")
    if out.suffix.lower() != ".png" or out.is_dir():
        raise ConfigError(f"--out {out} is no name of a sheet; allowed: a file that ends in .png")
    samples = pick_samples(Path(options.augment), most=options.videos)
    rows = sheet_rows(
        [source for source, _ in samples],
        classes=[name for _, name in samples],
        recipe=options.recipe,
        changes=parse_changes(options.change),
        draws=options.draws,
        seed=options.seed,
    )
    draw_augmented(rows, out)
    if options.json:
        print_json({"file": str(out), "rows": [row.lines for row in rows]})
    else:
        draws, videos = (f"{n} {word}" + "s" * (n > 1) for n, word in ((options.draws, "draw"), (len(samples), "file")))
        print(encodable(f"{draws} of {videos}; the sheet is {out}"))
    return 0


def _look_inside(options: Namespace) -> int:
    from morphmlp.analysis.insight.look_inside import look_inside
    from morphmlp.analysis.insight.page import PAGE, PICTURES, branch_rows, branch_table, write_insight
    from morphmlp.display.tables import print_all
    from morphmlp.formatting import encodable, percent

    # Before minutes are spent on a large model.
    out = options.out or "runs/visualize"
    require_own_folder(Path(out), {PAGE, *PICTURES}, what="a visualization")
    insight = look_inside(
        options.checkpoint,
        options.path,
        stage=options.stage,
        class_name=options.class_name,
        device=options.device,
    )
    files = write_insight(insight, out, checkpoint=options.checkpoint, path=options.path)
    if options.json:
        values = {"class": insight.target, "share": round(insight.target_share, 6), "predicted": insight.predicted}
        print_json(values | {"branch_weights": branch_rows(insight.branches), "files": [str(file) for file in files]})
        return 0
    share = percent(insight.target_share) + (" of the pixels" if insight.config.task == "segmentation" else "")
    print_all([branch_table(insight.branches)] if insight.branches else [])
    print(encodable(f"{insight.target}: {share}\n{len(files) - 1} pictures; the page is {files[0]}"))
    return 0
