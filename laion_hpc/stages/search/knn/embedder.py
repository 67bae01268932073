"""Turns texts and images into vectors: each model has a thread, and loads at the start."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import LaionHpcError
from laion_hpc.runtime import console
from laion_hpc.stages.search.faults import RequestError

if TYPE_CHECKING:
    from PIL import Image

    from laion_hpc.models import Tower

Vectors = npt.NDArray[np.float32]
Result = TypeVar("Result")
Load = Callable[[ModelConfig], "Tower"]
TEXTS = 64
"""Texts embedded at once."""
KNOWN = 4_096
"""Texts whose vectors are remembered: 13 MB at 768 dimensions."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow formats that are decoded; its other decoders are not safe for strangers' files."""


class Embedder:
    """A model in one thread: requests queue for it, and the event loop never waits."""

    def __init__(self, model: ModelConfig, load: Load, *, width: int) -> None:
        """Start loading; `width` is the length of the index's vectors."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._width = width
        self._lock = threading.Lock()
        self._waiting: dict[str, Future[Vectors]] = {}
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._tower: Future[Tower] = self._thread.submit(self._load, model, load)

    @property
    def state(self) -> str:
        """`loading`, `ready`, or why there is no model."""
        if not self._tower.done():
            return "loading"
        error = self._tower.exception()
        return "ready" if error is None else str(error)

    async def text(self, text: str) -> Vectors:
        """The unit vector of a text, (width,). RequestError 503 if the model cannot be loaded.

        Texts that arrive while the model works form the next batch. The last texts are cached,
        because every further page of results needs the same vector.
        """
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
            if text not in self._waiting:
                self._waiting[text] = Future()
                self._thread.submit(self._embed_waiting)
            future = self._waiting[text]
        return await asyncio.shield(asyncio.wrap_future(future))

    def _embed_waiting(self) -> None:
        with self._lock:
            batch = dict(list(self._waiting.items())[:TEXTS])
        if not batch:
            return  # an earlier turn has taken them
        try:
            vectors = self._ready().embed_texts(list(batch))
        except BaseException as error:
            with self._lock:
                for text in batch:
                    del self._waiting[text]
            for future in batch.values():
                future.set_exception(error)
            return
        with self._lock:
            for text, vector in zip(batch, vectors, strict=True):
                del self._waiting[text]
                self._known[text] = vector
                if len(self._known) > KNOWN:
                    self._known.popitem(last=False)
        for future, vector in zip(batch.values(), vectors, strict=True):
            future.set_result(vector)

    async def image(self, data: bytes, max_pixels: int) -> Vectors:
        """The unit vector of an image file. RequestError if it is not an image or is too large."""
        return await self._run(lambda tower: tower.embed_images([decode(data, max_pixels)])[0])

    def close(self) -> None:
        """End the thread after its current task."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, task: Callable[[Tower], Result]) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: task(self._ready()))

    def _ready(self) -> Tower:
        try:
            return self._tower.result()
        except Exception as error:
            raise RequestError(
                f"searching by text or image is not possible now: {error}", 503
            ) from None

    def _load(self, model: ModelConfig, load: Load) -> Tower:
        try:
            tower = load(model)
            found = int(tower.embed_texts(["warm up"]).shape[1])
            if found != self._width:
                raise LaionHpcError(
                    f"the model {model.name} makes vectors of {found} numbers, the index holds "
                    f"vectors of {self._width}"
                )
            return tower
        except Exception as error:
            console.say(f"search: no queries by text or image: {error}")
            raise


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """An RGB image; RequestError if it is not an image or has more than `max_pixels` pixels.

    The size is read from the header before anything is decoded.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > max_pixels:
            raise RequestError(
                f"the image has {image.width} × {image.height} pixels, more than the "
                f"{max_pixels:,} allowed",
                413,
            )
        image.draft("RGB", (512, 512))  # JPEG only: decodes at a fraction of the size
        return image.convert("RGB")
    except RequestError:
        raise
    except Image.DecompressionBombError as error:
        raise RequestError(f"the image is too large ({error})", 413) from None
    except Exception as error:  # Pillow's decoders raise errors of nearly any type for broken files
        raise RequestError(f"this is not an image that can be read ({error})", 415) from None
