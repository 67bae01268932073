"""Answers queries: finds their vector, searches, and lays out the results."""

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
from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.http.queries import Example, SearchRequest, image_bytes
from laion_hpc.stages.search.knn.collection import Collection
from laion_hpc.stages.search.knn.embedder import Embedder, Load
from laion_hpc.stages.search.knn.filters import Condition, Filter, Selection
from laion_hpc.stages.search.knn.histograms import EDGES, spread
from laion_hpc.stages.search.knn.nearest import Hits
from laion_hpc.stages.search.knn.predicate import as_sql
from laion_hpc.stages.search.thumbnails import Thumbnails

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
        ahead: bool = True,
    ) -> None:
        """`web`: how to fetch an image, or why URLs are refused. `ahead`: load the models and make
        the filter of safe mode now, before the first query."""
        self.collections = dict(collections)
        self._load = load
        self.config = config
        self.images = images
        self._web = web
        # One thread per query: a service has many queries, not one large one.
        self._threads = ThreadPoolExecutor(
            max(4, os.cpu_count() or 1), "query", initializer=_one_thread_each
        )
        self._embedders: dict[str, Embedder] = {}
        if ahead:
            for collection in self.collections.values():
                self.embedder(collection)
                # Everybody's first query is in safe mode.
                self._threads.submit(self.selection, collection, Filter(), True)

    def close(self) -> None:
        """End the threads and free the models."""
        for embedder in self._embedders.values():
            embedder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def collection(self, name: str) -> Collection:
        """The index of this name; empty: the first. RequestError 404 if there is none."""
        if not name:
            return next(iter(self.collections.values()))
        if name not in self.collections:
            raise RequestError(f"there is no index {name!r}", 404)
        return self.collections[name]

    def embedder(self, collection: Collection) -> Embedder:
        """The model that embeds queries for an index."""
        key = collection.model.model_dump_json()
        if key not in self._embedders:
            self._embedders[key] = Embedder(
                collection.model, self._load, width=collection.about.dimension
            )
        return self._embedders[key]

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        """The answer of `/api/search`."""
        collection = self.collection(request.index)
        end = request.offset + request.num
        if end > self.config.max_results:
            raise RequestError(f"offset + num is {end}, the most is {self.config.max_results}")
        vector = await self.vector(collection, request) if request.asks else None
        return await self.in_thread(lambda: self._answer(collection, request, vector))

    async def vector(self, collection: Collection, request: SearchRequest) -> Vectors:
        """The unit vector of a query, (width,): the weighted sum of its parts."""
        total = np.zeros(collection.about.dimension)
        for vector in await self._vectors(collection, request):
            total += vector
        for part in request.parts:
            for vector in await self._vectors(collection, part):
                total += part.weight * vector
        length = float(np.linalg.norm(total))
        if length < 1e-6:
            raise RequestError("the parts of the query cancel each other out")
        unit: Vectors = np.asarray(total / length, np.float32)
        return unit

    async def _vectors(self, collection: Collection, example: Example) -> list[Vectors]:
        found: list[Vectors] = []
        pixels = self.config.max_image_pixels
        if example.text.strip():
            found.append(await self.embedder(collection).text(example.text.strip()))
        if example.image:
            data = image_bytes(example.image)
            found.append(await self.embedder(collection).image(data, pixels))
        if example.image_url:
            data = await self._fetch(example.image_url)
            found.append(await self.embedder(collection).image(data, pixels))
        if example.id is not None:
            found.append(await self.in_thread(partial(self._vector_of, collection, example.id)))
        if example.embedding:
            found.append(_unit(example.embedding, collection.about.dimension))
        return found

    async def found(
        self,
        collection: Collection,
        request: SearchRequest,
        count: int | None,
        *,
        where: Sequence[Condition] = (),
    ) -> Hits:
        """The best `count` items for a query; for an empty query, a random sample.

        `where`: further conditions on the metadata. A sample's scores are NaN. If `count` is None:
        all items that pass the filters, best first, or by id for an empty query.
        """
        vector = await self.vector(collection, request) if request.asks else None
        return await self.in_thread(lambda: self._found(collection, request, vector, count, where))

    def _found(
        self,
        collection: Collection,
        request: SearchRequest,
        vector: Vectors | None,
        count: int | None,
        where: Sequence[Condition] = (),
    ) -> Hits:
        selection = self.selection(collection, request.filter, request.safe, where)
        if vector is not None:
            return collection.nearest(
                vector,
                collection.count if count is None else count,
                selection=selection,
                nprobe=request.nprobe,
                duplicates_from=self.config.duplicate_cosine if request.deduplicate else None,
            )
        if count is None:
            ids = collection.all_ids() if selection is None else selection.ids()
        else:
            ids = collection.sample(request.seed, count, selection)
        return Hits(ids, np.full(len(ids), np.nan, np.float32))

    def basket(self, collection: Collection, ids: Sequence[int]) -> Hits:
        """These items, in this order, without scores; RequestError 404 for a missing one."""
        for number in ids:
            if not collection.table.has(number):
                raise RequestError(f"there is no item {number} in {collection.name}", 404)
        return Hits(np.array(ids, np.int64), np.full(len(ids), np.nan, np.float32))

    async def histograms(self, request: SearchRequest) -> dict[str, Any]:
        """The answer of `/api/histograms`: the distributions of the best results' numbers."""
        collection = self.collection(request.index)
        hits = await self.found(collection, request, self.config.max_results)
        return await self.in_thread(lambda: self._histograms(collection, hits))

    def _histograms(self, collection: Collection, hits: Hits) -> dict[str, Any]:
        ids, columns = hits.ids.tolist(), collection.table.columns
        edges = {"similarity": collection.similarity_edges} | EDGES
        found = {
            name: spread(edges[name], collection.table.numbers(ids, name))
            for name in edges
            if name in columns
        }
        if "width" in columns and "height" in columns:
            sides = [collection.table.numbers(ids, side) for side in ("width", "height")]
            found["size"] = spread(edges["size"], np.minimum(*sides))
        return {"index": collection.name, "counted": len(ids), "columns": found}

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
        """The nearest `count`, filtered first; runs in a thread of `in_thread`."""
        return collection.nearest(
            vector,
            count,
            selection=self.selection(collection, wanted, safe),
            nprobe=nprobe,
            duplicates_from=self.config.duplicate_cosine if deduplicate else None,
        )

    def item(self, collection: Collection, number: int) -> dict[str, Any]:
        """All metadata of an item; RequestError 404 if there is none."""
        if not collection.table.has(number):
            raise RequestError(f"there is no item {number} in {collection.name}", 404)
        return self._rows(collection, [number], [None])[0]

    def image(self, collection: Collection, number: int) -> tuple[bytes, str]:
        """An item's stored image and its media type; RequestError 404 if there is none."""
        row = self.item(collection, number)
        found = self.images.get(row["key"]) if self.images else None
        if found is None:
            raise RequestError(f"this server does not have the image of item {number}", 404)
        return found

    async def in_thread(self, task: Callable[[], Result]) -> Result:
        """Run a task of the index in a thread, so that the event loop is not blocked."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, task)

    def _answer(
        self, collection: Collection, request: SearchRequest, vector: Vectors | None
    ) -> dict[str, Any]:
        end = request.offset + request.num
        # One more than needed shows whether there are more.
        hits = self._found(collection, request, vector, end + 1)
        part = slice(request.offset, end)
        scores = [None if vector is None else round(float(score), 4) for score in hits.scores[part]]
        return {
            "index": collection.name,
            "results": self._rows(collection, hits.ids[part].tolist(), scores),
            "more": len(hits.ids) > end and end < self.config.max_results,
            "where": as_sql(request.filter),
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

    def selection(
        self,
        collection: Collection,
        wanted: Filter,
        safe: bool,
        where: Sequence[Condition] = (),
    ) -> Selection | None:
        """The ids that a filter (and further conditions) allow; None for all."""
        return collection.selection(
            wanted, safe=safe, unsafe_threshold=self.config.unsafe_threshold, where=where
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
    # Scaled first: squares of large numbers overflow, and squares of small ones become 0.
    largest = float(np.abs(vector).max())
    if largest == 0:
        raise RequestError("embedding: it is all zeros")
    vector /= largest
    unit: Vectors = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit
