"""clip-retrieval's HTTP contract, so that its `ClipClient` and front end work on our index."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.http.queries import Id, SearchRequest
from laion_hpc.stages.search.knn.collection import CAPTIONS
from laion_hpc.stages.search.knn.filters import Filter, Number
from laion_hpc.stages.search.service import Service


class KnnRequest(BaseModel):
    """The body of `/knn-service`. Unknown fields are ignored, as in clip-retrieval.

    `use_mclip`, `use_violence_detector`, `aesthetic_score` and `aesthetic_weight` are accepted but
    have no effect: the index has one text tower, and its scores come from `tag`.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Annotated[str, Field(max_length=2_000)] | None = None
    image: str | None = None
    image_url: Annotated[str, Field(max_length=4_000)] | None = None
    embedding_input: Annotated[tuple[Number, ...], Field(max_length=8_192)] | None = None
    modality: str = "image"
    num_images: Annotated[int, Field(ge=0)] = 100
    num_result_ids: Annotated[int, Field(ge=0)] | None = None
    indice_name: Annotated[str, Field(max_length=200)] | None = ""
    deduplicate: bool | None = False
    use_safety_model: bool | None = True


class MetadataRequest(BaseModel):
    """The body of `/metadata`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ids: Annotated[tuple[Id, ...], Field(max_length=10_000)]
    indice_name: Annotated[str, Field(max_length=200)] | None = ""


async def knn(service: Service, request: KnnRequest) -> list[dict[str, Any]]:
    """The answer of `/knn-service`: the first `num_images` rows have metadata, the rest have
    none."""
    query = SearchRequest(
        index=_index(service, request),
        text=request.text or "",
        image=request.image or "",
        image_url=request.image_url or "",
        embedding=request.embedding_input or (),
    )
    if not query.asks:
        raise RequestError("give one of text, image, image_url and embedding_input")
    collection = service.collection(query.index)
    # The front end always asks for 3,000 ids: it gets at most what is allowed.
    most = service.config.max_results
    shown = min(request.num_images, most)
    count = min(max(shown, request.num_result_ids or shown), most)
    vector = await service.vector(collection, query)

    def answer() -> list[dict[str, Any]]:
        if count == 0:
            return []
        hits = service.hits(
            collection,
            vector,
            count,
            wanted=Filter(),
            safe=request.use_safety_model is not False,
            deduplicate=bool(request.deduplicate),
        )
        ids = hits.ids.tolist()
        rows = collection.table.rows(ids[:shown])
        rows += [{}] * (len(ids) - len(rows))
        return [
            # `similarity` is the cosine with the query, as in clip-retrieval.
            {**row, "id": number, "similarity": float(score)}
            for row, number, score in zip(rows, ids, hits.scores, strict=True)
        ]

    return await service.in_thread(answer)


def _index(service: Service, request: KnnRequest) -> str:
    """The index for a modality: in clip-retrieval, one index holds both images and texts."""
    name = request.indice_name or ""
    if request.modality == "image":
        return name
    if request.modality != "text":
        raise RequestError("modality: image or text")
    of_texts = service.collection(name).name + CAPTIONS
    if of_texts not in service.collections:
        raise RequestError("modality: there is no index of the texts; make one with index.text")
    return of_texts


async def metadata(service: Service, request: MetadataRequest) -> list[dict[str, Any]]:
    """The answer of `/metadata`; RequestError 404 for an id that is not there."""
    collection = service.collection(request.indice_name or "")

    def answer() -> list[dict[str, Any]]:
        try:
            rows = collection.table.rows(request.ids)
        except KeyError as error:
            raise RequestError(f"ids: there is no item {error.args[0]}", 404) from None
        return [
            {"id": number, "metadata": row} for number, row in zip(request.ids, rows, strict=True)
        ]

    return await service.in_thread(answer)
