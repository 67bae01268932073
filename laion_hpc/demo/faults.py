"""What the demo's servers do with a request, and what `download` must make of it.

Each behaviour is a row of `BEHAVIOURS`: the plan of the web deals them out, the server acts them
out, and the truth file takes its expected reasons from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """One way to answer a request for an image."""

    name: str
    reason: str
    """download's reason for the drop; empty if the image can be downloaded."""
    share: float
    """Of all images of the demo's web."""
    picture: bool = True
    """Whether there is a picture behind the URL, reachable or not."""
    redirects: bool = False
    """Whether the answer is a redirect, so that the picture lies at a second URL."""


PLAIN = Behaviour("plain", "", 0.78)

BEHAVIOURS: tuple[Behaviour, ...] = (
    PLAIN,
    # Odd, but the image is there.
    Behaviour("slow", "", 0.010),
    Behaviour("heals", "", 0.012),  # 500 at first, 200 when asked again
    Behaviour("as_text", "", 0.010),  # Content-Type: text/plain
    Behaviour("untyped", "", 0.008),  # no Content-Type at all
    Behaviour("chunked", "", 0.015),
    Behaviour("gzipped", "", 0.006),  # Content-Encoding: gzip although we ask for identity
    Behaviour("other_agent", "", 0.010),  # X-Robots-Tag that concerns another crawler
    Behaviour("redirect", "", 0.022, redirects=True),
    Behaviour("redirect_chain", "", 0.008, redirects=True),
    # Not there, or not for us.
    Behaviour("not_found", "http_404", 0.026, picture=False),
    Behaviour("gone", "http_410", 0.005, picture=False),
    Behaviour("forbidden", "http_403", 0.009, picture=False),
    Behaviour("unavailable", "http_503", 0.003, picture=False),
    Behaviour("opted_out", "opted_out", 0.009),
    Behaviour("robots_txt", "robots_txt", 0.009),
    # Network trouble.
    Behaviour("dripping", "timeout", 0.004),
    Behaviour("silent", "timeout", 0.0015, picture=False),  # no answer at all
    Behaviour("reset", "reset", 0.004, picture=False),
    Behaviour("refused", "refused", 0.005, picture=False),
    Behaviour("garbage", "protocol", 0.003, picture=False),  # not HTTP
    Behaviour("truncated", "truncated", 0.004),
    Behaviour("brotli", "bad_encoding", 0.002, picture=False),
    Behaviour("loop", "too_many_redirects", 0.003, picture=False),
    Behaviour("redirect_private", "forbidden_address", 0.0025, picture=False),
    Behaviour("redirect_scheme", "bad_redirect", 0.002, picture=False),  # to ftp:
    Behaviour("private", "forbidden_address", 0.002, picture=False),
    # A body, but no image that can be used.
    Behaviour("html", "not_an_image", 0.009, picture=False),
    Behaviour("declared_too_large", "too_large", 0.002, picture=False),
    Behaviour("too_large", "too_large", 0.002, picture=False),
    Behaviour("too_small", "too_small", 0.010, picture=False),
    Behaviour("empty", "too_small", 0.002, picture=False),
    Behaviour("bomb", "too_many_pixels", 0.003, picture=False),
    Behaviour("banner", "aspect_ratio", 0.003, picture=False),
    Behaviour("broken", "undecodable", 0.004),  # half of a file, with the right Content-Length
)

OPT_OUTS = (
    "noai",
    "noimageai",
    "noai, noimageai",
    "noindex",
    "all, noimageindex",
    "laion-hpc-demo: noai",
)
"""Values of X-Robots-Tag by which a site declines. The last names us."""

OTHER_AGENTS = ("googlebot: noindex", "otherbot: noai, noimageai", "max-image-preview: large")
"""Values of X-Robots-Tag that do not concern us."""

LARGE_BYTES = 6_000_000
"""Length of the bodies that are too large: config/demo.yaml sets download.max_bytes below."""

SLOW_SECONDS = 0.7
"""From request to answer; far below the demo's deadline even on a busy machine."""

PRIVATE_HOSTS = ("10.0.0.1", "192.168.1.1", "169.254.169.254")
"""Never connected to: the download's guard refuses them by their address."""


def deal(number: int) -> list[Behaviour]:
    """A behaviour for each of `number` images: every one occurs, the rest are plain.

    At least two of each kind, if `number` allows, so that small webs are as nasty as large ones.
    """
    dealt: list[Behaviour] = []
    for behaviour in BEHAVIOURS:
        if behaviour is not PLAIN:
            dealt += [behaviour] * max(2, round(behaviour.share * number))
    return [*dealt[:number], *[PLAIN] * (number - len(dealt))]
