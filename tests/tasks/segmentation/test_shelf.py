"""`segment` goes on where it was: it does what is not known, and nothing else."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.config import InputConfig
from morphmlp.models.zoo import create_segmenter
from morphmlp.tasks.segmentation import overlays, shelf
from morphmlp.tasks.segmentation.predictor import SegmentPredictor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = create_segmenter("morphmlp_image_nano", num_classes=3, decoder_width=8)
    folder = tmp_path_factory.mktemp("segmenter") / "nano"
    save(model, folder, CheckpointInfo(input=InputConfig(crop=(64, 64), resize=64, fit="whole"), labels=list("abc")))
    return folder


@pytest.fixture(autouse=True)
def _plain_overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What overlays look like is tested elsewhere; to draw one takes longer than the model."""
    monkeypatch.setattr(overlays, "draw_overlay", lambda image, mask, labels: Image.fromarray(image))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(4):
        write_image(tmp_path / "images" / f"{number}.png", seed=number)
    return tmp_path / "images"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that the model is asked about."""
    names: list[str] = []
    segment = SegmentPredictor._segment

    def noting(self: SegmentPredictor, path: str | Path, *rest: object) -> object:
        names.append(Path(path).name)
        return segment(self, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentPredictor, "_segment", noting)
    return names


def write_image(path: Path, *, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)).save(path)


def run(*arguments: object, status: int = 0) -> tuple[str, str]:
    result = tiny.run_command("segment", *arguments, "--device", "cpu")
    assert result.returncode == status, result.stderr
    return result.stdout, result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize("written", ["nothing", "the mask", "both pictures"])
def test_a_run_that_was_killed_is_gone_on_with(
    checkpoint: Path, images: Path, tmp_path: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch, written: str
):
    whole, _ = run(checkpoint, images, "--out", tmp_path / "whole", "--json")
    write_pictures, asked = shelf.write_pictures, list(seen)

    def stop_at_the_third(result, mask: Path, overlay: Path):
        third = mask.name == "2_mask.png"
        row = None if third and written == "nothing" else write_pictures(result, mask, overlay)
        if third and written == "the mask":
            overlay.unlink()
        if third:
            signal.raise_signal(signal.SIGTERM)
        return row

    monkeypatch.setattr(shelf, "write_pictures", stop_at_the_third)
    _, said = run(checkpoint, images, "--out", tmp_path / "out", "--json", status=143)
    assert said == f"the pictures so far are in {tmp_path / 'out'}; the same command goes on from there\nterminated\n"
    monkeypatch.setattr(shelf, "write_pictures", write_pictures)
    seen.clear()
    resumed, _ = run(checkpoint, images, "--out", tmp_path / "out", "--json")
    assert seen == ["2.png", "3.png"]
    assert asked == ["0.png", "1.png", "2.png", "3.png"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert resumed == whole.replace(str(tmp_path / "whole"), str(tmp_path / "out"))


def test_what_is_new_changed_unreadable_or_gone_is_done_again(
    checkpoint: Path, images: Path, tmp_path: Path, seen: list[str]
):
    out = tmp_path / "out"
    (images / "broken.png").write_bytes(b"no picture")
    run(checkpoint, images, "--out", out, status=1)
    seen.clear()
    write_image(images / "1.png", seed=9)
    write_image(images / "4.png", seed=4)
    (out / "2_overlay.png").unlink()
    rows = json.loads(run(checkpoint, images, "--out", out, "--json", status=1)[0])
    assert seen == ["1.png", "2.png", "4.png", "broken.png"]
    assert [Path(row["path"]).name for row in rows] == [*(f"{i}.png" for i in range(5)), "broken.png"]
    assert [name for name in ("mask", "overlay") if name in rows[-1]] == []
    assert len(contents(out)) == 10


def test_a_picture_of_somebody_else_is_not_replaced_by_a_later_run(checkpoint: Path, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(checkpoint, images, "--out", out)
    (out / "4_mask.png").write_text("precious")
    write_image(images / "4.png", seed=4)
    _, said = run(checkpoint, images, "--out", out, status=1)
    assert said == f"error: {out / '4_mask.png'} would be replaced; choose another --out, or --overwrite\n"


def test_other_settings_are_refused_by_name_and_overwrite_begins_again(
    checkpoint: Path, images: Path, tmp_path: Path, seen: list[str]
):
    out = tmp_path / "out"
    run(checkpoint, images, "--out", out)
    _, said = run(checkpoint, images, "--out", out, "--precision", "bf16", status=1)
    assert said == (
        f'error: {out} holds pictures with other settings (precision "fp32" then, "bf16" now); give the same ones, '
        "another --out, or --overwrite to begin again\n"
    )
    seen.clear()
    run(checkpoint, images, "--out", out, "--precision", "bf16", "--overwrite")
    assert len(seen) == 4
    run(checkpoint, images, "--out", out, "--precision", "bf16")
    assert len(seen) == 4


def test_names_that_move_with_the_images_are_followed(checkpoint: Path, images: Path, tmp_path: Path):
    """Once another image shares its name, an image's pictures are named by its folder too."""
    out = tmp_path / "out"
    run(checkpoint, images, "--out", out)
    write_image(images / "deep" / "0.jpg", seed=7)
    run(checkpoint, images, "--out", out)
    assert {"0.png_mask.png", "deep-0.jpg_mask.png"} <= set(os.listdir(out))
