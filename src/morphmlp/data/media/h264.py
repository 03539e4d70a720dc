"""Which packets of an H.264 file a decoder may leave out without a change to any other frame.

By the standard these are the pictures that no other refers to. In a damaged file a packet can look like one and not be
one, or be a picture that a decoder refuses, so that all later frames count otherwise. So a packet is only left out
where its whole header is as the standard says; all others are decoded, which brings their damage to light.
"""

import av
from av.bitstream import BitStreamFilterContext
from av.error import FFmpegError

_SLICE = 1  # of a picture that is no starting point
_BESIDE_SLICES = {6, 9, 12}  # messages, delimiters, filling


class Unreferenced:
    """Tells the packets of a stream that are pictures to which no other refers.

    Raises:
        ValueError: the stream does not have the packets of MP4 and Matroska, in which lengths part the units.
    """

    def __init__(self, stream: av.VideoStream):
        extradata = stream.codec_context.extradata or b""
        if len(extradata) < 7 or extradata[0] != 1:
            raise ValueError("the units are not parted by their lengths")
        self._length_bytes = (extradata[4] & 3) + 1  # ISO 14496-15, Sec. 5.3.3.1
        self._syntax = BitStreamFilterContext("h264_metadata", stream)  # reads all headers, and changes none

    def holds(self, packet: av.Packet) -> bool:
        """Whether a packet is a whole, well-formed picture that no other refers to."""
        data = bytes(packet)
        return self._are_unreferenced_slices(data) and self._are_well_formed(data)

    def _are_unreferenced_slices(self, data: bytes) -> bool:
        """Whether the lengths fit, and the units are slices without references, and what may lie beside them."""
        position, num_slices = 0, 0
        while position < len(data):
            start = position + self._length_bytes
            position = start + int.from_bytes(data[start - self._length_bytes : start])
            if position > len(data) or start >= position:
                return False
            reference, kind = data[start] >> 5, data[start] & 31
            if reference or kind not in (_SLICE, *_BESIDE_SLICES):
                return False
            num_slices += kind == _SLICE
        return num_slices > 0

    def _are_well_formed(self, data: bytes) -> bool:
        try:
            self._syntax.filter(av.Packet(data))
        except FFmpegError:
            return False
        return True
