"""No test of the web leaves this machine."""

from __future__ import annotations

import pytest
import trio

from laion_hpc.web import connect


@pytest.fixture(autouse=True)
def contacted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that a connection is tried to; any but loopback fails the test at once."""
    addresses: list[str] = []
    real = connect._connect

    async def watched(address: str, port: int) -> trio.SocketStream:
        addresses.append(address)
        assert address == "::1" or address.startswith("127."), address
        return await real(address, port)

    monkeypatch.setattr(connect, "_connect", watched)
    return addresses
