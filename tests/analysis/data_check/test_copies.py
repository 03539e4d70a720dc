"""Near copies: frames that are alike, mirrored or trimmed, in another split or under another label."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from morphmlp.analysis.data_check.copies import thumbnails
from morphmlp.data.sets.find import find_media
from morphmlp.tasks.classification.copies import SIDE, alike


def clip(seed: int, frames: int = 6) -> np.ndarray:
    return thumbnails(torch.randn(1, 3, frames, SIDE, 2 * SIDE, generator=torch.Generator().manual_seed(seed)))[0]


def test_a_brighter_a_mirrored_and_a_trimmed_clip_are_alike_and_another_is_not():
    pixels = torch.rand(1, 3, 6, 40, 60, generator=torch.Generator().manual_seed(0))
    one = thumbnails(pixels)[0]
    assert alike(one, thumbnails(0.6 * pixels + 0.3)[0]) == pytest.approx(1, abs=1e-5)
    assert alike(one, thumbnails(pixels.flip(-1))[0]) == pytest.approx(1, abs=1e-5)
    assert alike(one, one[2:]) == pytest.approx(1, abs=1e-5)
    assert alike(one[2:], one) == pytest.approx(1, abs=1e-5)
    assert alike(one, clip(1)) < 0.5


def test_a_frame_of_one_colour_is_like_no_other():
    black = thumbnails(torch.zeros(1, 3, 2, 32, 32))[0]
    assert not black.any()
    assert alike(black, black) == 0


@pytest.fixture(scope="module")
def copied(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, with a re-encoded, darker copy of a training video in val, and one in the other class of train."""
    folder = tiny.copy_data(data, tmp_path_factory.mktemp("copied") / "set", classes=2)
    source = find_media(folder / "train")[0]
    first, second = sorted(path.name for path in (folder / "train").iterdir())
    darker(source, folder / "val" / first / "darker.mp4", by=0.8)
    darker(source, folder / "train" / second / "other_label.mp4", by=0.7)
    return folder


def darker(source: Path, to: Path, *, by: float) -> None:
    import av

    with av.open(str(source)) as video, av.open(str(to), "w") as out:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        stream: Any = out.add_stream("libx264", rate=video.streams.video[0].average_rate, options={"crf": "24"})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray((pixels * by).astype(np.uint8), format="rgb24")))
        out.mux(stream.encode())


def check(data: Path, out: Path, *arguments: object) -> Any:
    return tiny.run_command("check-data", data, "--out", out, "--workers", 1, *arguments)


def test_near_copies_are_in_the_report_and_in_a_remark(checkpoint: Path, copied: Path, tmp_path: Path):
    done = check(copied, tmp_path / "out", "--copies", checkpoint)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    names = [[Path(path).name for path in pair["paths"]] for pair in report["near_copies"]]
    source = find_media(copied / "train")[0].name
    assert sorted(map(sorted, names)) == sorted(
        map(sorted, [[source, "darker.mp4"], [source, "other_label.mp4"], ["other_label.mp4", "darker.mp4"]])
    )
    assert report["num_near_copies"] == 3
    assert report["near_copies_above"] == 0.975
    assert report["duplicates"] == []  # the files differ in their bytes
    assert "near copies: 3 pairs 0.975 or more alike; 2 across splits" in done.stdout
    above = check(copied, tmp_path / "out", "--copies", checkpoint, "--copies-above", "1")
    assert "near copies: none" in above.stdout


def test_a_checkpoint_of_another_kind_is_refused_in_one_line(image_checkpoint: Path, copied: Path, tmp_path: Path):
    done = check(copied, tmp_path / "out", "--copies", image_checkpoint)
    assert done.returncode == 1
    assert "a classifier of images; --copies needs one that takes them all" in done.stderr
    assert not (tmp_path / "out" / "journal.jsonl").exists()  # it is told before a file is looked at


def test_without_copies_the_report_says_nothing_of_them(copied: Path, tmp_path: Path):
    done = check(copied, tmp_path / "out", "--json")
    assert "near_copies" not in json.loads(done.stdout)
    shutil.rmtree(tmp_path / "out")


def test_how_alike_copies_are_has_no_meaning_without_them(copied: Path, tmp_path: Path):
    done = tiny.run_command("check-data", copied, "--out", tmp_path / "out", "--copies-above", "0.9")
    assert done.returncode == 1
    assert done.stderr == "error: --copies_above 0.9 is that of --copies: give --copies CHECKPOINT too\n"
