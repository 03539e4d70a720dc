"""Neighbours: those of a plain table of all cosines, without a file's own windows, as csv and as a sheet."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from morphmlp.data.sets.find import find_media
from morphmlp.tasks.classification.features import neighbours
from morphmlp.tasks.classification.features.neighbours import Places, find_nearest


def whole_files(count: int) -> Places:
    return Places(np.arange(count), np.zeros(count), np.ones(count))


def naive(vectors: np.ndarray, k: int) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :k]


@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 17), st.integers(0, 1000))
def test_blocks_of_any_size_find_what_the_whole_table_says(count: int, k: int, block: int, seed: int):
    vectors = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    k = min(k, count - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", block)
        found = find_nearest(vectors, whole_files(count), k)
    assert np.array_equal(found.rows, naive(vectors, k))
    assert (np.diff(found.cosines, axis=1) <= 0).all()


def test_windows_of_a_file_that_overlap_are_no_neighbours():
    vectors = np.array([[1, 0], [1, 0], [1, 0.1], [0, 1]], dtype=np.float32)
    places = Places(np.array([0, 0, 0, 1]), np.array([0.0, 1.0, 2.0, 0.0]), np.array([2.0, 3.0, 4.0, 2.0]))
    found = find_nearest(vectors, places, 2)
    assert found.rows.tolist() == [[2, 3], [3, -1], [0, 3], [2, 0]]
    assert found.cosines[1, 1] == -np.inf


def test_a_vector_of_zeros_is_like_no_other():
    found = find_nearest(np.array([[0, 0], [1, 0], [2, 0]], dtype=np.float32), whole_files(3), 2)
    assert found.cosines.tolist() == [[0, 0], [1, 0], [1, 0]]
    assert found.rows.tolist() == [[1, 2], [2, 0], [1, 0]]


def test_a_copy_is_the_nearest_in_the_table_and_the_sheet_is_written(checkpoint: Path, data: Path, tmp_path: Path):
    videos = find_media(data / "val")[:3]
    copy = tmp_path / "copy <b>.mp4"
    shutil.copy(videos[1], copy)
    out = tmp_path / "out"
    done = tiny.run_command("features", checkpoint, *videos, copy, "--nearest", 9, "--workers", 0, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "--nearest 9, but each vector has 3 others" in done.stderr
    with open(out / "nearest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3
    first = next(row for row in rows if row["path"] == str(copy))
    assert (first["nearest_path"], first["rank"], float(first["cosine"])) == (str(videos[1]), "1", pytest.approx(1.0))
    page = (out / "nearest.html").read_text(encoding="utf-8")
    assert page.count("<img") == 4 * 4
    assert "copy &lt;b&gt;.mp4" in page
    assert "<b>" not in page
    with Image.open(out / "nearest.png") as sheet:
        assert sheet.width > 500


def test_the_sheet_shows_at_most_so_many_rows_and_says_so(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(neighbours, "MOST_ROWS", 2)
    out, videos = tmp_path / "out", find_media(data / "val")[:3]
    done = tiny.run_command("features", checkpoint, *videos, "--nearest", 1, "--workers", 0, "--out", out)
    assert "show 2 of 3, evenly spaced" in done.stderr
    assert (out / "nearest.html").read_text(encoding="utf-8").count("<img") == 2 * 2
