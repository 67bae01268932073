"""The outcome of a sample: success, or the reason of its failure in one word.

| reason | meaning |
|---|---|
| `bad_url` | not an http(s) URL of a host, or a port that belongs to another protocol |
| `dns` `refused` `unreachable` `tls` `reset` `timeout` | no connection, or it broke |
| `protocol` | the answer is not HTTP, or its header is too large |
| `http_404`, any `http_NNN` | the last answer's status, if not 200 |
| `too_many_redirects` `bad_redirect` | a chain without an end, or to no http(s) URL |
| `forbidden_address` | the host is not on the public internet |
| `opted_out` `robots_txt` | the site does not want its images in a dataset |
| `too_large` `too_small` | body, in bytes |
| `truncated` `bad_encoding` | body shorter than declared; not decompressible |
| `not_an_image` | none of the formats that are read |
| `too_many_pixels` `too_few_pixels` `aspect_ratio` | by the image's header |
| `undecodable` | the format is known, decoding fails |
| `decoder_crashed` | decoding ended its process, or took too long |
| `blocked_hash` | the body's hash, or one near the picture's, is in a blocklist |
| `bad_boxes` | the boxes to blur cannot be read, so the image is not kept |
| `taken_down` | the sample, its host or its image is in the list of take-downs |
"""

from __future__ import annotations

from laion_hpc.web import retry

SUCCESS = "success"
FAILED_TO_DOWNLOAD = "failed_to_download"
FAILED_TO_RESIZE = "failed_to_resize"

# fmt: off
IMAGE_REASONS = frozenset({
    "not_an_image", "undecodable", "too_many_pixels", "too_few_pixels", "aspect_ratio",
    "decoder_crashed", "blocked_hash", "bad_boxes",
})
"""The download was good, the image is not (img2dataset's failed_to_resize)."""

NETWORK_REASONS = frozenset({
    "bad_url", "dns", "refused", "unreachable", "tls", "reset", "timeout", "protocol",
    "too_many_redirects", "bad_redirect", "forbidden_address", "opted_out", "robots_txt",
    "too_large", "too_small", "truncated", "bad_encoding", "taken_down",
})
"""With `http_NNN`, all that can happen before there is a body to look at."""
# fmt: on


_MAY_HEAL = frozenset({"timeout", "reset", "truncated", "dns"})


def may_heal(reason: str) -> bool:
    """True if another run may fare better: time-outs, broken connections, names that were not
    found (a resolver that is asked too much says so too), 408, 425, 429 and most 5xx.
    """
    if reason.startswith("http_"):
        return retry.heals(int(reason.removeprefix("http_")))
    return reason in _MAY_HEAL


def status_of(reason: str) -> str:
    """img2dataset's status of a sample that failed for `reason` (empty: it did not)."""
    if not reason:
        return SUCCESS
    return FAILED_TO_RESIZE if reason in IMAGE_REASONS else FAILED_TO_DOWNLOAD
