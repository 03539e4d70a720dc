"""`morphmlp push`."""

from dataclasses import asdict

from morphmlp.commands.parsing import make_parser, print_json
from morphmlp.errors import ConfigError
from morphmlp.formatting import encodable


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "push",
        "CHECKPOINT OWNER/NAME --license LICENSE",
        "Pushes a checkpoint or an exported folder to the Hugging Face Hub, with a card that is written from it, in\n"
        "one commit. The repository is made if there is none. Wherever a checkpoint is expected, hf://owner/name is\n"
        "then taken, and hf://owner/name@revision for a branch, a tag or a commit. Log in with `hf auth login`, or\n"
        "set HF_TOKEN.",
        "morphmlp push runs/mine me/my-gestures --license apache-2.0 --private\n"
        "  morphmlp predict hf://me/my-gestures clip.mp4",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint or exported folder")
    parser.add_argument("repository", type=str, help="owner/name of the repository, or hf://owner/name")
    parser.add_argument("--license", type=str | None, help="of the weights, as the hub names it, such as apache-2.0")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--revision", type=str | None, help="branch to push to; default: main")
    parser.add_argument("--message", type=str | None, help="of the commit")
    parser.add_argument("--keep_card", action="store_true", help="leave the README.md that the repository has")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.checkpoints.hub import hub_repository
    from morphmlp.sharing.card import USUAL_LICENSES
    from morphmlp.sharing.push import push

    if not options.license and not options.keep_card:
        raise ConfigError(
            f"--license is missing: say what others may do with the weights, such as {', '.join(USUAL_LICENSES)}; the "
            "data may set limits, too"
        )
    repository = hub_repository(f"hf://{options.repository.removeprefix('hf://')}")
    if options.revision:
        repository = repository._replace(revision=options.revision)
    pushed = push(
        options.checkpoint,
        repository,
        license=options.license,
        private=options.private,
        message=options.message,
        keep_card=options.keep_card,
    )
    if options.json:
        print_json(asdict(pushed))
    else:
        print(encodable(f"{pushed.name}: {', '.join(pushed.files)}\n{pushed.url}"))
    return 0
