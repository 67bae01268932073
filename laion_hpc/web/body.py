"""Reading a body within limits: declared length, real length, and length after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Protocol

import brotli

LARGE_BODY = 1_000_000
"""Bytes from which a body needs a permit: 256 of them at once must fit in memory."""

_ENCODED = frozenset(["gzip", "x-gzip", "deflate", "br"])
# We ask for `identity`; a server that sends these anyway has made it unreadable to us. Other
# names (`none`, `utf-8`, `binary` …) are mistakes, which browsers read as no encoding.
_UNREADABLE = frozenset(["zstd", "compress", "x-compress", "exi", "dcb", "dcz"])


class _Decoder(Protocol):
    """Undoes a Content-Encoding, never much further than asked: a bomb stays small."""

    def decode(self, chunk: bytes, most: int) -> bytes:
        """What the chunk comes to; beyond `most` bytes the rest may be missing.

        Raises ValueError if it is not in this encoding.
        """

    @property
    def whole(self) -> bool:
        """False if the end is missing, as far as that can be told."""


class _Deflated:
    def __init__(self, window: int) -> None:
        self._window = window
        self._inflater = zlib.decompressobj(window)
        self._started = False

    def decode(self, chunk: bytes, most: int) -> bytes:
        if not self._started and chunk:
            self._started = True
            # "deflate" is a zlib stream by RFC 9110, but many servers send it bare.
            if self._window == 15 and (chunk[0] & 0x0F) != 8:
                self._window = -15
                self._inflater = zlib.decompressobj(-15)
        try:
            return self._inflater.decompress(chunk, most)
        except zlib.error as error:
            raise ValueError(error) from None

    @property
    def whole(self) -> bool:
        return self._inflater.eof or not self._started or self._window < 0


class _Brotli:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        self.whole = False

    def decode(self, chunk: bytes, most: int) -> bytes:
        if self.whole:
            return b""
        try:
            data = bytes(self._decompressor.process(chunk, output_buffer_limit=most))
            self.whole = self._decompressor.is_finished()
            return data
        except brotli.error as error:
            raise ValueError(error) from None


class Body:
    """Takes a body chunk by chunk and stops it as soon as a limit is passed."""

    def __init__(self, headers: Mapping[str, str], max_bytes: int, *, cut: bool = False) -> None:
        """`headers` with lower-case names. With `cut` a long body is not refused but cut off."""
        self.data = bytearray()
        self._max_bytes = max_bytes
        self._cut = cut
        self._reason = ""
        self._decoder, self.refused = _decoder_of(headers.get("content-encoding", ""))
        length = headers.get("content-length", "").strip()
        self._declared = int(length[:18]) if length.isascii() and length.isdigit() else 0
        if not self.refused and self._declared > max_bytes and not cut:
            self.refused = "too_large"

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
        if self._decoder is not None:
            try:
                chunk = self._decoder.decode(chunk, room + 1)
            except ValueError:
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

    def finish(self) -> str:
        """The reason why this is not a whole body, or ""."""
        unread = self._decoder is not None and not self._decoder.whole
        if unread and not self._reason and not self._cut:
            self._reason = "bad_encoding"
        return self._reason


def _decoder_of(encoding: str) -> tuple[_Decoder | None, str]:
    names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
    if any(name in _UNREADABLE for name in names):
        return None, "bad_encoding"
    known = [name for name in names if name in _ENCODED]
    if len(known) > 1:
        # Two layers are how a bomb is built; no server needs them.
        return None, "bad_encoding"
    if not known:
        return None, ""
    if known[0] == "br":
        return _Brotli(), ""
    return _Deflated(15 if known[0] == "deflate" else 31), ""
