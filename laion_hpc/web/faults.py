"""Why a request failed, in one word of the drop reasons' vocabulary."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 (the web's error, not the program's)
    """A request came to nothing; `reason` is a word such as dns, refused, tls, reset."""

    def __init__(self, reason: str, *, temporary: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.temporary = temporary
        """True if the same request may well succeed in a moment."""
