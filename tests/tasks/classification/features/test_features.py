"""Features: the numbers by hand, what is written beside them, and runs that are stopped, resumed, refused or shared."""

import csv
import errno
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fresh
import numpy as np
import pytest
import tiny
import torch
from encoding import copy_video, with_times
from safetensors import safe_open
from safetensors.numpy import load_file

import morphmlp
from morphmlp import files
from morphmlp.checkpoints.folder import load_with_info
from morphmlp.config import InputConfig
from morphmlp.data.batches.loaders import SampleClips, TestClips
from morphmlp.data.clips.windows import window_times
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe
from morphmlp.data.sets.find import find_media
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import ConfigError, DataError
from morphmlp.tasks.classification.features import parts, run
from morphmlp.tasks.classification.features.extractor import FeatureExtractor
from morphmlp.tasks.classification.features.model import FeatureModel
from morphmlp.tasks.classification.features.sources import FeatureFile, Spans


@pytest.fixture(scope="module")
def videos(data: Path) -> list[Path]:
    return find_media(data / "val")[:6]


@pytest.fixture
def every_batch_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files a batch, each batch a part."""
    monkeypatch.setattr(parts, "PART_S", 0.0)
    monkeypatch.setattr("morphmlp.tasks.classification.prediction.VIEWS_PER_BATCH", 2)


def features(checkpoint: Path, *arguments: object, out: Path) -> subprocess.CompletedProcess[str]:
    return tiny.run_command("features", checkpoint, *arguments, "--out", out, "--workers", 0)


def clips_of(video: Path, frames: int, config: InputConfig) -> torch.Tensor:
    found = TestClips([Sample(video, 0)], frames, config)[0]
    assert isinstance(found, SampleClips)
    return found.clips


def rows(folder: Path, name: str = "features.csv") -> list[dict[str, str]]:
    with open(folder / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def info_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "features.json").read_text(encoding="utf-8"))


def test_features_are_norm_and_mean_of_the_last_map_and_the_head_of_them_is_the_logits(
    checkpoint: Path, videos: list[Path]
):
    model, info = load_with_info(checkpoint)
    clip = clips_of(videos[0], model.config.frames, info.input)
    with torch.no_grad():
        by_hand = model.norm(model.forward_features(clip)[-1]).mean(dim=(1, 2, 3))[0]
        logits = model(clip)[0]
        found = torch.from_numpy(FeatureExtractor(checkpoint)(videos[0]))
        torch.testing.assert_close(found, by_hand, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model.head(found), logits, rtol=1e-5, atol=1e-5)


def test_the_features_of_several_views_are_their_mean_so_that_the_head_gives_their_mean_logits(
    checkpoint: Path, videos: list[Path]
):
    extract = FeatureExtractor(checkpoint, num_clips=3)
    model, _ = load_with_info(checkpoint)
    clips = clips_of(videos[0], model.config.frames, extract.input)
    assert len(clips) == 3
    with torch.no_grad():
        found = model.head(torch.from_numpy(extract(videos[0])))
        torch.testing.assert_close(found, model(clips).mean(dim=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "none"])
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_the_plain_and_the_optimized_model_give_the_same_stage(checkpoint: Path, stage: int, pooling: Any):
    model, _ = load_with_info(checkpoint)
    clips = torch.randn(3, 3, 4, 32, 32)
    layer: Any = f"stage{stage}"
    plain = FeatureModel(model, layer=layer, pooling=pooling).eval()
    with torch.no_grad():
        by_hand = model.forward_features(clips)[stage - 1]
        by_hand = {"mean": by_hand.mean((1, 2, 3)), "max": by_hand.amax((1, 2, 3)), "none": by_hand}[pooling]
        assert torch.equal(plain(clips), by_hand)
        torch.testing.assert_close(morphmlp.optimize(plain)(clips), by_hand, rtol=1e-4, atol=1e-5)


def test_a_row_says_where_a_vector_is_from_and_the_json_what_it_depends_on(
    checkpoint: Path, videos: list[Path], tmp_path: Path
):
    done = features(checkpoint, *videos, out=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert tiny.files_below(tmp_path / "out") == ["features.csv", "features.json", "features.safetensors"]
    info, first = probe(videos[0]), rows(tmp_path / "out")[0]
    assert first["path"] == str(videos[0])
    assert (first["row"], first["label"], first["split"], float(first["fps"])) == ("0", "", "", info.fps)
    times = [float(first[name]) for name in ("start_s", "end_s", "center_s")]
    assert times == pytest.approx([0, info.duration_s, info.duration_s / 2], abs=1e-6)
    arrays = load_file(tmp_path / "out" / "features.safetensors")
    assert arrays["features"].shape == (6, 16)
    extract = FeatureExtractor(checkpoint)
    for path, vector in zip(videos, arrays["features"], strict=True):
        np.testing.assert_allclose(vector, extract(path), rtol=1e-4, atol=1e-5)
    said = info_of(tmp_path / "out")
    with safe_open(tmp_path / "out" / "features.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["features"]) == said
    settings = said["settings"]
    assert settings["layer"] == "head"
    assert settings["frames"] == 4
    assert settings["window_step_s"] is None
    assert settings["input"] == extract.input.to_dict()
    assert settings["checkpoint_labels"] == extract.info.labels
    assert said["fps_min_median_max"] == [info.fps] * 3
    assert said["shape"] == [6, 16]


def test_windows_go_on_to_the_end_of_pictures_that_begin_after_the_sound(checkpoint: Path, tmp_path: Path):
    path = with_times(tmp_path / "x.mkv", range(24, 60), sound_s=5)
    assert features(checkpoint, path, "--step", 1, "--length", 1, out=tmp_path / "out").returncode == 0
    assert [float(row["end_s"]) for row in rows(tmp_path / "out")] == pytest.approx([1, 2, 3, 4, 5])


def test_windows_of_a_file_that_is_cut_off_say_so(checkpoint: Path, videos: list[Path], tmp_path: Path):
    whole, half = copy_video(videos[0], tmp_path / "whole.mkv"), tmp_path / "half.mkv"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert features(checkpoint, half, "--step", 0.2, "--length", 0.4, out=tmp_path / "out").returncode == 0
    note = f"{probe(half).num_frames} of {probe(whole).num_frames} frames can be read"
    assert info_of(tmp_path / "out")["incomplete"] == [{"path": str(half), "note": note}]


def test_an_npz_holds_the_same_arrays(checkpoint: Path, videos: list[Path], tmp_path: Path):
    assert features(checkpoint, *videos, "--step", 0.5, out=tmp_path / "a").returncode == 0
    done = features(checkpoint, *videos, "--step", 0.5, "--format", "npz", "--nearest", 2, out=tmp_path / "b")
    assert done.returncode == 0, done.stderr
    plain = load_file(tmp_path / "a" / "features.safetensors")
    with np.load(tmp_path / "b" / "features.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {*plain, "info"}
        assert all(np.array_equal(arrays[name], plain[name]) for name in plain)
        assert json.loads(str(arrays["info"])) == info_of(tmp_path / "b")
    mapped = run.outputs.map_vectors(tmp_path / "b", "npz")
    assert np.array_equal(mapped, plain["features"])


def test_windows_cover_a_file_and_each_has_the_features_of_its_stretch(
    checkpoint: Path, videos: list[Path], tmp_path: Path
):
    done = features(checkpoint, videos[0], "--step", 0.3, "--length", 0.5, out=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    duration_s = probe(videos[0]).duration_s
    times = [(float(row["start_s"]), float(row["end_s"])) for row in rows(tmp_path / "out")]
    assert times == [pytest.approx(t, abs=1e-6) for t in window_times(duration_s, length_s=0.5, step_s=0.3)]
    assert len(times) > 2
    extract = FeatureExtractor(checkpoint)
    for vector, time in zip(load_file(tmp_path / "out" / "features.safetensors")["features"], times, strict=True):
        np.testing.assert_allclose(vector, extract(Stretch(videos[0], *time)), rtol=1e-4, atol=1e-5)


def test_a_file_shorter_than_a_window_has_the_features_of_the_file(
    checkpoint: Path, videos: list[Path], tmp_path: Path
):
    features(checkpoint, *videos, out=tmp_path / "files")
    features(checkpoint, *videos, "--step", 100, "--length", 100, out=tmp_path / "windows")
    found = [load_file(tmp_path / name / "features.safetensors")["features"] for name in ("files", "windows")]
    assert np.array_equal(found[0], found[1])


def test_every_item_is_found_among_a_million_windows_of_few_files():
    long = [FeatureFile(Path(f"{i}.mp4"), label=i, start_s=0.0, end_s=250_000.0, fps=25.0) for i in range(4)]
    spans = Spans([long[0], FeatureFile(Path("bad.mp4"), reason="is bad"), *long[1:]], length_s=2.0, step_s=1.0)
    assert len(spans) == 4 * 249_999
    assert spans.place(249_998) == (0, 249_998.0, 250_000.0)
    assert spans.place(249_999) == (2, 0.0, 2.0)
    assert spans[249_999 + 7] == Sample(Stretch(Path("1.mp4"), 7.0, 9.0), 1)
    with pytest.raises(IndexError):
        spans.place(len(spans))


def test_labels_and_splits_of_a_labelled_folder_go_along(checkpoint: Path, data: Path, tmp_path: Path):
    done = features(checkpoint, "--data", data, out=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "out")
    assert len(found) == 30
    assert {row["split"] for row in found} == {"train", "val"}
    assert all(row["label"] == Path(row["path"]).parent.name for row in found)
    labels = info_of(tmp_path / "out")["settings"]["labels"]
    numbers = load_file(tmp_path / "out" / "features.safetensors")["label"]
    assert [labels[number] for number in numbers] == [row["label"] for row in found]


def test_images_have_features_without_times(image_checkpoint: Path, tmp_path: Path):
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (40, 40), (80 * i, 10, 10)).save(tmp_path / f"{i}.png")
    done = features(image_checkpoint, tmp_path, "--nearest", 1, out=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [row["center_s"] for row in rows(tmp_path / "out")] == ["", "", ""]
    assert np.isnan(load_file(tmp_path / "out" / "features.safetensors")["start_s"]).all()
    again = features(image_checkpoint, tmp_path / "0.png", "--step", 1, out=tmp_path / "windows")
    assert again.returncode == 1
    assert "windows" in again.stderr


@pytest.mark.usefixtures("every_batch_a_part")
@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    checkpoint: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    sources = [*videos, broken]
    assert features(checkpoint, *sources, out=tmp_path / "whole").returncode == 1
    write, written = parts.PartsFolder.write, []

    def write_and_stop(self: parts.PartsFolder, results: Any) -> None:
        write(self, results)
        written.append(1)
        if len(written) == stop_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts.PartsFolder, "write", write_and_stop)
        stopped = features(checkpoint, *sources, out=tmp_path / "out")
    assert stopped.returncode == 130
    assert "the same command goes on" in stopped.stderr
    assert len(list((tmp_path / "out" / "parts").glob("part-*"))) == stop_at
    looked_at = []
    clip = TestClips.__getitem__
    monkeypatch.setattr(TestClips, "__getitem__", lambda self, i: (looked_at.append(i), clip(self, i))[1])
    assert features(checkpoint, *sources, out=tmp_path / "out").returncode == 1
    assert len(looked_at) == len(videos) - 2 * stop_at
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / "out" / "parts").exists()


@pytest.mark.usefixtures("every_batch_a_part")
@pytest.mark.parametrize("harm", ["damaged", "foreign", "settings gone"])
def test_damaged_and_foreign_parts_are_refused_in_one_line(
    checkpoint: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
):
    stop_while_joining(checkpoint, videos, tmp_path / "out", monkeypatch)
    part = sorted((tmp_path / "out" / "parts").glob("part-*"))[1]
    if harm == "damaged":
        content = bytearray(part.read_bytes())
        content[-3] ^= 1
        part.write_bytes(content)
    elif harm == "foreign":
        stop_while_joining(checkpoint, videos[:4], tmp_path / "other", monkeypatch)
        shutil.copy(tmp_path / "other" / "parts" / part.name, part)
    else:
        (tmp_path / "out" / "parts" / "settings.json").unlink()
    refused = features(checkpoint, *videos, out=tmp_path / "out")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert {"damaged": "is damaged", "foreign": "other settings", "settings gone": "unknown run"}[
        harm
    ] in refused.stderr


def stop_while_joining(checkpoint: Path, videos: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "features.safetensors"))

    with monkeypatch.context() as patch:
        patch.setattr(run.outputs, "write_vectors", full)
        stopped = features(checkpoint, *videos, out=out)
    assert stopped.returncode == 1
    assert "No space left on device" in stopped.stderr


def test_a_full_disk_leaves_no_half_file_and_the_run_goes_on(
    checkpoint: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    features(checkpoint, *videos, out=tmp_path / "whole")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run.outputs, "_write_safetensors", full)
        stopped = features(checkpoint, *videos, out=tmp_path / "out")
    assert stopped.returncode == 1
    assert len(stopped.stderr.splitlines()) == 1
    assert "No space left" in stopped.stderr
    assert contents(tmp_path / "out") == {}
    assert features(checkpoint, *videos, out=tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert files.UNFINISHED not in "".join(tiny.files_below(tmp_path))


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name(
    checkpoint: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
):
    if finished:
        features(checkpoint, *videos, out=tmp_path / "out")
    else:
        stop_while_joining(checkpoint, videos, tmp_path / "out", monkeypatch)
    before = contents(tmp_path / "out")
    refused = features(checkpoint, *videos, "--layer", "stage2", out=tmp_path / "out")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert '(layer "head" then, "stage2" now)' in refused.stderr
    fewer = features(checkpoint, *videos[:3], out=tmp_path / "out")
    assert "files 6 then, 3 now" in fewer.stderr
    assert contents(tmp_path / "out") == before
    assert features(checkpoint, *videos, "--layer", "stage2", "--fresh", out=tmp_path / "out").returncode == 0
    assert info_of(tmp_path / "out")["shape"] == [6, 16]
    assert info_of(tmp_path / "out")["settings"]["layer"] == "stage2"


def test_complete_features_are_not_computed_again(
    checkpoint: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    features(checkpoint, *videos, out=tmp_path / "out")
    before = contents(tmp_path / "out")
    monkeypatch.setattr(FeatureExtractor, "batches", None)
    done = features(checkpoint, *videos, "--nearest", 2, out=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert before.items() <= contents(tmp_path / "out").items()


def test_unreadable_files_are_listed_and_the_rest_is_written(checkpoint: Path, videos: list[Path], tmp_path: Path):
    text, cut = tmp_path / "text.mp4", tmp_path / "cut.mp4"
    text.write_text("no video")
    cut.write_bytes(b"")
    done = features(checkpoint, text, *videos, cut, tmp_path / "missing.mp4", out=tmp_path / "out")
    assert done.returncode == 1
    assert len(rows(tmp_path / "out")) == 6
    broken = info_of(tmp_path / "out")["broken"]
    assert [Path(entry["path"]).name for entry in broken] == ["text.mp4", "cut.mp4", "missing.mp4"]
    assert all(entry["reason"] and entry["path"] in done.stderr for entry in broken)


def test_a_file_that_is_not_there_costs_no_earlier_features(checkpoint: Path, videos: list[Path], tmp_path: Path):
    assert features(checkpoint, videos[0], out=tmp_path / "out").returncode == 0
    before = contents(tmp_path / "out")
    done = features(checkpoint, tmp_path / "missing.mp4", "--fresh", out=tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: none of the 1 files can be read; ")
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{empty}"], "no videos found"),
        (["{text}"], "none of the 1 files can be read"),
        (["{video}", "--length", "2"], "give --step too"),
        (["{video}", "--pooling", "max"], "the head takes the mean"),
        (["{video}", "--layer", "stage1", "--pooling", "none", "--clips", "2"], "keeps the map of one view"),
        (["{video}", "--data", "{empty}"], "one of the two"),
        ([], "one of the two"),
        (["{video}", "--nearest", "1"], "has no neighbours"),
    ],
)
def test_a_mistake_is_one_line(
    checkpoint: Path, videos: list[Path], tmp_path: Path, arguments: list[str], message: str
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("text")
    places = {"empty": tmp_path / "empty", "text": tmp_path / "text.mp4", "video": videos[0]}
    done = features(checkpoint, *(text.format(**places) for text in arguments), out=tmp_path / "out")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_holds_something_else_is_refused_and_kept(checkpoint: Path, videos: list[Path], tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("dear diary")
    done = features(checkpoint, *videos, out=tmp_path / "out")
    assert done.returncode == 1
    assert "holds something else than features" in done.stderr
    assert tiny.files_below(tmp_path / "out") == ["diary.txt"]


def test_a_log_gets_a_line_now_and_then(
    checkpoint: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("morphmlp.display.progress_bar.LINE_EVERY_S", 0.0)
    told = features(checkpoint, *videos[:2], out=tmp_path / "features").stderr
    assert "2 of 2 videos, " in told
    assert "2 of 2 videos, " not in features(checkpoint, *videos[:2], "--json", out=tmp_path / "others").stderr


def test_a_second_run_in_the_same_folder_is_refused(checkpoint: Path, videos: list[Path], tmp_path: Path):
    with parts.PartsFolder(tmp_path / "out" / "parts", {}).locked():
        done = features(checkpoint, *videos, out=tmp_path / "out")
    assert done.returncode == 1
    assert "another run is at work" in done.stderr


def test_two_processes_share_the_work_and_write_the_same_bytes(checkpoint: Path, data: Path, tmp_path: Path):
    videos = [*find_media(data / "val"), *find_media(data / "train")]
    windows = ["--step", 0.5, "--length", 0.5]
    alone = features(checkpoint, *videos, *windows, out=tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    command = tiny.command("features", checkpoint, *videos, *windows, "--workers", 0, "--out", tmp_path / "shared")
    for process in fresh.run_together(2, command, env=tiny.environment()):
        assert process.returncode == 0, process.stderr
    assert len(rows(tmp_path / "alone")) > 64  # several batches for each
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_unknown_layers_are_refused(checkpoint: Path):
    with pytest.raises(ConfigError, match="allowed: layer head, stage1"):
        FeatureExtractor(checkpoint, layer="stage5")  # type: ignore[arg-type]


def test_a_foreign_json_is_refused(tmp_path: Path):
    (tmp_path / "features.json").write_text("{}")
    with pytest.raises(DataError, match="not of this package's features"):
        run.outputs.finished_info(tmp_path)
