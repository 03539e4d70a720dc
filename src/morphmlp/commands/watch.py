"""`morphmlp watch`."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from morphmlp.commands.parsing import (
    USER_ERROR,
    add_protocol,
    add_segments,
    make_parser,
    protocol,
    use_limits,
    write_and_show,
)
from morphmlp.errors import ConfigError, MediaError
from morphmlp.files import require_apart
from morphmlp.formatting import as_json, one_line
from morphmlp.output import tell
from morphmlp.signals import Terminated, take_note

if TYPE_CHECKING:
    from morphmlp.tasks.classification.predictor import Predictor
    from morphmlp.tasks.classification.timeline.recorder import Recorder


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _parser().parse_args(arguments)

    from morphmlp.data.clips.windows import usual_core_s, usual_windows
    from morphmlp.tasks.classification.predictor import Predictor
    from morphmlp.tasks.classification.timeline.recorder import Recorder
    from morphmlp.tasks.classification.timeline.segments import usual_shortest_s

    use_limits(options)
    predictor = Predictor(options.checkpoint, **protocol(options), threshold=options.threshold)
    if predictor.config.multi_label:
        raise ConfigError(
            f"{options.checkpoint} gives several labels, and the segments of `watch` are of one class each: use "
            "`morphmlp predict`, or Predictor.windows in Python"
        )
    if predictor.kind != "video":
        raise ConfigError(f"{options.checkpoint} takes images, which have no windows in time; use `morphmlp predict`")
    sources = _sources(options.sources)
    _require_places(options, sources)
    options.length, options.step = usual_windows(
        options.length,
        options.step,
        config=predictor.input,
        frames=predictor.config.frames,
        training=predictor.info.training,
    )
    core_s = usual_core_s(options.length, options.step, config=predictor.input)
    recorder = Recorder(
        [_name(source) for source in sources],
        predictor.labels,
        options.out or [],
        threshold=predictor.threshold,
        low=options.low,
        shortest_s=usual_shortest_s(core_s) if options.shortest is None else options.shortest,
        core_s=core_s,
        every_s=options.every,
    )
    try:
        failed = [source for source in sources if not _watch(source, predictor, recorder, options)]
    except (KeyboardInterrupt, Terminated, BrokenPipeError):
        take_note()
        _write(recorder, options)
        raise
    write_and_show(lambda: _write(recorder, options), lambda: _show(recorder, options))
    if options.render is not None and not failed:
        _render(sources[0], recorder, options.render)
    return USER_ERROR if failed else 0


def _parser():
    parser = make_parser(
        "watch",
        "CHECKPOINT SOURCE...",
        "Says what happens when: in each window of recordings or streams, as it comes, and in segments at the end.\n"
        "SOURCE: a file, a folder, a glob, an address (http, https, rtsp, ...), camera:0, or - for standard input.\n"
        "Ctrl-C ends it with what there is. Exit status 1 if a source could not be read to its end.",
        "morphmlp watch runs/mine long.mp4 --length 2 --step 0.5 --out segments.csv long.vtt\n"
        "  morphmlp watch runs/mine rtsp://10.0.0.5/1 --json --out today.json",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder, or hf://owner/name of the hub")
    parser.add_argument("sources", type=str, nargs="+", help="files, folders, globs, addresses, camera:0 or -")
    parser.add_argument("--top", type=PositiveInt, default=3, help="classes to show")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each window")
    segments = add_segments(parser, "windows and segments")
    segments.add_argument("--out", type=str, nargs="+", help="files of segments: csv, json, vtt, srt, activitynet.json")
    segments.add_argument("--every", type=PositiveFloat, default=60.0, help="seconds after which --out is written anew")
    segments.add_argument("--picture", type=str | None, help="draw it: x.png, a page x.html, or a folder of both")
    segments.add_argument("--render", type=str | None, help="write the video with its labels in it; for one file")
    streams = parser.add_argument_group("streams")
    streams.add_argument("--duration", type=PositiveFloat, help="seconds of each source after which to stop")
    streams.add_argument("--retries", type=NonNegativeInt, default=5, help="tries to connect again; 0: none")
    streams.add_argument(
        "--timeout", type=PositiveFloat, default=10.0, help="seconds without data that end a connection"
    )
    streams.add_argument(
        "--live",
        type=Literal["auto", "yes", "no"],
        default="auto",
        help="yes: the source does not wait, so old frames are dropped; auto: cameras, rtsp, and http without an end",
    )
    add_protocol(parser, workers=False)
    return parser


def _require_places(options: Namespace, sources: "list[str | Path]") -> None:
    """Finds out before all the work whether its results can be written, each to a place of its own."""
    from morphmlp.tasks.classification.timeline.pictures import require_picture
    from morphmlp.tasks.classification.timeline.rendering import require_render

    outputs = [("--out", path) for path in options.out or []]
    outputs += [(f"--{name}", options[name]) for name in ("picture", "render") if options[name] is not None]
    require_apart(outputs, [source for source in sources if isinstance(source, Path)])
    if options.picture is not None:
        require_picture(options.picture, num_sources=len(sources))
    if options.render is not None:
        if len(sources) != 1 or not isinstance(sources[0], Path):
            raise ConfigError(f"--render {options.render} is for one file; {len(sources)} source(s) are given")
        require_render(sources[0], options.render)


def _sources(texts: list[str]) -> "list[str | Path]":
    """Streams as they are; files, and those in folders and of globs, as paths. Each once."""
    from morphmlp.data.media.addresses import is_stream
    from morphmlp.data.sets.find import expand_paths

    found = [source for text in texts for source in ([text] if is_stream(text) else expand_paths([text], "video"))]
    return list(dict.fromkeys(found))


def _name(source: "str | Path") -> str:
    from morphmlp.data.media.addresses import shown_address

    return shown_address(source) if isinstance(source, str) else str(source)


def _watch(source: "str | Path", predictor: "Predictor", recorder: "Recorder", options: Namespace) -> bool:
    """Watches one source to its end; whether it could be read to there."""
    from morphmlp.data.media.streams import Stream
    from morphmlp.tasks.classification.timeline.lines import window_line, window_row
    from morphmlp.tasks.classification.timeline.watching import Watch

    stream = Stream(
        source,
        short_side=predictor.input.decoded_short_side,
        live={"auto": None, "yes": True, "no": False}[options.live],
        retries=options.retries,
        timeout_s=options.timeout,
    )
    watch = Watch(
        predictor,
        stream,
        length_s=options.length,
        step_s=options.step,
        duration_s=options.duration,
        show=recorder.seen[stream.name].add_frame,
    )
    if len(recorder.recordings) > 1 and not options.json:
        print(one_line(stream.name), flush=True)
    recorder.begin(stream.name)
    try:
        with closing(watch.windows()) as windows:
            for window in windows:
                recorder.add(window)
                pace = watch.pace() if stream.is_live else None
                if options.json:
                    print(as_json(window_row(stream.name, window, options.top, pace)), flush=True)
                else:
                    print(window_line(window, options.top, pace), flush=True)
    except MediaError as error:
        tell(f"error: {error}")
        return False
    finally:
        recorder.end()
    return True


def _write(recorder: "Recorder", options: Namespace) -> None:
    from morphmlp.tasks.classification.timeline.pictures import write_pictures

    recorder.write()
    if options.picture is not None:
        write_pictures(
            options.picture, recorder.recordings, recorder.seen, labels=recorder.labels, threshold=recorder.threshold
        )


def _show(recorder: "Recorder", options: Namespace) -> None:
    from morphmlp.display.tables import print_all
    from morphmlp.tasks.classification.timeline.lines import segment_table

    if not options.json and any(recorder.recordings.values()):
        print_all([segment_table(recorder.recordings)])


def _render(source: "str | Path", recorder: "Recorder", path: str) -> None:
    from morphmlp.tasks.classification.timeline.rendering import render

    assert isinstance(source, Path)
    render(source, recorder.recordings[str(source)], path)
    tell(f"{path}: the video with its labels")
