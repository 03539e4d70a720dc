"""`morphmlp models`."""

from morphmlp.commands.parsing import make_parser, print_json


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "models",
        "",
        "Lists the named models: parameters, and multiply-adds of linear and convolution layers for one view, counted\n"
        "on the built model; and the weights of the package that a model can start from (train --init NAME).",
        "morphmlp models --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.checkpoints.starts import start_of
    from morphmlp.display.tables import model_table, print_all
    from morphmlp.models.cost import model_rows

    rows = [row | {"start": start_of(row["model"])} for row in model_rows()]
    if options.json:
        print_json(rows)
    else:
        print_all([model_table(rows)])
    return 0
