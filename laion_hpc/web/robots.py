"""What site owners allow: robots.txt (RFC 9309) and the opt-out headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex", "noml")
"""Words of X-Robots-Tag that say: not for a dataset. `none` stands for noindex, nofollow."""

MAX_BYTES = 512_000
"""RFC 9309: parsers must read at least 500 KiB; what follows is not read."""

MAX_RULES = 5_000

MOST_DELAY = 30.0
"""Seconds; a longer Crawl-delay counts as this: a shard must come to an end."""


def product_token(user_agent: str) -> str:
    """The name that robots rules know us by: the user agent up to its first slash or space."""
    return re.split(r"[/\s(]", user_agent.strip(), maxsplit=1)[0].lower()


@dataclass(frozen=True)
class Robots:
    """The rules of one host for us: `(allows, pattern)`, patterns percent-encoded."""

    rules: tuple[tuple[bool, str], ...] = ()
    crawl_delay: float = 0.0
    """Seconds between two requests; not in RFC 9309, but many sites ask for it."""

    def allows(self, path: str) -> bool:
        """May the path, with its query, be fetched? The longest pattern that matches decides.

        Between equally long ones the one that allows wins; without a match all is allowed.
        """
        path = _normal(path)
        best, allowed = -1, True
        for allows, pattern in self.rules:
            length = len(pattern)
            if (length, allows) > (best, allowed) and _matches(pattern, path):
                best, allowed = length, allows
        return allowed


ALLOW_ALL = Robots()
DISALLOW_ALL = Robots(((False, "/"),))


def parse(text: bytes, token: str) -> Robots:
    """The rules in a robots.txt for the product `token` (lower case), else those for `*`."""
    ours: list[tuple[bool, str]] = []
    everyones: list[tuple[bool, str]] = []
    delays = {token: 0.0, "*": 0.0}
    named = False
    agents: list[str] = []
    in_rules = False
    for line in re.split(r"\r\n|\r|\n", text[:MAX_BYTES].decode("utf-8-sig", "replace")):
        name, colon, value = line.partition("#")[0].partition(":")
        if not colon:
            continue
        name, value = name.strip().lower(), value.strip()
        if name == "user-agent":
            if in_rules:
                agents, in_rules = [], False
            agents.append(product_token(value) if value != "*" else "*")
            named = named or agents[-1] == token
        elif name in ("allow", "disallow"):
            in_rules = True
            if value and len(ours) + len(everyones) < MAX_RULES:
                rule = (name == "allow", _normal(value))
                if token in agents:
                    ours.append(rule)
                if "*" in agents:
                    everyones.append(rule)
        elif name == "crawl-delay":
            in_rules = True
            for agent in delays.keys() & set(agents):
                delays[agent] = max(delays[agent], _seconds(value))
    if named:
        return Robots(tuple(ours), delays[token])
    return Robots(tuple(everyones), delays["*"])


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    # NaN and infinity do not count.
    return min(seconds, MOST_DELAY) if 0 < seconds < float("inf") else 0.0


def _normal(path: str) -> str:
    """One spelling of a path: what needs no percent-encoding has none, the rest has (RFC 9309)."""
    if not path.startswith(("/", "*")):
        path = "/" + path
    kept = "/?&=+,;:@$!*'()~-._[]"
    # An encoded reserved character is not the character itself: %2F stays %2F.
    parts = re.split(r"(%[0-9A-Fa-f]{2})", path)
    out = []
    for part in parts:
        if re.fullmatch(r"%[0-9A-Fa-f]{2}", part):
            byte = unquote_to_bytes(part)
            plain = byte.isalnum() or byte in b"-._~"
            out.append(byte.decode("ascii") if plain and byte.isascii() else part.upper())
        else:
            out.append(quote(part, safe=kept))
    return "".join(out)


def _matches(pattern: str, path: str) -> bool:
    """`*` stands for any characters, a `$` at the end for the end; else a prefix is enough.

    By hand, not by a regular expression: a hostile `*a*a*a*…` must cost no exponential time.
    """
    anchored = pattern.endswith("$")
    parts = (pattern[:-1] if anchored else pattern).split("*")
    if not path.startswith(parts[0]):
        return False
    at = len(parts[0])
    for part in parts[1:-1]:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if len(parts) == 1:
        return not anchored or at == len(path)
    last = parts[-1]
    if anchored:
        return len(path) - len(last) >= at and path.endswith(last)
    return path.find(last, at) >= 0


def opted_out(headers: Iterable[tuple[str, str]], token: str) -> str:
    """The opt-out word that an answer's headers hold for us, or "".

    Knows `X-Robots-Tag: noai`, lists, rules for one agent (`otherbot: noindex, noai` concerns
    otherbot only, up to the next agent named) and the TDM Reservation Protocol's
    `TDM-Reservation: 1`. Header names in lower case.
    """
    for name, value in headers:
        if name == "tdm-reservation" and value.strip() == "1":
            return "tdm-reservation"
        if name != "x-robots-tag":
            continue
        concerns_us = True
        for part in value.lower().split(","):
            agent, colon, word = part.rpartition(":")
            if colon and re.fullmatch(r"\s*[a-z0-9_*.-]+\s*", agent):
                # `unavailable_after: DATE` and `max-image-preview: large` are not agents.
                if agent.strip() in _VALUED:
                    continue
                concerns_us = agent.strip() in ("*", token)
            word = word.strip()
            word = "noindex" if word == "none" else word
            if concerns_us and word in OPT_OUTS:
                return word
    return ""


_VALUED = frozenset(["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"])
