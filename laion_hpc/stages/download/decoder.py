"""A decoder process: takes bodies on its standard input, a socket, and answers with pictures.

`decoders` starts it as `python -m laion_hpc.stages.download.decoder RULES`; it ends when the
socket does.
A request is two lengths (4 bytes each, big-endian), a body and the boxes to blur as JSON. An
answer is two lengths, a JSON object (the fields of `Picture`) and the image. Before the first
request it says READY.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import sys
from dataclasses import asdict

from laion_hpc.runtime.work import die_with

READY = b"\x01"
REQUEST = struct.Struct(">II")
ANSWER = struct.Struct(">II")

BYTES_PER_PIXEL = 16
"""Memory that decoding may take: RGBA as decoded (4), as RGB (3), once more while it is turned
or scaled (4), and the decoder's own planes (AVIF: 3 of 16 bits)."""
SPARE_BYTES = 192 << 20


def serve(connection: socket.socket, rules_json: str) -> None:
    """Answer until the other side closes the connection."""
    from laion_hpc.stages.download.image import Rules, blocklist, make_picture

    fields = json.loads(rules_json)
    rules = Rules(**{**fields, "formats": tuple(fields["formats"])})
    _warm_up(rules.formats)
    blocked = blocklist(rules)
    _limit_memory(rules.max_pixels)
    connection.sendall(READY)
    while True:
        head = _receive(connection, REQUEST.size)
        if not head:
            return
        length, boxes_length = REQUEST.unpack(head)
        body = _receive(connection, length)
        boxes = json.loads(_receive(connection, boxes_length)) if boxes_length else []
        picture = make_picture(body, rules, boxes=boxes, blocked=blocked)
        image, picture.image = picture.image, b""
        meta = asdict(picture)
        del meta["image"]
        encoded = json.dumps(meta).encode()
        # In one piece: each wakes the other side up.
        connection.sendall(b"".join((ANSWER.pack(len(encoded), len(image)), encoded, image)))


def _receive(connection: socket.socket, length: int) -> bytes:
    """Exactly `length` bytes; b"" if the other side has gone."""
    parts, left = [], length
    while left:
        # In one piece: a body must not be in memory twice.
        part = connection.recv(left, socket.MSG_WAITALL)
        if not part:
            return b""
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _warm_up(formats: tuple[str, ...]) -> None:
    """Load the formats' plugins before memory is limited and time counts."""
    from PIL import Image

    Image.init()
    unknown = [name for name in formats if name not in Image.OPEN]
    if unknown:
        # Said by the parent before any process starts; here only if the two Pillows differ.
        raise SystemExit(f"Pillow cannot read {', '.join(unknown)}")


def _limit_memory(max_pixels: int) -> None:
    with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123
        now = int(stream.read().split()[0]) * resource.getpagesize()
    limit = now + SPARE_BYTES + BYTES_PER_PIXEL * max_pixels
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Serve on standard input; Ctrl-C is for the parent, which closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(os.getppid())
    with socket.socket(fileno=0) as connection, contextlib.suppress(ConnectionError):
        serve(connection, sys.argv[1])


if __name__ == "__main__":
    main()
