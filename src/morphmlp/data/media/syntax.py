"""What packets say of themselves: where a decoder can start, and what it can leave out without a change to the rest.

The container's mark of a key frame is not enough: H.264 files also mark the recovery points of a periodic intra
refresh, from which the picture builds up over many frames. And in a damaged file a packet can look like a picture and
be none, or be one that a decoder refuses, so that all later frames count otherwise. So a packet is only left out where
its whole header is as the standard says.
"""

from collections.abc import Callable, Iterator
from functools import partial

import av
from av.bitstream import BitStreamFilterContext
from av.codec.codec import Properties
from av.error import FFmpegError

from morphmlp.data.media.packets import packet_of

# The codec of which packets can be left out. Of others, damage within a picture decides whether a decoder refuses it,
# and the headers tell too little of that: of damaged files, half counted otherwise in AV1, 6 of 148 in VP9, 2 of 112 in
# H.265.
_CAN_SKIP = "h264"
_HEADER_FILTER = "h264_metadata"  # reads all headers of a packet, and changes none
_RECOVERY_POINT = 6  # of the messages in H.264, Annex D


class Syntax:
    """Tells what the packets of a stream are, of the codecs that it knows; of others nothing is known.

    Attributes:
        can_skip: whether whole groups of pictures can be left out, as their packets can be told to be whole.
    """

    def __init__(self, stream: av.VideoStream):
        codec = stream.codec_context.codec
        name, extradata = codec.canonical_name, stream.codec_context.extradata or b""
        self._is_start, self._num_shown, self._is_unreferenced = _rules(name, extradata, codec.properties)
        self._headers = BitStreamFilterContext(_HEADER_FILTER, stream) if self._num_shown else None
        self.can_skip = self._headers is not None

    def is_clean_start(self, packet: av.Packet) -> bool:
        """Whether all frames that are shown from this packet's on can be decoded without any packet before it.

        Those that are stored after it and shown before it may need others: an open group of pictures.
        """
        return packet.is_keyframe and self._is_start is not None and self._is_start(bytes(packet))

    def is_whole_picture(self, packet: av.Packet) -> bool:
        """Whether a packet is well-formed and shows exactly one picture, so that it counts as one unseen."""
        data = bytes(packet)
        return self._num_shown is not None and self._num_shown(data) == 1 and self._is_well_formed(data)

    def is_unreferenced(self, packet: av.Packet) -> bool:
        """Whether a packet is a whole, well-formed picture to which no other refers (H.264 only)."""
        data = bytes(packet)
        return self._is_unreferenced is not None and self._is_unreferenced(data) and self._is_well_formed(data)

    def _is_well_formed(self, data: bytes) -> bool:
        if self._headers is None:
            return False
        try:
            self._headers.filter(packet_of(data))
        except FFmpegError:
            return False
        return True


_Rules = tuple[Callable[[bytes], bool] | None, Callable[[bytes], int] | None, Callable[[bytes], bool] | None]


def _rules(name: str, extradata: bytes, properties: int) -> _Rules:
    """By codec: whether a packet is a clean start, how many pictures it shows, and whether no other refers to it."""
    # ISO 14496-15, Sec. 5.3.3.1 and 8.3.3.1: the length of the lengths that part the units of MP4 and Matroska.
    if name == _CAN_SKIP and len(extradata) >= 7 and extradata[0] == 1:
        units = partial(_units, length_bytes=(extradata[4] & 3) + 1)
        return (
            lambda data: _h264_starts(units(data)),
            lambda data: _h264_num_shown(units(data)),
            lambda data: _h264_is_unreferenced(units(data)),
        )
    if name == "hevc" and len(extradata) >= 23 and extradata[0] == 1:
        units = partial(_units, length_bytes=(extradata[21] & 3) + 1)
        return lambda data: _hevc_starts(units(data)), None, None
    if name == "vp9":
        return _vp9_starts, None, None
    if name == "av1":
        return _av1_starts, None, None
    if properties & Properties.INTRA_ONLY.value:
        return lambda data: True, None, None
    return _STARTS_ONLY.get(name), None, None


def _units(data: bytes, *, length_bytes: int) -> list[bytes]:
    """The units of a packet of H.264 or H.265, which their lengths part; none where the lengths do not fit."""
    position, found = 0, []
    while position < len(data):
        start = position + length_bytes
        position = start + int.from_bytes(data[position:start])
        if position > len(data) or start >= position:
            return []
        found.append(data[start:position])
    return found


# H.264: ITU-T H.264, Sec. 7.3.1 and Table 7-1

_SLICE, _IDR_SLICE, _MESSAGES = 1, 5, 6
_BESIDE_SLICES = {6, 9, 12}  # messages, delimiters, filling
_PARAMETERS = {7, 8}


def _h264_starts(units: list[bytes]) -> bool:
    """A picture at which all memory is cleared, or a recovery point at which all is right at once."""
    kinds = {unit[0] & 31 for unit in units}
    if _IDR_SLICE in kinds:
        return _SLICE not in kinds
    return any(_recovers_at_once(unit[1:]) for unit in units if unit[0] & 31 == _MESSAGES)


def _recovers_at_once(messages: bytes) -> bool:
    """Whether there is a recovery point whose number of frames is 0 and whose match is exact (Sec. D.2.8).

    Both are in the first two bits, as a 0 is written as the bit 1.
    """
    messages = messages.replace(b"\0\0\3", b"\0\0")
    position = 0
    while position + 2 < len(messages):
        kind, position = _sum_of_bytes(messages, position)
        size, position = _sum_of_bytes(messages, position)
        if kind == _RECOVERY_POINT and position < len(messages):
            return messages[position] & 0xC0 == 0xC0
        position += size
    return False


def _sum_of_bytes(data: bytes, position: int) -> tuple[int, int]:
    """A number as a sum of bytes, of which all but the last are 255; and where it ends."""
    total = 0
    while position < len(data) and data[position] == 255:
        total, position = total + 255, position + 1
    return total + (data[position] if position < len(data) else 0), position + 1


def _h264_num_shown(units: list[bytes]) -> int:
    """1 where the units are slices, and what may be beside them; the first slice starts at the picture's corner."""
    slices = [unit for unit in units if unit[0] & 31 in (_SLICE, _IDR_SLICE)]
    others = {unit[0] & 31 for unit in units} - {_SLICE, _IDR_SLICE}
    fits = slices and others <= _BESIDE_SLICES | _PARAMETERS and len(slices[0]) > 1 and slices[0][1] & 0x80
    return 1 if fits else 0


def _h264_is_unreferenced(units: list[bytes]) -> bool:
    """Whether the units are slices without references, and what may be beside them."""
    kinds = {unit[0] & 31 for unit in units}
    return _SLICE in kinds and kinds <= {_SLICE, *_BESIDE_SLICES} and not any(unit[0] >> 5 for unit in units)


# H.265: ITU-T H.265, Sec. 7.3.1.2 and Table 7-1


def _hevc_starts(units: list[bytes]) -> bool:
    """All slices are of a picture of random access: IDR, BLA or CRA."""
    kinds = [kind for unit in units if (kind := unit[0] >> 1 & 63) < 32]
    return bool(kinds) and all(16 <= kind <= 21 for kind in kinds)


# VP9: bitstream specification, Sec. 6.2 and Annex B


def _vp9_starts(data: bytes) -> bool:
    frames = _vp9_frames(data)
    return bool(frames) and _vp9_is_key_frame(frames[0])


def _vp9_is_key_frame(frame: bytes) -> bool:
    """Whether it is a key frame, and no earlier frame that is shown again.

    The bits of the first byte: two of a mark, two of the profile, whose third is 0 in profile 3, then the two that say
    so.
    """
    bits = int.from_bytes(frame[:2].ljust(2, b"\0")) << (1 if frame[0] >> 4 & 3 == 3 else 0)
    return not bits & 0x0C00


def _vp9_frames(data: bytes) -> list[bytes]:
    """The frames of a packet: one, or those that an index at its end states."""
    if not data or data[-1] >> 5 != 0b110:
        return [data] if data else []
    count, size_bytes = (data[-1] & 7) + 1, (data[-1] >> 3 & 3) + 1
    index = data[-2 - count * size_bytes :]
    if len(data) < len(index) or index[0] != data[-1]:
        return [data]
    sizes = [int.from_bytes(index[1 + i * size_bytes :][:size_bytes], "little") for i in range(count)]
    starts = [sum(sizes[:number]) for number in range(count)]
    return [data[start : start + size] for start, size in zip(starts, sizes, strict=True) if size]


# AV1: bitstream specification, Sec. 5.3 and 5.9.2

_AV1_FRAME_HEADER, _AV1_FRAME = 3, 6
_AV1_SHOWN = 0x10


def _av1_starts(data: bytes) -> bool:
    headers = list(_av1_headers(data))
    return bool(headers) and headers[0] & 0xF0 == _AV1_SHOWN  # no earlier one, a key frame, which is shown


def _av1_headers(data: bytes) -> Iterator[int]:
    """The first byte of each frame's header: whether it is an earlier one, two bits of its type, whether it is shown.

    A key frame has type 0, so that the first four bits of one that is shown are 0001.
    """
    position = 0
    while position < len(data):
        kind, has_extension, has_size = data[position] >> 3 & 15, data[position] & 4, data[position] & 2
        position += 2 if has_extension else 1
        size, position = _leb128(data, position) if has_size else (len(data) - position, position)
        if kind in (_AV1_FRAME_HEADER, _AV1_FRAME) and position < len(data):
            yield data[position]
        position += size


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, of which the last has no eighth bit; and where it ends."""
    value = 0
    for number, byte in enumerate(data[position : position + 8]):
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, position + number + 1
    return len(data), position


def _mpeg4_starts(data: bytes) -> bool:
    """A picture of type I (ISO 14496-2, Sec. 6.2.5), and no other."""
    pictures = data.split(b"\0\0\1\xb6")[1:]
    return len(pictures) == 1 and pictures[0][:1] < b"\x40"


def _mpeg2_starts(data: bytes) -> bool:
    """A sequence header, which states all matrices, and then a picture of type I (ISO 13818-2, Sec. 6.2.3)."""
    sequence, start, picture = data.partition(b"\0\0\1\0")
    return bool(start) and b"\0\0\1\xb3" in sequence and len(picture) > 1 and picture[1] >> 3 & 7 == 1


_STARTS_ONLY = {
    "vp8": lambda data: not data[0] & 1,
    "mpeg4": _mpeg4_starts,
    "mpeg2video": _mpeg2_starts,
    "mpeg1video": _mpeg2_starts,
}
