"""How shards are shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from laion_hpc.stages.download.job import MOST_SHARDS_PER_LANE, cut_lanes


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=300), st.integers(1, 40))
def test_every_shard_is_in_one_lane(shards: list[int], size: int) -> None:
    lanes = cut_lanes(shards, size=size, processes=size)
    assert sorted(shard for lane in lanes for shard in lane.shards) == sorted(shards)
    assert [lane.number for lane in lanes] == list(range(len(lanes)))
    assert all(lane.shards for lane in lanes)
    if size == 1:
        assert len(lanes) == bool(shards)
    elif shards:
        assert len(lanes) >= min(size, len(shards))
        assert all(len(lane.shards) <= MOST_SHARDS_PER_LANE for lane in lanes)
        # All cores have a decoder at the least.
        assert sum(lane.decoders for lane in lanes[:size]) >= size


def test_one_shard_takes_all_cores() -> None:
    (lane,) = cut_lanes([7], size=4, processes=4)
    assert (lane.shards, lane.decoders) == ((7,), 4)
