"""Messages of errors."""

import pytest

from morphmlp.errors import DataError


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https:/me:p@ss@host/a@b.csv?token=1: is empty", "https://host/a@b.csv: is empty"),
        ("no list at s3://key:secret@bucket/x.csv#part, or in b?", "no list at s3://bucket/x.csv, or in b?"),
        ("rtsp://me:secret@camera/1 does not answer; is it on?", "rtsp://camera/1 does not answer; is it on?"),
        ("https://host/a.mp4; is the address right?", "https://host/a.mp4; is the address right?"),
        ("hf://me/model@v1 and hf://model@v1: why?", "hf://me/model@v1 and hf://model@v1: why?"),
        ("ends with 'https://host/a?b=c'", "ends with 'https://host/a'"),
    ],
)
def test_addresses_in_a_message_have_two_slashes_and_no_secrets(written: str, shown: str):
    assert str(DataError(written)) == shown
