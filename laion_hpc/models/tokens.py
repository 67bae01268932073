"""Makes tokens of texts in a separate process: Python does some 13,000 a second and core."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laion_hpc.models import feeding

if TYPE_CHECKING:
    from laion_hpc.models import Tower
    from laion_hpc.models.decoders import Decoders

_lock = Lock()
_process: Decoders | None = None


def begin_batches(
    tower: Tower, batches: Sequence[list[str]]
) -> Iterator[Callable[[], NDArray[np.float32]]]:
    """`tower.begin_texts` of each batch in order; with a GPU, tokens are made ahead."""
    tokenizer = getattr(tower, "tokenizer", None)
    if tokenizer is None or not feeding.feeds(tower.device):
        yield from map(tower.begin_texts, batches)
        return
    fed: Any = tower
    source, keywords = tokenizer
    arguments = (source, json.dumps(keywords, sort_keys=True))
    process = _tokenizing()
    waiting = [process.submit(tokenize, *arguments, batch, at="texts") for batch in batches]
    for future in waiting:
        yield fed.begin_tokens(future.result())


def stop() -> None:
    """End the process."""
    global _process
    with _lock:
        if _process:
            _process.close()
        _process = None


def _tokenizing() -> Decoders:
    from laion_hpc.models.decoders import Decoders

    global _process
    with _lock:
        if _process is None or _process.failure:
            _process = Decoders(1, room=4096, in_hand=1)
        return _process


def tokenize(_desk: object, source: str, keywords: str, texts: list[str]) -> NDArray[np.int32]:
    """Task: token ids (n, context length) of an open_clip tokenizer, as in this process."""
    tokens: NDArray[np.int32] = _tokenizer(source, keywords)(texts).numpy().astype(np.int32)
    return tokens


@lru_cache(maxsize=4)
def _tokenizer(source: str, keywords: str) -> Any:
    from laion_hpc.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch

    torch.set_num_threads(1)
    return open_clip.get_tokenizer(source, **json.loads(keywords))
