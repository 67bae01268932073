"""Who may go to the web, and through which proxy."""

from __future__ import annotations

import pytest

from laion_hpc.errors import UsageError
from laion_hpc.web.guard import Guard, networks
from laion_hpc.web.settings import Proxies, guard_for

REAL = "our-crawler/1.0 (+https://crawler.our-lab.eu)"
PLACEHOLDER = "laion-hpc/0.1 (+https://example.org/our-crawler-page)"


def test_someone_with_a_name_may_go_to_the_web() -> None:
    guard = guard_for(REAL, (), "")
    assert guard.allows("8.8.8.8") and not guard.allows("127.0.0.1")
    assert guard_for("bot/1 crawler@our-lab.eu", (), "").allows("8.8.8.8")


@pytest.mark.parametrize("agent", [PLACEHOLDER, "bot/1.0", "", "Mozilla/5.0 (X11; Linux)"])
@pytest.mark.parametrize("opened", [(), ("10.0.0.0/8",), ("127.0.0.0/8", "10.0.0.0/8")])
def test_without_a_name_nobody_may(agent: str, opened: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"download\.user_agent"):
        guard_for(agent, opened, "")
    with pytest.raises(UsageError, match=r"download\.user_agent"):
        guard_for(agent, opened, "http://proxy.our-lab.eu:3128")


def test_the_placeholder_may_talk_to_this_machine_and_to_nothing_else() -> None:
    guard = guard_for(PLACEHOLDER, ("127.0.0.0/8", "::1/128"), "")
    assert guard.allows("127.3.2.1") and guard.allows("::1")
    assert not guard.allows("8.8.8.8") and not guard.allows("10.0.0.1")


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:3128", "http://localhost:1", "http://[::1]:1"])
def test_or_through_a_proxy_on_this_machine(proxy: str) -> None:
    assert guard_for(PLACEHOLDER, (), proxy).allows("8.8.8.8")


def test_a_user_agent_is_one_line() -> None:
    for agent in (REAL + "\r\nX: y", "boté (+https://crawler.our-lab.eu)"):
        with pytest.raises(UsageError, match="one line of ASCII"):
            guard_for(agent, (), "")


ENVIRONMENT = {
    "http": "http://proxy.site:3128",
    "https": "proxy.site:3129",
    "no": "internal.site, .other.site,10.0.0.0/8,direct.site:8080",
}


def port_of(proxies: Proxies, scheme: str, host: str, port: int = 80) -> int | None:
    proxy = proxies.choose(scheme, host, port)
    return None if proxy is None else proxy.url.port


def test_proxies_of_the_environment() -> None:
    proxies = Proxies("", Guard(), ENVIRONMENT)
    assert port_of(proxies, "http", "images.net") == 3128
    assert port_of(proxies, "https", "images.net") == 3129
    for host in ("internal.site", "a.internal.site", "x.other.site", "10.1.2.3"):
        assert port_of(proxies, "http", host) is None
    assert port_of(proxies, "http", "notinternal.site") == 3128
    assert port_of(proxies, "http", "direct.site", 8080) is None
    assert port_of(proxies, "http", "direct.site", 80) == 3128


def test_networks_opened_on_purpose_need_no_proxy() -> None:
    proxies = Proxies("", Guard(networks(["127.0.0.0/8"])), ENVIRONMENT)
    assert port_of(proxies, "http", "127.0.0.7") is None
    assert port_of(proxies, "http", "images.net") == 3128


def test_the_configured_proxy_is_for_everything() -> None:
    proxies = Proxies("http://user:secret@127.0.0.1:8888", Guard(), ENVIRONMENT)
    assert port_of(proxies, "https", "internal.site") == 8888
    chosen = proxies.choose("http", "x.net", 80)
    assert chosen is not None and chosen.headers == [
        (b"Proxy-Authorization", b"Basic dXNlcjpzZWNyZXQ=")
    ]


@pytest.mark.parametrize("proxy", ["ftp://x:1", "http://", "socks5://127.0.0.1:1", "http://a:b:c"])
def test_a_wrong_proxy_is_named(proxy: str) -> None:
    with pytest.raises(UsageError, match=r"download\.proxy"):
        Proxies(proxy, Guard(), {})
