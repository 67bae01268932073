"""The hosts of many URLs at once, by a compiled loop."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from laion_hpc.files import utf8
from laion_hpc.runtime.compiled import compiled


def hosts_of(urls: pa.StringArray) -> pa.StringArray:
    """`Url.host` of each of n URLs, written as `Url.href` writes them."""
    ends, data = utf8.of_column(urls)
    offsets = np.zeros(len(urls) + 1, np.int32)
    hosts = np.empty(int(ends[-1] - ends[0]), np.uint8)
    used = _loop()(ends, data, offsets, hosts)
    buffers = pa.py_buffer(offsets), pa.py_buffer(hosts[:used])
    return pa.StringArray.from_buffers(len(urls), *buffers)


def _copy(ends: Any, urls: Any, offsets: Any, hosts: Any) -> int:
    """Copy the host of each URL; how many bytes they are. Its port and its last dot are left."""
    used = 0
    for n in range(len(ends) - 1):
        at, end = ends[n] + 7, ends[n + 1]  # after http://
        if urls[at] == 0x2F:
            at += 1
        begin = used
        in_brackets = False
        while at < end:
            c = urls[at]
            if c == 0x2F or (c == 0x3A and not in_brackets):
                break
            if c == 0x5B:
                in_brackets = True
            elif c == 0x5D:
                in_brackets = False
            hosts[used] = c
            used += 1
            at += 1
        if used > begin and hosts[used - 1] == 0x2E:
            used -= 1
        offsets[n + 1] = used
    return used


@lru_cache(maxsize=1)
def _loop() -> Any:
    ends, data = np.frombuffer(bytes(4), np.int32), np.frombuffer(bytes(1), np.uint8)
    room: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
    return compiled(_copy, ends, data, np.zeros(1, np.int32), room)
