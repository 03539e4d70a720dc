"""The verbs of the command line: each module holds the options of one and `run(arguments)`, its exit status."""
