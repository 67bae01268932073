"""The vocabulary of fates."""

from __future__ import annotations

from pathlib import Path

import pytest

from laion_hpc.stages.download import outcomes

EVERY = sorted(outcomes.NETWORK_REASONS | outcomes.IMAGE_REASONS)


@pytest.mark.parametrize("reason", EVERY)
def test_every_reason_is_explained_where_users_look(reason: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "download.md"
    assert f"`{reason}`" in page.read_text(encoding="utf-8")
    assert f"`{reason}`" in (outcomes.__doc__ or "")


def test_what_may_heal() -> None:
    assert {r for r in EVERY if outcomes.may_heal(r)} == {"timeout", "reset", "truncated", "dns"}
    healing = {n for n in range(300, 600) if outcomes.may_heal(f"http_{n}")}
    assert {408, 425, 429, 500, 502, 503, 504} <= healing
    assert not {301, 400, 401, 403, 404, 410, 451, 501} & healing


def test_a_download_that_was_good_has_another_status() -> None:
    assert outcomes.status_of("") == "success"
    assert outcomes.status_of("blocked_hash") == "failed_to_resize"
    assert outcomes.status_of("http_404") == "failed_to_download"
