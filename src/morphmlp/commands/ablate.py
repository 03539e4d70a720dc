"""`morphmlp ablate`."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from morphmlp.commands.parsing import make_parser, print_json, write_and_show
from morphmlp.config import ListConfig, SplitConfig
from morphmlp.errors import DataError
from morphmlp.output import tell


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "ablate",
        "TABLE",
        "Trains the designs of one of the paper's Tables 6 to 10 side by side, on the same batches: a small-scale\n"
        "proxy. Writes the paper's figures beside ours, with the spread over seeds, as a table and a plot. After an\n"
        "interruption, the same command goes on with the first seed that is not done.",
        "morphmlp ablate 7 --steps 300 --seeds 3 --out runs/table7",
    )
    parser.add_argument("table", type=int, help="6, 7, 8, 9 or 10")
    parser.add_argument("--data", type=str | None, help="labelled videos or images; default: rendered videos")
    parser.add_argument("--out", type=str | None, help="folder of the results; default runs/tableN")
    parser.add_argument("--steps", type=PositiveInt, default=300, help="batches that each design sees")
    parser.add_argument("--seeds", type=PositiveInt, default=3, help="trainings of each design, each from another seed")
    parser.add_argument(
        "--recipe", type=str | None, help="one of the package, as spoken_words, or a YAML file of train's options"
    )
    parser.add_argument(
        "--init", type=str | None, help="checkpoint that every design starts from; default: fresh weights"
    )
    parser.add_argument("--batch_size", type=int | None, help="clips a step; default: the recipe's")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.analysis.paper.agreement import agreement_tables, comparable_column, plot_agreement, report
    from morphmlp.analysis.paper.trained import require_designs, train_designs
    from morphmlp.display.tables import print_all
    from morphmlp.files import replace_json

    require_designs(options.table)
    out = Path(options.out or f"runs/table{options.table}")
    config, sets = configure(options, out)
    results = train_designs(
        options.table,
        config,
        sets,
        out,
        steps=options.steps,
        seeds=options.seeds,
        say=tell,
    )
    column = comparable_column(results, video=config.model.temporal)
    facts = {"data": config.data, "validation": len(sets[1].samples), "model": config.model.name}
    facts |= {"steps": options.steps, "batch": config.train.batch_size}
    shown = report(options.table, results, column=column, facts=facts)

    def write() -> None:
        replace_json(out / "table.json", shown)
        plot_agreement(options.table, results, column, out / "plot.png")

    def show() -> None:
        if options.json:
            print_json(shown)
        else:
            print_all(agreement_tables(options.table, results, column))

    write_and_show(write, show)
    tell(f"table.json and plot.png are in {out}")
    return 0


def configure(options: Namespace, out: Path) -> tuple[Any, Any]:
    """The run's configuration and its two sets; videos are rendered where no data is given."""
    from morphmlp.data.sets.read import read_training_sets
    from morphmlp.demo.synthetic import write_dataset
    from morphmlp.recipes import load_recipe
    from morphmlp.tasks.registry import task_of_data
    from morphmlp.training.settings import run_config

    data = options.data or out / "data"
    if (task := task_of_data(data)).name != "classification":
        raise DataError(
            f"{data} holds {task.reading_part}, and `ablate` compares classifiers; give class folders or lists"
        )
    named = options.recipe or ("demo" if options.data is None else None)
    recipe = load_recipe(named) if named else {}
    recipe |= {name: options[name] for name in ("batch_size", "init") if options[name] is not None}
    if options.data is None and not data.exists():
        tell(f"rendering videos into {data}")
        write_dataset(data, train_per_class=60, val_per_class=20, seed=0)
    split, lists = (recipe.get(part) or {} for part in ("split", "lists"))
    sets = read_training_sets(data, SplitConfig.from_dict(split), ListConfig.from_dict(lists))
    if sets[0].multi_label:
        raise DataError(f"{data} has several labels a row, and `ablate` compares classifiers of one class")
    return run_config(data, num_classes=len(sets[0].classes), recipe=recipe, kind=sets[0].kind), sets
