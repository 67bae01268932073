"""Serve an index: a page for people and an HTTP API, from memory-mapped files.

laion-hpc search results/demo/index
                                      http://127.0.0.1:8080, until Ctrl-C
laion-hpc search results/*/index --images results/*/filter/* --port 9000
                                      several indices, images straight from the shards
laion-hpc search results/demo/index --embeddings results/demo/embed/*
                                      ranks, and finds duplicates, by the embeddings themselves
laion-hpc search results/demo/index --host 0.0.0.0 --workers 8
                                      for others, too: put a server with TLS in front of it

The page is at /, the API at /api/search and /openapi.json; clip-retrieval's clients find
/knn-service, /metadata, /indices-list and /metrics.
"""

from __future__ import annotations

import argparse
import errno
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from laion_hpc.errors import LaionHpcError, UsageError
from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config, add_folders, count
from laion_hpc.stages.search import workers

if TYPE_CHECKING:
    from laion_hpc.config import Config
    from laion_hpc.stages.search.http.limits import Limiter
    from laion_hpc.stages.search.http.metrics import Metrics
    from laion_hpc.web.settings import Settings

CONNECTIONS = 2_048
"""Open connections and requests in hand; above this number the answer is 503 at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=Path, nargs="+", help="folders made by `index merge`")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (8080)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add_folders(
        parser,
        "--images",
        meaning="folders of shards to show images from; default: from their URLs",
    )
    add_folders(
        parser,
        "--embeddings",
        meaning="folders made by `embed`, to rank and compare by; default: the index's codes",
    )
    parser.add_argument(
        "--workers",
        type=count,
        default=1,
        metavar="N",
        help="processes that answer; each loads the model, they share the index (1)",
    )
    add_config(parser)
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="for the model (auto)"
    )


def run(options: argparse.Namespace) -> int:
    if not 0 <= options.port < 65_536:
        raise UsageError(f"--port {options.port}: a port is between 0 and 65535")
    from laion_hpc.config import load
    from laion_hpc.stages.search.http.limits import Limiter
    from laion_hpc.stages.search.http.metrics import Metrics

    config = load(options.config)
    # A file per block, mapped shards and a socket per client: the usual limit of 1,024 is too low.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # First, so that a port in use is reported at once.
    listener = _listen(options.host, options.port)
    # Made before the workers, who share them.
    metrics, limiter = Metrics(options.workers), Limiter(config.search.rate_limit)
    try:
        if options.workers == 1:
            _serve(options, config, listener, metrics, limiter)
            return 0
        return workers.run(
            options.workers,
            lambda worker, ready: _serve(
                options, config, listener, metrics, limiter, worker, ready
            ),
        )
    except KeyboardInterrupt:
        return 0  # Ctrl-C is how a service ends
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Named TCP, or asyncio leaves Nagle's algorithm on, which adds 40 ms to each answer.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise UsageError(f"--host {host}: not an address of this machine ({error})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1_024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise LaionHpcError(
                f"port {port} of {host} is in use: choose another with --port, or stop the "
                "service that uses it"
            ) from None
        raise LaionHpcError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    return listener


def _serve(
    options: argparse.Namespace,
    config: Config,
    listener: socket.socket,
    metrics: Metrics,
    limiter: Limiter,
    worker: int = 0,
    ready: Callable[[], None] = lambda: None,
) -> None:
    import uvicorn

    from laion_hpc.config.sections import ModelConfig
    from laion_hpc.models import Tower
    from laion_hpc.models import load as load_model
    from laion_hpc.stages.search.http.app import create_app
    from laion_hpc.stages.search.knn.collection import open_collections
    from laion_hpc.stages.search.service import Service
    from laion_hpc.stages.search.thumbnails import Thumbnails

    def load_tower(model: ModelConfig) -> Tower:
        return load_model(model, device=options.device)

    metrics.write_as(worker)
    collections = open_collections(options.index, options.embeddings)
    service = Service(
        collections,
        config.search,
        load=load_tower,
        images=Thumbnails(options.images) if options.images else None,
        web=_web(config),
    )
    ready()
    if worker == 0:
        for collection in collections.values():
            _say(f"{collection.name}: {collection.count:,} images, {collection.about.key}")
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _say(f"http://{shown}:{port} (Ctrl-C ends it)")
    uvicorn.Server(
        uvicorn.Config(
            create_app(service, metrics=metrics, limiter=limiter),
            log_level="warning",
            access_log=False,  # what people search for is private
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
            server_header=False,
            proxy_headers=False,  # search.trusted_proxies decides this
        )
    ).run(sockets=[listener])


def _web(config: Config) -> Settings | str:
    """How images given by URL are fetched; or why they are not.

    Private networks that `download` may reach stay closed: here strangers choose the address.
    """
    from laion_hpc.web.settings import Settings, guard_for

    if not config.search.image_urls:
        return "image URLs are switched off (search.image_urls)"
    user_agent = config.download.user_agent
    try:
        guard = guard_for(user_agent, (), "")
    except UsageError:
        return (
            "image URLs are switched off: download.user_agent does not say who asks. "
            "Give the image itself instead"
        )
    return Settings(
        user_agent,
        guard,
        proxy=config.download.proxy,
        deadline_seconds=10,
        retries=0,
        max_bytes=config.search.max_body_bytes,
        # One person looks at one image; this is not a crawler that keeps many.
        respect_opt_out=False,
        respect_robots_txt=False,
    )


def _say(message: str) -> None:
    console.say(f"search: {message}")
