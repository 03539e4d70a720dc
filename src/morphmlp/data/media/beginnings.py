"""Tells whether a new connection to an address sends a recording from its beginning again.

The end of a stream without a length and a lost connection look alike. What comes next does not: a live stream goes on
elsewhere, a recording begins with the same packets.
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import av

_NUM_PACKETS = 16  # that are compared: half a second of a camera


class _Packet(NamedTuple):
    pts: int | None
    dts: int | None
    checksum: int


class Beginning:
    """The first packets of a connection, by their times and checksums."""

    def __init__(self):
        self._packets: list[_Packet] = []

    def add(self, packet: av.Packet) -> None:
        """Takes the next packet; those without content, and those after the first ones, are not looked at."""
        if packet.size and len(self._packets) < _NUM_PACKETS:
            self._packets.append(_known(packet))

    def compare(self, packets: Iterator[av.Packet]) -> tuple[list[av.Packet], bool]:
        """Takes packets of another connection up to the first that differs; returns them, and whether none does.

        Where all have one content, as of a camera that shows a still picture, they do not tell.
        """
        taken: list[av.Packet] = []
        for known in self._packets:
            if (packet := next(packets, None)) is None:
                return taken, False
            taken.append(packet)
            if not packet.size or _known(packet) != known:
                return taken, False
        return taken, len({packet.checksum for packet in self._packets}) > 1


def _known(packet: av.Packet) -> _Packet:
    return _Packet(packet.pts, packet.dts, zlib.crc32(bytes(packet)))
