"""A small HTTP proxy on loopback that replays a tar of images, as if it were the web.

Member names are `host/path` of the URL: host in lower case, path percent-encoded, doubled slashes
collapsed, scheme and query dropped. What is not in the tar is answered with 404; a tunnel for
`https` (CONNECT) with 502, as a server that is gone.
"""

from __future__ import annotations

import re
import socket
import tarfile
import threading
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}


def member_name(host: str, target: str) -> str:
    """The tar member that a request asks for."""
    path = urlsplit(target).path or "/"
    encoded = quote(unquote(path), safe="/:@!$&'()*+,;=~-._")
    return f"{host.lower()}{re.sub('/+', '/', encoded)}"


class ReplayProxy:
    """Serves until `close`; `port` is where."""

    def __init__(self, images: Path) -> None:
        self._lock = threading.Lock()
        self._tar = tarfile.open(images)  # noqa: SIM115 (open as long as we serve)
        self._members = {info.name: info for info in self._tar if info.isfile()}
        self._by_plain_name = {unquote(name): info for name, info in self._members.items()}
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._socket.getsockname()[1])
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop accepting."""
        self._open = False
        self._socket.close()

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            with connection:
                method, target = self._request(connection)
                if method == "GET":
                    self._answer(connection, target)
                else:
                    connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        except (OSError, ValueError):
            return

    def _request(self, connection: socket.socket) -> tuple[str, str]:
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = connection.recv(65536)
            if not chunk:
                raise ValueError("the client went away")
            head += chunk
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        return method, target

    def _answer(self, connection: socket.socket, target: str) -> None:
        name = member_name(urlsplit(target).hostname or "", target)
        with self._lock:
            self.asked += 1
            info = self._members.get(name) or self._by_plain_name.get(unquote(name))
            stream = self._tar.extractfile(info) if info else None
            body = stream.read() if stream else b"not found"
        status = "200 OK" if info else "404 Not Found"
        kind = TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind if info else 'text/plain'}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
