"""Damaged files through `predict`, `check-data` and `train`: each must end in a result or in one clear line.

    python benchmarks/fuzz.py [--files 600] [--first 0] [--seed 0] [--keep DIR] [--json FILE]

Sound files of many formats are made first (videos, images, lists, tar shards, configurations, checkpoints). Copies of
them are then damaged at places that the seed and the file's number draw, so that `--first N --files 1` repeats one.
Every verb runs in a forked process of its own. It may end with status 0, 1 or 2, must say why in a line that can be
read, print no traceback, take no more than 30 s of the processor's time (which other programs on the machine do not
change) and hold no more than 2 GB; one that neither ends nor computes is stopped after three minutes. What breaks a
rule is listed, kept under `--keep`, and makes the exit status 1.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import psutil
import torch
from av.error import FFmpegError
from PIL import Image

import morphmlp
from morphmlp import cli
from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.config import InputConfig
from morphmlp.models.zoo import create_model

LIMIT_S, LIMIT_BYTES = 30, 2 * 2**30
HANGS_S = 180
LONGEST_LINE = 1000
SIDE, FRAMES = 64, 12
VIDEOS = {
    "h264.mp4": "libx264",
    "hevc.mp4": "libx265",
    "mpeg4.mp4": "mpeg4",
    "vp8.webm": "libvpx",
    "vp9.mkv": "libvpx-vp9",
    "mjpeg.avi": "mjpeg",
    "h264.ts": "libx264",
    "flv1.flv": "flv",
}
# What the verbs import, so that each forked process need not: a training imports 1,500 modules.
IMPORTED = ("accelerate", "matplotlib.pyplot", "rich.progress", "sympy", "torch._dynamo", "torchvision.transforms.v2")
IMPORTED += ("morphmlp.analysis.data_check.check", "morphmlp.checkpoints.released", "morphmlp.training.run")
IMPORTED += ("morphmlp.tasks.classification.training", "morphmlp.tasks.classification.predictor")
IMAGES = ("jpg", "png", "webp", "tif", "gif", "bmp")


@dataclass(frozen=True)
class Outcome:
    """How a verb ended on one damaged file."""

    verb: str
    file: str
    status: int | None
    wall_s: float
    processor_s: float
    peak_bytes: int
    text: str

    @property
    def fault(self) -> str | None:
        """The rule that it broke."""
        if self.status is None:
            return f"hangs: not ended after {HANGS_S} s"
        if self.status == -signal.SIGXCPU or self.processor_s > LIMIT_S:
            return f"more than {LIMIT_S} s of processor time"
        if self.status not in (0, 1, 2):
            return f"ended with {self.status}"
        if "Traceback" in self.text:
            return "traceback"
        if self.peak_bytes > LIMIT_BYTES:
            return f"{self.peak_bytes / 2**30:.1f} GB"
        # check-data ends with 1 after its report where files are broken; a configuration file holds options.
        reasons = ("morphmlp ",) if self.status == 2 else ("error", "report.json")
        told = [line for line in self.text.splitlines() if line.startswith(reasons)]
        if self.status and not told:
            return f"status {self.status} without a line that says why"
        if longest := max((len(line) for line in told if len(line) > LONGEST_LINE), default=0):
            return f"a line of {longest} characters"
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=600, help="damaged files to try (default: 600)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file (default: 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that broke a rule")
    parser.add_argument("--json", type=Path, help="write the outcomes to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as temporary:
        numbers = range(options.first, options.first + options.files)
        outcomes = run(Path(temporary), numbers, options.seed, keep=options.keep)
    for (verb, kind), number in sorted(Counter((o.verb, o.fault or f"status {o.status}") for o in outcomes).items()):
        print(f"{verb:12} {kind:40} {number}")
    slowest, largest = max(o.processor_s for o in outcomes), max(o.peak_bytes for o in outcomes)
    print(f"{len(outcomes)} runs, at most {slowest:.1f} s of processor time, largest {largest / 2**30:.2f} GB")
    faults = [o for o in outcomes if o.fault]
    for outcome in faults:
        print(f"{outcome.verb} {outcome.file}: {outcome.fault}\n{outcome.text[-600:]}")
    if options.json:
        options.json.write_text(json.dumps([vars(o) | {"fault": o.fault} for o in outcomes], indent=1))
    return 1 if faults else 0


def run(folder: Path, numbers: Iterable[int], seed: int, *, keep: Path | None = None) -> list[Outcome]:
    """Damages a copy of a sound file for each number and runs the verbs that read it."""
    sound = make_sound_files(folder / "sound")
    outcomes = []
    for number in numbers:
        original = sound[number % len(sound)]
        damaged = damage(original.read_bytes(), random.Random(f"{seed} {number}"))
        place = folder / f"{number:04}"
        for verb, arguments in arrange(original, damaged, place, folder / "sound"):
            outcome = run_verb(verb, arguments, f"{number:04}_{original.name}")
            outcomes.append(outcome)
            if outcome.fault and keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / outcome.file).write_bytes(damaged)
        shutil.rmtree(place)
    return outcomes


def damage(content: bytes, generator: random.Random) -> bytes:
    """One to three damages: bits turned, bytes replaced, a part cut out, zeroed, repeated, moved, or the end lost."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        start = generator.randrange(len(data)) if generator.random() < 0.7 else generator.randrange(min(64, len(data)))
        stop = min(len(data), start + int(2 ** generator.uniform(0, 12)))
        match generator.randrange(7):
            case 0:
                data[start] ^= 1 << generator.randrange(8)
            case 1:
                data[start:stop] = generator.randbytes(stop - start)
            case 2 if stop - start < len(data):
                del data[start:stop]
            case 3:
                data[start:stop] = bytes(stop - start)
            case 4:
                data[start:start] = data[start:stop]
            case 5:
                data[start:stop] = b"\xff" * (stop - start)
            case _:
                del data[max(1, start) :]
    return bytes(data)


def arrange(original: Path, damaged: bytes, place: Path, sound: Path) -> list[tuple[str, list[str]]]:
    """Puts the damaged file where the verbs expect its kind, beside sound ones; their arguments."""
    place.mkdir()
    train = ["train", "--out", str(place / "run"), *SHORT]
    if original.parent.name == "media":
        for name in ("one", "two"):
            (place / "set" / name).mkdir(parents=True)
            for copy in range(2):
                shutil.copy(sound / "media" / sibling(original), place / "set" / name / f"{copy}_{sibling(original)}")
        target = place / "set" / "one" / original.name
        target.write_bytes(damaged)
        image = original.suffix[1:] in IMAGES
        checkpoint = sound / ("image" if image else "video")
        return [
            ("predict", ["predict", str(checkpoint), str(target), "--workers", "0"]),
            ("check-data", ["check-data", str(place / "set"), "--out", str(place / "check"), "--workers", "1"]),
            ("train", [*train[:1], str(place / "set"), *train[1:], "--init", str(checkpoint), "--max_broken", "0.9"]),
        ]
    if original.parent.name == "tables":
        shutil.copytree(sound / "media", place / "set")
        table = str(place / "set" / original.name)
        Path(table).write_bytes(damaged)
        return [
            ("check-data", ["check-data", table, "--out", str(place / "check"), "--workers", "1"]),
            ("train", [*train[:1], table, *train[1:], "--init", str(sound / "video")]),
        ]
    if original.parent.name == "settings":
        (place / "settings.yaml").write_bytes(damaged)
        return [("train", [*train, "--config", str(place / "settings.yaml"), "--print_config"])]
    if original.suffix == ".pth":
        (place / "file.pth").write_bytes(damaged)
        return [("convert", ["convert", str(place / "file.pth"), str(place / "out")])]
    shutil.copytree(sound / "video", place / "checkpoint")
    (place / "checkpoint" / original.name).write_bytes(damaged)
    video = str(sound / "media" / "h264.mp4")
    return [("predict", ["predict", str(place / "checkpoint"), video, "--workers", "0"])]


SHORT = ["--epochs", "1", "--batch_size", "2", "--workers", "0"]


def sibling(original: Path) -> str:
    """A sound file of the same kind."""
    return "picture.png" if original.suffix[1:] in IMAGES else "h264.mp4"


def run_verb(verb: str, arguments: list[str], file: str) -> Outcome:
    """Runs the command line in a forked process; its time and peak memory, those of its own processes included."""
    reader, writer = os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reader)
        _become(arguments, writer)
    os.close(writer)
    watchdog = begin + HANGS_S
    status, usage, below = None, None, Below(child)
    os.set_blocking(reader, False)
    text = b""
    while status is None and time.monotonic() < watchdog:
        with contextlib.suppress(BlockingIOError):
            text += os.read(reader, 2**16)
        done, code, usage = os.wait4(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
        else:
            below.look()
            time.sleep(0.01)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        _, _, usage = os.wait4(child, 0)
    with contextlib.suppress(BlockingIOError):
        while part := os.read(reader, 2**16):
            text += part
    os.close(reader)
    assert usage
    wall_s = time.monotonic() - begin
    processor_s = usage.ru_utime + usage.ru_stime + sum(below.processor_s.values())
    peak_bytes = max(usage.ru_maxrss * 1024, below.peak_bytes)
    return Outcome(verb, file, status, wall_s, processor_s, peak_bytes, text.decode(errors="replace"))


class Below:
    """The processor time of the processes below one, by their numbers, and the most memory that one of them held.

    The system adds up only those that are waited for; those in which `check-data` decodes are not.
    """

    def __init__(self, process: int):
        self.top = psutil.Process(process)
        self.processor_s: dict[int, float] = {}
        self.peak_bytes = 0
        self.next_look = 0.0

    def look(self) -> None:
        """Looks four times a second: it goes through all processes of the machine."""
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + 0.25
        with contextlib.suppress(psutil.Error):
            for process in self.top.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    self.processor_s[process.pid] = times.user + times.system
                    self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)


def _become(arguments: list[str], writer: int) -> None:
    """Turns this process into one that runs the command line; never returns."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 5))
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w"), write_through=True) for number in (1, 2))
    status = 99
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def make_sound_files(folder: Path) -> list[Path]:
    """Small files of every format that the package reads, one folder a sort."""
    for name in ("media", "tables", "settings"):
        (folder / name).mkdir(parents=True)
    pictures = [_picture(number) for number in range(FRAMES)]
    for name, codec in VIDEOS.items():
        with contextlib.suppress(FFmpegError, ValueError):  # a build may lack an encoder
            _write_video(folder / "media" / name, codec, pictures)
    for ending in IMAGES:
        pictures[0].save(folder / "media" / f"picture.{ending}")
    pictures[0].save(folder / "media" / "moving.gif", save_all=True, append_images=pictures[1:])
    _write_tables(folder / "tables", folder / "media")
    recipe = Path(morphmlp.__file__).parent / "recipes" / "demo.yaml"
    shutil.copy(recipe, folder / "settings" / "demo.yaml")
    _write_checkpoints(folder)
    checkpoint = [folder / "video" / name for name in ("config.json", "model.safetensors")]
    made = [path for name in ("media", "tables", "settings") for path in sorted((folder / name).iterdir())]
    return [*made, *checkpoint, folder / "small.pth"]


def _picture(number: int) -> Image.Image:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    levels = np.stack([rows * 4, columns * 4, (rows + columns + 12 * number) * 2], axis=-1) % 256
    return Image.fromarray(levels.astype(np.uint8))


def _write_video(path: Path, codec: str, pictures: list[Image.Image]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def _write_tables(folder: Path, media: Path) -> None:
    names = sorted(path.name for path in media.iterdir() if path.name in VIDEOS)
    rows = [(name, ("one", "two")[number % 2]) for number, name in enumerate(names * 2)]
    (folder / "train.csv").write_text("".join(f"{name},{label}\n" for name, label in rows))
    (folder / "train.txt").write_text("".join(f"{name} {int(label == 'two')}\n" for name, label in rows))
    entries = [{"id": name.split(".")[0], "template": f"[something] {label}"} for name, label in rows]
    (folder / "train.json").write_text(json.dumps(entries))
    with tarfile.open(folder / "train-0.tar", "w") as archive:
        for number, (name, label) in enumerate(rows):
            for content, ending in ((media / name).read_bytes(), Path(name).suffix), (label.encode(), ".cls"):
                header = tarfile.TarInfo(f"{number:04}{ending}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))


def _write_checkpoints(folder: Path) -> None:
    small: Callable[..., morphmlp.MorphMLP] = create_model
    tiny = {"depths": (1, 1, 1, 1), "widths": (8, 16, 16, 16), "chunk_lengths": (2, 2, 2, 1)}
    inputs = InputConfig(crop=(32, 32), resize=32)
    for name, model in (("video", "morphmlp_video_nano"), ("image", "morphmlp_image_nano")):
        frames = {"frames": 4} if name == "video" else {}
        built = small(model, num_classes=2, **tiny, **frames)
        save(built, folder / name, CheckpointInfo(input=inputs, labels=["one", "two"]))
    state = built.state_dict()
    torch.save({"model_state": state, "epoch": 3}, folder / "small.pth")


if __name__ == "__main__":
    sys.exit(main())
