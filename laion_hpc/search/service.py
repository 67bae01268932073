"""Answers queries: finds their vector, searches, and lays out what is found."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from laion_hpc.config.sections import SearchConfig
from laion_hpc.search.collection import Collection
from laion_hpc.search.embedder import Embedder, Load
from laion_hpc.search.faults import RequestError
from laion_hpc.search.filters import Filter, Selection
from laion_hpc.search.knn import Hits
from laion_hpc.search.queries import SearchRequest, image_bytes
from laion_hpc.search.thumbnails import Thumbnails

if TYPE_CHECKING:
    from laion_hpc.web.settings import Settings

Vectors = npt.NDArray[np.float32]
Result = TypeVar("Result")


class Service:
    """The indices, their models and images; shared by all requests."""

    def __init__(
        self,
        collections: Mapping[str, Collection],
        config: SearchConfig,
        *,
        load: Load,
        images: Thumbnails | None = None,
        web: Settings | str = "image URLs are switched off",
    ) -> None:
        """Start loading the models. `web`: how to fetch an image, or why that is not done."""
        self.collections = dict(collections)
        self.config = config
        self.images = images
        self._web = web
        # One thread per query: a service has many queries, not one large one.
        self._threads = ThreadPoolExecutor(
            max(4, os.cpu_count() or 1), "query", initializer=_one_thread_each
        )
        self._embedders: dict[str, Embedder] = {}
        for collection in self.collections.values():
            key = collection.model.model_dump_json()
            if key not in self._embedders:
                self._embedders[key] = Embedder(
                    collection.model, load, width=collection.about.dimension
                )
        for collection in self.collections.values():
            # Everybody's first query is in safe mode: its filter is made before.
            self._threads.submit(self._selection, collection, Filter(), True)

    def close(self) -> None:
        """Let go of threads and models."""
        for embedder in self._embedders.values():
            embedder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def collection(self, name: str) -> Collection:
        """By name; empty: the first. RequestError 404 if there is none."""
        if not name:
            return next(iter(self.collections.values()))
        if name not in self.collections:
            raise RequestError(f"there is no index {name!r}", 404)
        return self.collections[name]

    def embedder(self, collection: Collection) -> Embedder:
        """The model that embeds queries for an index."""
        return self._embedders[collection.model.model_dump_json()]

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        """The answer of `/api/search`."""
        collection = self.collection(request.index)
        end = request.offset + request.num
        if end > self.config.max_results:
            raise RequestError(f"offset + num is {end}, the most is {self.config.max_results}")
        vector = await self.vector(collection, request) if request.asks else None
        return await self.in_thread(lambda: self._answer(collection, request, vector))

    async def vector(self, collection: Collection, request: SearchRequest) -> Vectors:
        """The unit vector of a query, (width,)."""
        parts: list[Vectors] = []
        embedder = self.embedder(collection)
        if request.text.strip():
            parts.append(await embedder.text(request.text.strip()))
        pixels = self.config.max_image_pixels
        if request.image:
            parts.append(await embedder.image(image_bytes(request.image), pixels))
        if request.image_url:
            parts.append(await embedder.image(await self._fetch(request.image_url), pixels))
        if request.id is not None:
            parts.append(await self.in_thread(partial(self._vector_of, collection, request.id)))
        if request.embedding:
            parts.append(_unit(request.embedding, collection.about.dimension))
        mean = np.mean(parts, axis=0)
        length = float(np.linalg.norm(mean))
        if length < 1e-6:
            raise RequestError("the parts of the query cancel each other out")
        vector: Vectors = np.asarray(mean / length, np.float32)
        return vector

    def hits(
        self,
        collection: Collection,
        vector: Vectors,
        count: int,
        *,
        wanted: Filter,
        safe: bool,
        deduplicate: bool,
        nprobe: int | None = None,
    ) -> Hits:
        """The nearest `count`, filtered before, for a thread of `in_thread`."""
        return collection.nearest(
            vector,
            count,
            selection=self._selection(collection, wanted, safe),
            nprobe=nprobe,
            duplicates_from=self.config.duplicate_cosine if deduplicate else None,
        )

    def item(self, collection: Collection, number: int) -> dict[str, Any]:
        """All that is known of an item; RequestError 404 if there is none."""
        if not collection.table.has(number):
            raise RequestError(f"there is no item {number} in {collection.name}", 404)
        return self._rows(collection, [number], [None])[0]

    def image(self, collection: Collection, number: int) -> tuple[bytes, str]:
        """An item's stored image and its media type; RequestError 404 if it is not at hand."""
        row = self.item(collection, number)
        found = self.images.get(row["key"]) if self.images else None
        if found is None:
            raise RequestError(f"the image of item {number} is not at hand", 404)
        return found

    async def in_thread(self, task: Callable[[], Result]) -> Result:
        """Run a task of the index in a thread, so that the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, task)

    def _answer(
        self, collection: Collection, request: SearchRequest, vector: Vectors | None
    ) -> dict[str, Any]:
        end = request.offset + request.num
        scores: Sequence[float | None]
        # One more than wanted tells whether there are more.
        if vector is None:
            selection = self._selection(collection, request.filter, request.safe)
            ids = collection.sample(request.seed, end + 1, selection)
            scores = [None] * len(ids)
        else:
            hits = self.hits(
                collection,
                vector,
                end + 1,
                wanted=request.filter,
                safe=request.safe,
                deduplicate=request.deduplicate,
                nprobe=request.nprobe,
            )
            ids, scores = hits.ids, [round(float(score), 4) for score in hits.scores]
        part = slice(request.offset, end)
        return {
            "index": collection.name,
            "results": self._rows(collection, ids[part].tolist(), scores[part]),
            "more": len(ids) > end and end < self.config.max_results,
        }

    def _rows(
        self, collection: Collection, ids: Sequence[int], scores: Sequence[float | None]
    ) -> list[dict[str, Any]]:
        rows = []
        for number, score, row in zip(ids, scores, collection.table.rows(ids), strict=True):
            # `hash` is a signed 64-bit number, which JavaScript would round.
            if "hash" in row:
                row["hash"] = str(row["hash"])
            image = f"/image/{collection.name}/{number}" if self.images else ""
            rows.append({"id": number, "score": score, "image": image, **row})
        return rows

    def _selection(self, collection: Collection, wanted: Filter, safe: bool) -> Selection | None:
        return collection.selection(
            wanted, safe=safe, unsafe_threshold=self.config.unsafe_threshold
        )

    def _vector_of(self, collection: Collection, number: int) -> Vectors:
        try:
            vector: Vectors = collection.vectors([number])[0]
            return vector
        except KeyError:
            raise RequestError(f"there is no item {number} in {collection.name}", 404) from None

    async def _fetch(self, url: str) -> bytes:
        if isinstance(self._web, str):
            raise RequestError(self._web, 403)
        from laion_hpc.web.client import fetch_blocking

        settings = self._web
        answer = await asyncio.to_thread(fetch_blocking, url, settings)
        if answer.reason:
            raise RequestError(f"image_url: that image could not be fetched ({answer.reason})", 422)
        return bytes(answer.body)


def _one_thread_each() -> None:
    import faiss

    faiss.omp_set_num_threads(1)


def _unit(numbers: Sequence[float], width: int) -> Vectors:
    if len(numbers) != width:
        raise RequestError(f"embedding: {len(numbers)} numbers, the index has {width}")
    vector = np.asarray(numbers, np.float64)
    # Scaled first: squares of large numbers would overflow, those of small ones vanish.
    largest = float(np.abs(vector).max())
    if largest == 0:
        raise RequestError("embedding: all zeros point nowhere")
    vector /= largest
    unit: Vectors = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit
