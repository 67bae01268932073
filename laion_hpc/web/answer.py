"""The result of a request."""

from __future__ import annotations

from dataclasses import dataclass

from laion_hpc.web import retry


@dataclass(frozen=True)
class Answer:
    """The result of a request; `reason` is empty if `body` is a whole answer with status 200."""

    reason: str = ""
    """Else why there is none: dns, refused, unreachable, tls, timeout, reset, protocol,
    http_NNN, too_many_redirects, bad_redirect, forbidden_address, opted_out, robots_txt,
    too_large, truncated, bad_encoding or bad_url."""
    status: int = 0
    """The last HTTP status; 0 without an answer."""
    url: str = ""
    """Where the answer came from, after redirects; empty without one."""
    content_type: str = ""
    body: bytes | bytearray = b""
    received: int = 0
    """Bytes of body that count as read; the limit if there were more."""
    opt_out: str = ""
    """The word of the site's opt-out if `reason` is opted_out."""
    attempts: int = 0
    retry_after: float | None = None
    """Seconds that the server asked us to wait."""
    temporary: bool = False
    """True if the same request may well succeed in a moment."""

    @property
    def may_heal(self) -> bool:
        """True if another attempt is worth it."""
        if self.reason.startswith("http_"):
            return retry.heals(self.status)
        return self.temporary or self.reason == "truncated"
