"""Certificates are verified, directly and through a proxy."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from laion_hpc.web import settings as settings_module
from laion_hpc.web.client import fetch_blocking
from laion_hpc.web.guard import Guard
from tests.web.hostile import PAYLOAD, Server, response
from tests.web.test_client import SETTINGS
from tests.web.test_proxy import tunnel

CA_CONFIG = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[v3_ca]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign
subjectKeyIdentifier = hash
[server]
subjectAltName = IP:127.0.0.1, DNS:images.test
[other]
subjectAltName = DNS:other.test
"""


@dataclass(frozen=True)
class Certificates:
    folder: Path

    def context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / "server.key")
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.cnf").write_text(CA_CONFIG)
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(
        *[*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority"],
        *["-days", "2", "-config", "ca.cnf", "-extensions", "v3_ca"],
    )
    openssl(
        *[*new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server"],
        *["-config", "ca.cnf"],
    )
    openssl(
        *["req", "-x509", "-key", "server.key", "-out", "self-signed.pem", "-subj", "/CN=self"],
        *["-days", "2", "-config", "ca.cnf", "-extensions", "server"],
    )
    sign = ["ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"]
    sign += ["-in", "server.csr"]
    openssl(*sign, "-out", "good.pem", "-extensions", "server", "-days", "2")
    openssl(*sign, "-out", "wrong-host.pem", "-extensions", "other", "-days", "2")
    openssl(
        *[*sign, "-out", "expired.pem", "-extensions", "server"],
        *["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"],
    )
    return Certificates(folder)


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our authority is the one that SSL_CERT_FILE names."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.folder / "ca.pem"))
    monkeypatch.setattr(settings_module, "_context", None)
    yield
    settings_module._context = None


PAGES = {"/x": response(PAYLOAD), "/robots.txt": response(b"")}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("good", ""), ("self-signed", "tls"), ("wrong-host", "tls"), ("expired", "tls")],
)
def test_certificates(name: str, reason: str, certificates: Certificates, trusted: None) -> None:
    with Server(dict(PAGES), tls=certificates.context(name)) as server:
        answer = fetch_blocking(f"{server.url}/x", SETTINGS)
    assert (answer.reason, answer.attempts) == (reason, 1)
    assert bytes(answer.body) == (b"" if reason else PAYLOAD)


def test_an_authority_of_ones_own_is_not_trusted_by_default(certificates: Certificates) -> None:
    with Server(dict(PAGES), tls=certificates.context("good")) as server:
        assert fetch_blocking(f"{server.url}/x", SETTINGS).reason == "tls"


def test_https_to_a_server_that_speaks_http(trusted: None) -> None:
    with Server(dict(PAGES)) as server:
        url = server.url.replace("http:", "https:")
        assert fetch_blocking(f"{url}/x", SETTINGS).reason in ("tls", "reset")


def test_https_through_a_proxy(certificates: Certificates, trusted: None) -> None:
    with Server(dict(PAGES), tls=certificates.context("good")) as server, tunnel() as (port, asked):
        settings = replace(SETTINGS, guard=Guard(), proxy=f"http://127.0.0.1:{port}")
        answer = fetch_blocking(f"https://images.test:{server.port}/x", settings)
        other = fetch_blocking(f"https://elsewhere.test:{server.port}/x", settings)
    assert (answer.reason, bytes(answer.body)) == ("", PAYLOAD)
    assert other.reason == "tls"
    assert asked[0] == f"CONNECT images.test:{server.port} HTTP/1.1"
