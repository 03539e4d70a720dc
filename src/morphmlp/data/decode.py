"""The public place of decoding; it lives in `media/video.py`."""

from morphmlp.data.media.video import read_frames

__all__ = ["read_frames"]
