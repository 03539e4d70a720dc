"""Rows that are kept while a long work goes on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.tasks.journal import Entry, Journal, dumped, loaded
from morphmlp.tasks.shared_work import cut_in_batches, share_of


def entry(name: str) -> Entry:
    return Entry(name, (3, 4), {"path": name})


def test_each_process_writes_its_own_file_and_reads_those_of_all(tmp_path: Path):
    journal, other = Journal(tmp_path), Journal(tmp_path)
    assert not list(journal.news())
    writers = [journal.writer(0), other.writer(1)]
    writers[1].add([entry("c"), entry("d")])
    assert [found.name for _, found in journal.news()] == ["c", "d"]
    writers[0].add([entry("a")])
    writers[1].add([entry("e")])
    news = list(journal.news())
    assert [found for _, found in news] == [entry("a"), entry("e")]
    assert not list(journal.news())
    assert [journal.entry(place) for place, _ in other.news()] == [entry(name) for name in "acde"]
    for writer in writers:
        writer.close()


def test_half_a_line_is_not_read_until_it_is_whole(tmp_path: Path):
    journal, line = Journal(tmp_path), dumped([entry("a")]) + b"\n"
    for number, part in enumerate((line[:5], line[5:])):
        with open(tmp_path / "rows-0.jsonl", "ab") as file:
            file.write(part)
        assert [found for _, found in journal.news()] == [entry("a")] * number


def test_names_that_are_no_text_and_files_that_are_gone_survive():
    entries = [Entry("odd \udcff", None, {"path": "odd \udcff", "error": "gone"}), Entry("a", (2**40, 2**62), {})]
    assert loaded(dumped(entries)) == entries


@given(num_samples=st.integers(0, 50), size=st.integers(1, 8), processes=st.integers(1, 4), data=st.data())
def test_shares_hold_each_sample_that_is_not_done_once(
    num_samples: int, size: int, processes: int, data: st.DataObject
):
    done = data.draw(st.sets(st.integers(0, max(num_samples - 1, 0))))
    batches, found = cut_in_batches(num_samples, size), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", str(processes))
        for rank in range(processes):
            patch.setenv("RANK", str(rank))
            found += share_of(batches, done=done)
    assert sorted(sample for batch in found for sample in batch) == sorted(set(range(num_samples)) - done)
    assert all(any(set(batch) <= set(whole) for whole in batches) for batch in found)
