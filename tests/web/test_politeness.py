"""The politeness clock, on trio's simulated time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.web import politeness
from laion_hpc.web.politeness import HostRestsError, Hosts


def on_simulated_time(body: Callable[[], Awaitable[None]]) -> None:
    trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0))


@given(
    st.integers(1, 4),
    st.floats(0, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=30),
)
def test_limits_hold_for_any_load(
    connections: int, interval: float, load: list[tuple[str, float]]
) -> None:
    starts: dict[str, list[float]] = {}
    busy: dict[str, int] = {}

    async def main() -> None:
        hosts = Hosts(connections=connections, interval=interval, patience=10)

        async def ask(host: str, seconds: float) -> None:
            await hosts.enter(host)
            starts.setdefault(host, []).append(trio.current_time())
            busy[host] = busy.get(host, 0) + 1
            assert busy[host] <= connections
            await trio.sleep(seconds)
            busy[host] -= 1
            hosts.leave(host)

        async with trio.open_nursery() as nursery:
            for host, seconds in load:
                nursery.start_soon(ask, host, seconds)

    on_simulated_time(main)
    assert sum(map(len, starts.values())) == len(load)
    for times in starts.values():
        assert all(b - a >= interval - 1e-6 for a, b in itertools.pairwise(times))


def test_a_resting_host_is_waited_for_or_given_up() -> None:
    async def main() -> None:
        hosts = Hosts(connections=1, interval=0, patience=10)
        hosts.rest("short", 429, 5)
        begun = trio.current_time()
        await hosts.enter("short")
        assert trio.current_time() - begun == pytest.approx(5)
        hosts.rest("long", 503, 60)
        with pytest.raises(HostRestsError) as rests:
            await hosts.enter("long")
        assert rests.value.status == 503
        # Giving up takes no slot; later, when it has rested, all is well.
        await trio.sleep(55)
        await hosts.enter("long")
        # Others are not concerned.
        await hosts.enter("other")

    on_simulated_time(main)


def test_a_cancelled_wait_holds_no_slot() -> None:
    async def main() -> None:
        hosts = Hosts(connections=1, interval=0, patience=10)
        await hosts.enter("a")
        with trio.move_on_after(1):
            await hosts.enter("a")
        hosts.leave("a")
        with trio.fail_after(1):
            await hosts.enter("a")

    on_simulated_time(main)


def test_idle_hosts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "HOSTS", 10)

    async def main() -> None:
        hosts = Hosts(connections=1, interval=0, patience=10)
        await hosts.enter("busy")
        for number in range(100):
            await hosts.enter(str(number))
            hosts.leave(str(number))
        with trio.move_on_after(1) as scope:
            await hosts.enter("busy")
        assert scope.cancelled_caught

    on_simulated_time(main)


def test_a_host_may_ask_for_a_longer_interval() -> None:
    async def main() -> None:
        hosts = Hosts(connections=3, interval=1, patience=10)
        hosts.slow_down("slow", 7)
        hosts.slow_down("fast", 0.1)
        for host, interval in (("slow", 7), ("fast", 1), ("other", 1)):
            begun = trio.current_time()
            for _ in range(4):
                await hosts.enter(host)
                hosts.leave(host)
            assert trio.current_time() - begun == pytest.approx(3 * interval)

    on_simulated_time(main)


@given(st.lists(st.booleans(), max_size=20))
def test_a_host_is_stalled_after_time_outs_in_a_row_and_for_a_while(answers: list[bool]) -> None:
    async def main() -> None:
        hosts = Hosts(connections=1, interval=0, patience=10)
        in_a_row = 0
        for answered in answers:
            (hosts.answered if answered else hosts.timed_out)("host")
            in_a_row = 0 if answered else in_a_row + 1
            assert hosts.is_stalled("host") == (in_a_row >= politeness.STALLS)
            assert not hosts.is_stalled("other")
            if hosts.is_stalled("host"):
                # Asked again later: one more time-out is enough then.
                await trio.sleep(politeness.STALLED_SECONDS + 1)
                assert not hosts.is_stalled("host")

    on_simulated_time(main)
