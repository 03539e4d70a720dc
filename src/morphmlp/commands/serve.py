"""`morphmlp serve`."""

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt

from morphmlp.commands.parsing import Parser, add_protocol, make_parser, protocol, use_limits
from morphmlp.output import tell


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _parser().parse_args(arguments)

    from dataclasses import fields

    from morphmlp.errors import UserError
    from morphmlp.serving.limits import Limits

    try:
        from morphmlp.serving.server import chosen_token, require_protected, serve
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn", "h11", "pebble", "python_multipart"):
            raise
        raise UserError(f"{error.name} is missing; install it with: pip install 'morphmlp[serve]'") from None
    from morphmlp.tasks.classification.predictor import Predictor

    token = chosen_token(options.token, options.token_file)
    require_protected(options.host, token, allow_anyone=options.allow_anyone)
    limits = Limits(**{field.name: getattr(options, field.name) for field in fields(Limits)})
    use_limits(options)
    serve(
        lambda: Predictor(options.checkpoint, **protocol(options), threshold=options.threshold),
        options.checkpoint,
        host=options.host,
        port=options.port,
        token=token,
        workers=options.workers,
        limits=limits,
        say=tell,
    )
    return 0


def _parser() -> Parser:
    parser = make_parser(
        "serve",
        "CHECKPOINT",
        "Answers over HTTP what videos or images show, and has a page for people at /. See docs/serve.md.",
        "morphmlp serve runs/mine --port 8000\n  curl -F file=@clip.mp4 http://127.0.0.1:8000/predict",
    )
    parser.add_argument(
        "checkpoint", type=str, help="checkpoint folder, exported folder, or hf://owner/name of the hub"
    )
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen at; 0.0.0.0: all of them")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--threshold", type=ClosedUnitInterval, help="as that of `morphmlp predict`")
    access = parser.add_argument_group("who may use it")
    access.add_argument("--token", type=str | None, help="clients have to send it; seen by all users of this machine")
    access.add_argument("--token_file", type=str | None, help="a file that holds it; or set MORPHMLP_TOKEN")
    access.add_argument("--allow_anyone", action="store_true", help="let other machines in without a token")
    parser.add_argument("--workers", type=PositiveInt, default=2, help="processes that decode")
    _add_limits(parser)
    add_protocol(parser, workers=False)
    return parser


def _add_limits(parser: Parser) -> None:
    """One option for each field of `Limits`, which holds the defaults."""
    from morphmlp.serving.limits import Limits

    group = parser.add_argument_group("limits")
    for name, (kind, text) in _LIMITS.items():
        group.add_argument(f"--{name}", type=kind, default=getattr(Limits, name), help=text)


_LIMITS = {
    "upload_mb": (PositiveFloat, "megabytes of a request"),
    "upload_s": (PositiveFloat, "seconds that a request may take to arrive"),
    "files": (PositiveInt, "of a request"),
    "duration_s": (PositiveFloat, "seconds of a video"),
    "pixels": (PositiveInt, "of a frame or an image"),
    "windows": (PositiveInt, "of a video"),
    "decode_s": (PositiveFloat, "seconds that decoding a file may take"),
    "decode_mb": (PositiveFloat, "megabytes of memory that it may take"),
    "queue": (PositiveInt, "requests with files that are in work at one time"),
    "batch_ms": (NonNegativeFloat, "milliseconds to wait for other files of a batch"),
    "drain_s": (NonNegativeFloat, "seconds to finish what is in work after SIGTERM"),
}
