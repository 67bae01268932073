"""The order of samples: the input's, but for hosts that are busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.download.schedule import Schedule


@given(
    st.lists(st.sampled_from("abcd"), max_size=60),
    st.integers(1, 3),
    st.integers(1, 10),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_all_come_once_and_no_host_is_overrun(
    hosts: list[str], per_host: int, together: int, aside: int, random: object
) -> None:
    schedule = Schedule(
        iter(list(zip(hosts, range(len(hosts)), strict=True))), per_host=per_host, most_aside=aside
    )
    running: list[tuple[Hashable, int]] = []
    order: list[int] = []
    while True:
        taken = schedule.take() if len(running) < together else None
        if taken is not None:
            running.append(taken)
            order.append(taken[1])
            assert hosts[taken[1]] == taken[0]
            assert max(Counter(host for host, _ in running).values()) <= per_host
        elif running:
            host, _ = running.pop(random.randrange(len(running)))  # type: ignore[attr-defined]
            schedule.done(host)
        else:
            assert schedule.exhausted
            break
    assert sorted(order) == list(range(len(hosts)))
    for name in set(hosts):
        of_host = [row for row in order if hosts[row] == name]
        assert of_host == sorted(of_host)


def test_a_slow_host_steps_aside() -> None:
    items = [("slow", 0), ("slow", 1), ("slow", 2), ("fast", 3), ("fast", 4)]
    schedule = Schedule(iter(items), per_host=1, most_aside=10)
    assert schedule.take() == ("slow", 0)
    assert schedule.take() == ("fast", 3)
    assert schedule.take() is None
    schedule.done("slow")
    assert schedule.take() == ("slow", 1)


def test_reads_no_further_than_needed() -> None:
    items = iter([("slow", n) for n in range(1_000)])
    schedule = Schedule(items, per_host=1, most_aside=10)
    assert schedule.take() == ("slow", 0)
    assert schedule.take() is None and not schedule.exhausted
    assert next(items) == ("slow", 11)
