"""Samples that cannot be read: each is named once, and too many stop the run."""

from pathlib import Path

import pytest

from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.errors import DataError
from morphmlp.training.broken import BrokenSamples


def samples(*names: str) -> list[BrokenSample]:
    return [BrokenSample(index, Path(name), "empty") for index, name in enumerate(names)]


def test_a_sample_is_new_once():
    broken = BrokenSamples(100, unit="videos", max_share=0.1)
    assert broken.add(samples("a", "b", "a")) == samples("a", "b")
    assert [sample.path.name for sample in broken.add(samples("b", "c"))] == ["c"]
    assert broken.paths == {"a", "b", "c"}


@pytest.mark.parametrize(("total", "most"), [(2, 1), (20, 3), (100, 10)])
def test_a_few_or_the_allowed_share_may_be_broken_but_never_all(total: int, most: int):
    broken = BrokenSamples(total, unit="videos", max_share=0.1)
    broken.add(samples(*map(str, range(most))))
    broken.require_few()
    broken.add(samples("x"))
    with pytest.raises(DataError, match=rf"{most + 1} of {total} training videos cannot be read, among them 0: more"):
        broken.require_few()
