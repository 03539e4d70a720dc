"""`morphmlp table`."""

from morphmlp.commands.parsing import make_parser, print_json


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "table",
        "NUMBER",
        "Prints a table of the paper, 1 to 11, and beside it what the models count here: parameters and GFLOPs,\n"
        "differences marked.",
        "morphmlp table 1 --plot accuracy.png",
    )
    parser.add_argument("number", type=int, help="1 to 11")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=str | None, help="tables 1 and 2: draw Fig. 2, accuracy over GFLOPs, as PNG")
    options = parser.parse_args(arguments)

    from morphmlp.analysis.paper.counted import as_json, counted_table, table_for_people
    from morphmlp.analysis.paper.figure2 import PANELS, plot_accuracy
    from morphmlp.display.tables import print_all
    from morphmlp.errors import ConfigError

    if options.plot and options.number not in PANELS:
        raise ConfigError(f"--plot draws Fig. 2, from tables 1 and 2; not table {options.number}")
    rows = counted_table(options.number)
    if options.json:
        print_json(as_json(options.number, rows))
    else:
        print_all(table_for_people(options.number, rows))
    if options.plot:
        plot_accuracy(options.plot)
    return 0
