"""A web server of WAT files, some of which are held back until the test lets them go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Gate:
    """Serves the files below `folder` at `url`; those named `held…` only once `open` is set.

    A job that asks for one is in the middle of its work for as long as the test likes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open = threading.Event()
        self.asked: Counter[str] = Counter()
        """How often each path was asked for."""
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                gate.asked[name] += 1
                if Path(name).name.startswith("held"):
                    gate.open.wait()
                data = (gate.folder / name).read_bytes()
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the job that asked is gone

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        # An address of its own: a port of 127.0.0.1 may be another test's.
        self._server = ThreadingHTTPServer(("127.0.0.3", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.3:{self._server.server_port}/"

    @contextmanager
    def serving(self) -> Iterator[Gate]:
        """Serve inside the block; whoever still waits at its end is let go."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()
