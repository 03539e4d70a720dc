"""Names and figures as text for people."""

from pathlib import Path

import pytest

from morphmlp.formatting import csv_path, csv_text, encodable, from_csv_text, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer 五.mp4", "größer 五.mp4"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("back\rover", r"back\rover"),
        ("\x9b2J", r"\x9b2J"),
        ("txt\u202egpj.exe", r"txt\u202egpj.exe"),
        ("caf\udce9.mp4", "caf?.mp4"),
    ],
)
def test_nothing_in_a_name_steers_the_terminal(text: str, shown: str):
    assert encodable(text) == shown


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "\t=x", "\r=x", "'=x", "''-x", "x=1", "'x", "", "größer"])
def test_a_name_in_a_csv_is_no_formula_and_is_read_back(name: str):
    cell = csv_text(name)
    assert cell[:1] not in tuple("=+-@\t\r")
    assert from_csv_text(cell) == name
    assert csv_path(name)[:1] not in tuple("=+-@\t\r")
    assert Path(csv_path(name)) == Path(name)


def test_a_message_is_one_line():
    assert one_line(ValueError("a\nb\x1bc")) == r"a b\x1bc"
