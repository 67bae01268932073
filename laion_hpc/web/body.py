"""Reading a body within limits: declared length, real length, and length after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

LARGE_BODY = 1_000_000
"""Bytes from which a body needs a permit: 256 of them at once must fit in memory."""

_DEFLATED = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# We ask for `identity`; a server that sends these anyway has made it unreadable to us. Other
# names (`none`, `utf-8`, `binary` …) are mistakes, which browsers read as no encoding.
_UNREADABLE = frozenset(["br", "zstd", "compress", "x-compress", "exi", "dcb", "dcz"])


class Body:
    """Takes a body chunk by chunk and stops it as soon as a limit is passed."""

    def __init__(self, headers: Mapping[str, str], max_bytes: int, *, cut: bool = False) -> None:
        """`headers` with lower-case names. With `cut` a long body is not refused but cut off."""
        self.data = bytearray()
        self._max_bytes = max_bytes
        self._cut = cut
        self._reason = ""
        self._inflater, self.refused = _decoder(headers.get("content-encoding", ""))
        length = headers.get("content-length", "").strip()
        self._declared = int(length[:18]) if length.isascii() and length.isdigit() else 0
        if not self.refused and self._declared > max_bytes and not cut:
            self.refused = "too_large"
        self._started = False

    @property
    def is_large(self) -> bool:
        """True once it is clear that the body needs more memory than most."""
        return max(min(self._declared, self._max_bytes), len(self.data)) > LARGE_BODY

    @property
    def counted(self) -> int:
        """Bytes read, never more than the limit (how far beyond it we got tells nothing)."""
        return min(len(self.data), self._max_bytes)

    def feed(self, chunk: bytes) -> bool:
        """Take a chunk; False if nothing more is wanted."""
        if self._reason:
            return False
        room = self._max_bytes - len(self.data)
        if self._inflater is not None:
            try:
                chunk = self._inflate(chunk, room + 1)
            except zlib.error:
                self._reason = "bad_encoding"
                return False
        self.data += chunk[: room + 1]
        if len(self.data) > self._max_bytes:
            if self._cut:
                del self.data[self._max_bytes :]
            else:
                self._reason = "too_large"
            return False
        return True

    def _inflate(self, chunk: bytes, most: int) -> bytes:
        assert self._inflater is not None
        if not self._started:
            self._started = True
            # "deflate" is a zlib stream by RFC 9110, but many servers send it bare.
            if self._inflater[0] == 15 and chunk[:1] and (chunk[0] & 0x0F) != 8:
                self._inflater = (-15, zlib.decompressobj(-15))
        return self._inflater[1].decompress(chunk, most)

    def finish(self) -> str:
        """The reason why this is no whole body, or ""."""
        if not self._reason and self._inflater is not None and not self._cut:
            window, inflater = self._inflater
            if self._started and not inflater.eof and window > 0:
                self._reason = "bad_encoding"
        return self._reason


def _decoder(encoding: str) -> tuple[tuple[int, zlib._Decompress] | None, str]:
    names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
    if any(name in _UNREADABLE for name in names):
        return None, "bad_encoding"
    known = [name for name in names if name in _DEFLATED]
    if len(known) > 1:
        # Two layers are how a bomb is built; no server needs them.
        return None, "bad_encoding"
    if known:
        window = _DEFLATED[known[0]]
        return (window, zlib.decompressobj(window)), ""
    return None, ""
