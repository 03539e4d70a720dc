"""`morphmlp visualize`."""

from pathlib import Path

from morphmlp.commands.parsing import make_parser, print_json
from morphmlp.files import require_own_folder


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "visualize",
        "CHECKPOINT PATH",
        "Looks inside a model at one video or image: feature map, Grad-CAM, branch weights and what its FCs learnt,\n"
        "as pictures and a page that holds them.",
        "morphmlp visualize runs/mine/best clip.mp4 --out inside --stage 2 --class moving_up",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("path", type=str, help="video file, or image file for a model of images")
    parser.add_argument("--out", type=str, default="runs/visualize", help="folder for the pictures and the page")
    parser.add_argument("--stage", type=int, default=3, help="1 to 4, of feature map, Grad-CAM and single weights")
    parser.add_argument("--class", dest="class_name", type=str | None, help="for Grad-CAM; default: what is predicted")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.formatting import encodable, percent
    from morphmlp.tables import print_all
    from morphmlp.visualize import look_inside
    from morphmlp.visualize_report import PAGE, PICTURES, branch_rows, branch_table, write_insight

    # Before minutes are spent on a large model.
    require_own_folder(Path(options.out), {PAGE, *PICTURES}, what="a visualization")
    insight = look_inside(
        options.checkpoint,
        options.path,
        stage=options.stage,
        class_name=options.class_name,
        device=options.device,
    )
    files = write_insight(insight, options.out, checkpoint=options.checkpoint, path=options.path)
    if options.json:
        values = {"class": insight.target, "share": round(insight.target_share, 6), "predicted": insight.predicted}
        print_json(values | {"branch_weights": branch_rows(insight.branches), "files": [str(file) for file in files]})
        return 0
    share = percent(insight.target_share) + (" of the pixels" if insight.config.task == "segmentation" else "")
    print_all([branch_table(insight.branches)] if insight.branches else [])
    print(encodable(f"{insight.target}: {share}\n{len(files) - 1} pictures; the page is {files[0]}"))
    return 0
