"""The web of the benchmark: nginx on loopback, as a process of its own, with photographs.

Every address of 127.0.0.0/8 reaches it, so it can stand for any number of hosts. Its ports: plain,
with TLS, 200 ms late, and one that sends a few bytes a second and never closes.
"""

from __future__ import annotations

import io
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import certifi
import numpy as np
from PIL import Image

ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
"""Debian's libnginx-mod-http-echo, which nginx-light brings; it makes answers late."""
TLS_HOSTS = 100

# Sizes in pixels and their share: a mean of 0.56 Mpx and, at quality 88, of about 130 kB.
SIZES = (
    ((800, 600), 0.62),
    ((640, 480), 0.25),
    ((1024, 768), 0.10),
    ((1600, 1200), 0.025),
    ((4000, 3000), 0.005),
)
DIFFERENT = 200

CONFIG = """
{load}
{user}
worker_processes 2;
pid {root}/nginx.pid;
error_log {root}/error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  types {{ image/jpeg jpg; }}
  client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;
  uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;
  root {root}/images;
  sendfile on;
  server {{ listen 0.0.0.0:{plain} backlog=4096; }}
  server {{
    listen 0.0.0.0:{tls} ssl backlog=4096;
    ssl_certificate {root}/server.pem;
    ssl_certificate_key {root}/server.key;
  }}
  server {{
    listen 0.0.0.0:{drip} backlog=4096;
    location = /robots.txt {{ return 404; }}
    location / {{ limit_rate 20; }}
  }}
  {late_server}
}}
"""
LATE = """
  server {{
    listen 0.0.0.0:{late} backlog=4096;
    location / {{ echo_sleep 0.2; echo_exec @file; }}
    location @file {{ }}
  }}
"""


@dataclass(frozen=True)
class Web:
    """Where the servers are, and what they serve."""

    files: tuple[Path, ...]
    authorities: Path
    """A full bundle of certificate authorities, the benchmark's own among them."""
    plain: int
    tls: int
    drip: int
    late: int
    """Port of the server with 200 ms of latency; 0 without nginx' echo module."""

    def urls(self, number: int, *, kind: str, hosts: int, dripping: float = 0.0) -> list[str]:
        """`number` different URLs over `hosts` hosts, of which a share drips for ever."""
        scheme = "https" if kind == "tls" else "http"
        every = round(1 / dripping) if dripping else 0
        urls = []
        for n in range(number):
            host = n * 7919 % hosts
            drips = bool(every) and host % every == 0
            port = self.drip if drips else getattr(self, kind)
            name = self.files[(n * 31 + n // hosts) % len(self.files)].name
            urls.append(f"{scheme}://{address(host)}:{port}/{name}?{n}")
        return urls


def address(host: int) -> str:
    """The loopback address of a host."""
    return str(ipaddress.IPv4Address("127.1.0.1") + host)


def photographs(folder: Path) -> tuple[Path, ...]:
    """JPEGs whose spectrum falls with frequency as that of photographs does."""
    random = np.random.default_rng(5)
    sizes = [size for size, share in SIZES for _ in range(round(share * DIFFERENT))]
    paths = []
    for number, (width, height) in enumerate(sizes):
        pixels = np.zeros((height, width, 3), np.float32)
        for step in range(1, 10):
            rough = random.normal(size=(height // 2**step + 2, width // 2**step + 2, 3))
            layer = np.clip(rough * 40 + 128, 0, 255).astype(np.uint8)
            scaled = Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC)
            pixels += (np.asarray(scaled, np.float32) - 128) * 2.0 ** (0.7 * step) / 18
        pixels += random.standard_normal(pixels.shape, np.float32) * 9
        image = Image.fromarray(np.clip(pixels + 128, 0, 255).astype(np.uint8))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=88)
        path = folder / f"{number:04d}.jpg"
        path.write_bytes(out.getvalue())
        paths.append(path)
    return tuple(paths)


@contextmanager
def serve(root: Path) -> Iterator[Web]:
    """Make photographs and certificates below `root` and serve them."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(nginx).exists() or shutil.which("openssl") is None:
        raise SystemExit("needs nginx and openssl (apt-get install nginx-light openssl)")
    (root / "images").mkdir()
    files = photographs(root / "images")
    authorities = _certificates(root)
    plain, tls, drip, late = _free_ports(4)
    late = late if ECHO_MODULE.exists() else 0
    config = CONFIG.format(
        root=root,
        plain=plain,
        tls=tls,
        drip=drip,
        late_server=LATE.format(late=late) if late else "",
        load=f"load_module {ECHO_MODULE};" if late else "",
        user="user root;" if os.geteuid() == 0 else "",
    )
    (root / "nginx.conf").write_text(config)
    command = [nginx, "-p", str(root), "-c", "nginx.conf", "-e", str(root / "error.log")]
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        _wait_for(plain, process)
        yield Web(files, authorities, plain, tls, drip, late)
    finally:
        process.terminate()
        process.wait()


def _certificates(root: Path) -> Path:
    """A certificate for the hosts of the TLS scenario, by an authority in a full bundle."""
    names = ",".join(f"IP:{address(host)}" for host in range(TLS_HOSTS))
    (root / "extensions").write_text(f"subjectAltName={names}\n")
    new = "openssl req -newkey rsa:2048 -nodes"
    own = f"{new} -x509 -days 2 -keyout ca.key -out ca.pem -subj"
    asked = f"{new} -keyout server.key -out server.csr -subj"
    signed = "openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
    for command in (
        [*own.split(), "/CN=benchmark CA"],
        [*asked.split(), "/CN=benchmark"],
        [*signed.split(), "-extfile", "extensions", "-out", "server.pem"],
    ):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    bundle = root / "authorities.pem"
    bundle.write_text(Path(certifi.where()).read_text() + (root / "ca.pem").read_text())
    return bundle


def _free_ports(number: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise SystemExit("nginx does not start")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("nginx does not answer")
