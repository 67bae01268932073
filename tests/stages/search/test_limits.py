"""How often a client may ask, and who the client is."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from laion_hpc.stages.search.http.app import create_app
from laion_hpc.stages.search.http.limits import Limiter, client_of
from laion_hpc.stages.search.http.metrics import Metrics
from tests.stages.search.world import World

PROXIES = ("127.0.0.0/8", "10.0.0.0/8", "::1/128")


@given(st.integers(1, 1_000), st.lists(st.floats(0, 20), max_size=60))
def test_never_more_than_the_rate(per_minute: int, pauses: list[float]) -> None:
    limiter, now, passed = Limiter(per_minute), 1_000.0, 0
    for pause in pauses:
        now += pause
        passed += limiter.wait("a", now=now) == 0
    assert passed <= per_minute + (now - 1_000) * per_minute / 60 + 1


def test_a_minute_at_once_then_steadily() -> None:
    limiter = Limiter(60)
    waits = [limiter.wait("a", now=5.0) for _ in range(70)]
    assert waits[:60] == [0.0] * 60
    assert all(wait == pytest.approx(1.0) for wait in waits[60:])
    assert limiter.wait("b", now=5.0) == 0
    assert limiter.wait("a", now=6.1) == 0
    assert limiter.wait("a", now=6.1) > 0


def test_costs_and_no_limit() -> None:
    limiter = Limiter(10)
    assert limiter.wait("a", 20.0, now=1.0) == 0  # dearer than the rate: possible, but alone
    assert limiter.wait("a", 0.1, now=1.0) > 60
    free = Limiter(0)
    assert not any(free.wait("a", now=1.0) for _ in range(1_000))


def test_forked_workers_share_limits_and_counts() -> None:
    limiter, metrics = Limiter(2), Metrics(2)
    if (pid := os.fork()) == 0:
        metrics.write_as(1)
        metrics.answered("/metadata", 200, 0.02)
        os._exit(int(limiter.wait("a", now=1.0)))
    assert os.waitpid(pid, 0)[1] == 0
    metrics.answered("/metadata", 200, 0.2)
    assert 'requests_total{route="/metadata",status="200"} 2' in metrics.text({})
    assert 'seconds_bucket{route="/metadata",le="0.025"} 1' in metrics.text({})
    assert 'seconds_bucket{route="/metadata",le="0.25"} 2' in metrics.text({})
    assert [limiter.wait("a", now=1.0) == 0 for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # no proxy of ours: it may lie
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # the first was made up
        ("127.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("127.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("::ffff:203.0.113.5", "", "203.0.113.5"),
        ("2001:db8:1:2:3::9", "", "2001:db8:1:2::/64"),
        ("::1", "[2001:db8:1:2:3::9]", "2001:db8:1:2::/64"),
        ("", "", ""),
    ],
)
def test_who_asks(peer: str, forwarded: str, client: str) -> None:
    assert client_of(peer, forwarded, PROXIES) == client


def test_who_asks_too_often_is_told_when_to_come_back(world: World) -> None:
    service = world.service(rate_limit=5, trusted_proxies=["127.0.0.0/8"])
    with TestClient(create_app(service), client=("127.0.0.1", 5)) as client:

        def ask(address: str) -> int:
            head = {"x-forwarded-for": address}
            return client.post(
                "/api/search", content=json.dumps({"num": 1}), headers=head
            ).status_code

        assert [ask("198.51.100.1") for _ in range(6)] == [200] * 5 + [429]
        assert ask("198.51.100.2") == 200
        head = {"x-forwarded-for": "198.51.100.1"}
        answer = client.post("/knn-service", content="{}", headers=head)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 12
        assert "try again in" in answer.json()["error"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        for path in ("/", "/app.js", "/metrics", "/api/indices"):  # the page itself always comes
            assert client.get(path, headers=head).status_code == 200
        assert 'route="/api/search",status="429"} 1' in client.get("/metrics").text


def test_pictures_cost_little(world: World) -> None:
    with TestClient(create_app(world.service(rate_limit=2))) as client:
        answers = [client.get(f"/image/demo/{(3 << 32) + row}").status_code for row in range(70)]
        assert answers == [200] * 70
