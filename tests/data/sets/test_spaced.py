"""Some of many."""

from morphmlp.data.sets.spaced import evenly_spaced


def test_at_most_so_many_are_taken_from_everywhere():
    assert evenly_spaced(range(10), 4) == [0, 2, 5, 7]
    assert evenly_spaced(range(3), 4) == [0, 1, 2]
    assert evenly_spaced([], 4) == []
