"""A server on the loopback address whose connections do what a test says: send, wait, break off."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

import loopback

Script = Callable[[Callable[[bytes], object]], object]  # is given what sends bytes


def sends(*parts: bytes) -> Script:
    """Sends these, and closes the connection."""
    return lambda send: [send(part) for part in parts]


def sends_chunks(*parts: bytes) -> Script:
    """Sends these as chunks (RFC 9112, Sec. 7.1), with the mark of their end; for `served(..., chunked=True)`."""
    return lambda send: [send(b"%x\r\n%b\r\n" % (len(part), part)) for part in (*parts, b"")]


@contextmanager
def served(*scripts: Script, chunked: bool = False) -> Iterator[str]:
    """Yields the address of a stream without a length; connection i follows script i, and there are no more."""
    left = list(scripts)

    class Handler(loopback.Handler):
        protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"

        def do_GET(self) -> None:
            if not left:
                self.send_error(404)
                return
            script = left.pop(0)
            self.answer(200, {"Content-Type": "video/mp2t"} | ({"Transfer-Encoding": "chunked"} if chunked else {}))
            with loopback.READER_MAY_GO:
                script(self.wfile.write)

    with loopback.http(Handler) as address:
        yield f"{address}/stream"


@contextmanager
def served_by_rtsp(content: bytes) -> Iterator[str]:
    """Yields the address of an RTSP server (RFC 2326) that sends MPEG-TS once, as RTP within its own connection."""
    answers = {
        "OPTIONS": "Public: DESCRIBE, SETUP, PLAY",
        "DESCRIBE": "Content-Type: application/sdp",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1",
        "PLAY": "Session: 1",
    }
    description = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            method = ""
            while method != "PLAY":
                lines = [line.strip().decode() for line in iter(self.rfile.readline, b"\r\n") if line]
                method = lines[0].split()[0]
                number = next(line for line in lines if line.lower().startswith("cseq"))
                body = description if method == "DESCRIBE" else ""
                head = f"RTSP/1.0 200 OK\r\n{number}\r\n{answers[method]}\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write((head + body).encode())
            size = 7 * 188  # bytes of TS in a packet (RFC 2250, Sec. 2)
            for sequence, start in enumerate(range(0, len(content), size)):
                packet = struct.pack(">BBHII", 0x80, 33, sequence, sequence, 1) + content[start : start + size]
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)

    with loopback.running(ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"rtsp://127.0.0.1:{port}/live"
