"""Why a request is refused: a status and a message for the client."""

from __future__ import annotations


class RequestError(Exception):
    """The request cannot be answered; `status` is its HTTP status, the message says why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
