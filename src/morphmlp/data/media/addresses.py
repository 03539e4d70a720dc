"""Where a stream comes from: an address of the network, a camera, or standard input; and how FFmpeg opens it."""

import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import av
import av.device
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError

from morphmlp.data.media.opening import read_formats, reading_options
from morphmlp.data.media.remote import web_address
from morphmlp.errors import MediaError

STANDARD_INPUT = "-"
STREAMABLE = "send MPEG-TS or Matroska, or an MP4 written with `-movflags +faststart`"
_CAMERA = re.compile(r"camera:(.*)")
# What a stream may open besides: parts of a playlist come over HTTP, the pictures of RTSP over UDP or TCP.
_HTTP = "http,https,httpproxy,tcp,tls,crypto"
_RTSP = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http"
# Of the stream's time that is looked at before the first frame. FFmpeg's own 5 s would be 5 s of lag at the start.
_LOOKED_AT = {"analyzeduration": "1000000"}
_PROTOCOLS = {
    "http": _HTTP,
    "https": _HTTP,
    "rtsp": _RTSP,
    "rtsps": _RTSP,
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "udp": "udp",
    "tcp": "tcp",
    "srt": "srt,udp",
}
_WITH_PORT = ("udp", "tcp", "srt")  # which may wait at a port of this machine, and need no host
_STREAMED_FORMATS = "rtsp,rtp,sdp,hls"  # containers that `read_formats` leaves out, as their texts name other files
# FFmpeg's name of the cameras of a platform.
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


def is_stream(text: str) -> bool:
    """Whether a text names no file: an address, a camera or standard input.

    >>> is_stream("rtsp://host/1"), is_stream("camera:0"), is_stream("-"), is_stream("a.mp4")
    (True, True, True, False)
    """
    if text == STANDARD_INPUT or _address(text) is not None or (_is_bare_scheme(text) and not os.path.exists(text)):
        return True
    return (_CAMERA.fullmatch(text) is not None or _is_video_device(text)) and not os.path.isfile(text)


def _is_bare_scheme(text: str) -> bool:
    """Whether an address ends where its host would begin: `http://`."""
    return text.rstrip("/").removesuffix(":").lower() in _PROTOCOLS and ":" in text


def _is_video_device(text: str) -> bool:
    return re.fullmatch(r"/dev/video\d+", text) is not None


def shown_address(text: str) -> str:
    """A source as it is named in messages and results: without the password of its user.

    >>> shown_address("rtsp://admin:secret@10.0.0.5/1")
    'rtsp://admin:***@10.0.0.5/1'
    """
    return re.sub(r"^([A-Za-z][\w+.-]*://[^/@:]*):[^/]*@", r"\1:***@", _address(text) or text)


def is_always_live(text: str) -> bool:
    """Whether a source cannot wait for its reader. HTTP can be a file as well; standard input waits."""
    scheme = _scheme(text)
    return scheme not in ("http", "https") if scheme else text != STANDARD_INPUT


def _address(text: str) -> str | None:
    """The address of the network that a text is; `camera:/dev/video0` is none."""
    return None if _CAMERA.fullmatch(text) else web_address(text)


def _scheme(text: str) -> str:
    address = _address(text)
    return address.partition("://")[0].lower() if address else ""


@contextmanager
def opened_address(text: str, *, timeout_s: float, options: dict[str, str] | None = None) -> Iterator[InputContainer]:
    """Opens an address, a camera or standard input.

    Args:
        timeout_s: the longest that opening, and each reading, waits for.
        options: of FFmpeg.

    Raises:
        MediaError: it cannot be reached or opened.
    """
    name = shown_address(text)
    url, format_name, chosen = _how(text)
    chosen = {**reading_options(), **chosen, **(options or {})}
    try:
        container = av.open(
            url, format=format_name, metadata_errors="ignore", options=chosen, timeout=(timeout_s, timeout_s)
        )
    except ExitError:
        raise MediaError(name, f"does not answer within {timeout_s:g} s; is the address right?") from None
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(name, _why_not_opened(text, error)) from None
    with container:
        yield container


def _how(text: str) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg opens, as which format, and with which options."""
    formats = {"format_whitelist": f"{read_formats()},{_STREAMED_FORMATS}"}
    if text == STANDARD_INPUT:
        if os.isatty(0):
            raise MediaError("-", "standard input is a terminal; send a stream into it: `cat x.ts | morphmlp ...`")
        return "pipe:0", None, {**formats, "protocol_whitelist": "pipe"}
    if _is_bare_scheme(text):
        raise MediaError(text, _no_host(text.partition(":")[0].lower()))
    if not (scheme := _scheme(text)):
        return _camera(text)
    if scheme == "file":
        raise MediaError(shown_address(text), "is the address of a file; give its path, without file:")
    if scheme not in _PROTOCOLS:
        raise MediaError(shown_address(text), f"{scheme} cannot be read; give one of {', '.join(_PROTOCOLS)}")
    if reason := _why_nowhere(scheme, _address(text) or text):
        raise MediaError(shown_address(text), reason)
    options = {**formats, **_LOOKED_AT, "protocol_whitelist": _PROTOCOLS[scheme]}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # over UDP, lost packets make grey pictures
    return _address(text) or text, None, options


def _why_nowhere(scheme: str, address: str) -> str | None:
    """What an address lacks; None where it names a host, or a port of this machine."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "its host or port cannot be understood; a port is a number up to 65535"
    if scheme in _WITH_PORT:
        return None if port is not None else f"names no port; give one, such as {scheme}://host:5000"
    return None if host else _no_host(scheme)


def _no_host(scheme: str) -> str:
    return f"names no host; give one, such as {scheme}://{'host:5000' if scheme in _WITH_PORT else 'host/1'}"


def _camera(text: str) -> tuple[str, str, dict[str, str]]:
    """A camera by number or name.

    Raises:
        MediaError: there is none of that number, or it may not be opened.
    """
    found = _CAMERA.fullmatch(text)
    which = found[1].strip() if found else text
    if not which or (sys.platform == "linux" and not which.isdecimal() and not which.startswith("/dev/")):
        raise MediaError(text, f"names no camera; give its number, such as camera:0{_cameras_here()}")
    if sys.platform == "linux":
        return _linux_camera(text, which), _CAMERA_FORMATS["linux"], {}
    if sys.platform not in _CAMERA_FORMATS:
        raise MediaError(text, f"cameras are not known on {sys.platform}; give an address or a file")
    format_name = _CAMERA_FORMATS[sys.platform]
    if format_name == "dshow":
        return f"video={_windows_camera(text, which)}", format_name, {}
    return f"{which}:none", format_name, {"framerate": "30"}


def _linux_camera(text: str, which: str) -> str:
    device = f"/dev/video{which}" if which.isdecimal() else which
    if not os.path.exists(device):
        raise MediaError(text, f"there is no such camera ({device}){_cameras_here()}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise MediaError(text, f"no permission for {device}; add yourself to its group: `sudo usermod -aG video $USER`")
    return device


def _cameras_here() -> str:
    """The end of a message: the cameras of Linux, by their devices; other systems are not asked."""
    if sys.platform != "linux":
        return ""
    there = sorted(f"camera:{name[5:]}" for name in os.listdir("/dev") if _is_video_device(f"/dev/{name}"))
    return f"; cameras here: {', '.join(there) or 'none'}"


def _windows_camera(text: str, which: str) -> str:
    """The name of a camera, by which DirectShow opens it."""
    if not which.isdecimal():
        return which
    names = [device.description or device.name for device in av.device.enumerate_input_devices("dshow")]
    if int(which) >= len(names):
        raise MediaError(text, f"there is no such camera; cameras here: {', '.join(names) or 'none'}")
    return names[int(which)]


def _why_not_opened(text: str, error: Exception) -> str:
    cause = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError) and not _scheme(text):
        return f"no permission for the camera ({cause}); allow it in the settings of the system"
    if text == STANDARD_INPUT:
        return f"cannot be opened as a video ({cause}); {STREAMABLE}"
    if isinstance(error, OSError) and error.errno == errno.EIO and (reason := _why_unknown(text)):
        return reason
    is_unclear = isinstance(error, InvalidDataError) or getattr(error, "errno", None) == errno.EIO
    advice = "; open it in a browser to see what it sends" if is_unclear and _scheme(text) in ("http", "https") else ""
    return f"cannot be opened as a video ({cause}){advice}"


def _why_unknown(text: str) -> str | None:
    """For FFmpeg, a host that nobody knows is an error of input and output like any other."""
    host = urlsplit(_address(text) or "").hostname
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return f"its host {host} is not known ({error.strerror}); is the address right?"
    return None
