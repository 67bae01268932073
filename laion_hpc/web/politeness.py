"""No host is asked by many at once, too often, or while it wants to be left alone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import trio

HOSTS = 50_000
"""Hosts remembered; the ones longest unused are forgotten first."""


STALLS = 4
"""So many time-outs in a row and the host is taken for stalled: a server that drips a byte a
second would otherwise cost a whole deadline for each of its images."""
STALLED_SECONDS = 120.0


class HostRestsError(Exception):
    """The host has asked to be left alone for longer than we would wait."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class _Host:
    slots: trio.Semaphore
    next_start: float = -float("inf")
    rests_until: float = -float("inf")
    rest_status: int = 0
    users: int = 0
    interval: float = 0.0
    stalled: int = 0
    """Requests in a row that came to no answer within their whole deadline."""
    stalled_until: float = -float("inf")


class Hosts:
    """The state of every host that is being asked; times are trio's clock."""

    def __init__(self, *, connections: int, interval: float, patience: float) -> None:
        """`connections` at once to one host, `interval` seconds between the starts of two
        requests; a host that rests longer than `patience` seconds is not waited for.
        """
        self._connections = connections
        self._interval = interval
        self._patience = patience
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    async def enter(self, host: str) -> None:
        """Wait until the host may be asked and take one of its slots. Raises HostRestsError."""
        state = self._state(host)
        state.users += 1
        try:
            await state.slots.acquire()
            try:
                await self._wait(state)
            except BaseException:
                state.slots.release()
                raise
        except BaseException:
            state.users -= 1
            raise

    def leave(self, host: str) -> None:
        """Give the slot back."""
        state = self._hosts[host]
        state.users -= 1
        state.slots.release()

    async def _wait(self, state: _Host) -> None:
        while True:
            now = trio.current_time()
            if state.rests_until - now > self._patience:
                raise HostRestsError(state.rest_status)
            start = max(state.next_start, state.rests_until)
            if start <= now:
                state.next_start = now + max(self._interval, state.interval)
                return
            await trio.sleep_until(start)

    def rest(self, host: str, status: int, seconds: float) -> None:
        """The host answered 429 or 503: leave it alone for so long."""
        state = self._state(host)
        state.rests_until = max(state.rests_until, trio.current_time() + seconds)
        state.rest_status = status

    def slow_down(self, host: str, interval: float) -> None:
        """The host's robots.txt asks for these seconds between the starts of two requests."""
        if interval:
            self._state(host).interval = interval

    def timed_out(self, host: str) -> None:
        """A request to the host used up its whole deadline."""
        state = self._state(host)
        state.stalled += 1
        if state.stalled >= STALLS:
            state.stalled_until = trio.current_time() + STALLED_SECONDS

    def answered(self, host: str) -> None:
        """The host gave an answer of any kind: it is not stalled."""
        self._state(host).stalled = 0

    def is_stalled(self, host: str) -> bool:
        """True if several requests in a row timed out, the last of them lately."""
        state = self._hosts.get(host)
        return state is not None and trio.current_time() < state.stalled_until

    def _state(self, host: str) -> _Host:
        state = self._hosts.get(host)
        if state is None:
            state = self._hosts[host] = _Host(trio.Semaphore(self._connections))
            if len(self._hosts) > HOSTS:
                self._forget()
        self._hosts.move_to_end(host)
        return state

    def _forget(self) -> None:
        now = trio.current_time()
        for name in list(self._hosts)[: HOSTS // 10]:
            state = self._hosts[name]
            ends = max(state.next_start, state.rests_until, state.stalled_until)
            if not state.users and ends < now:
                del self._hosts[name]
