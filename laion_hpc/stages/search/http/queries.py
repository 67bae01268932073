"""The checked requests of our own API, such as that of `/api/search`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from laion_hpc.stages.search.faults import RequestError
from laion_hpc.stages.search.knn.filters import Filter, Number

Model = TypeVar("Model", bound=BaseModel)
Id = Annotated[int, Field(ge=0, lt=2**53)]


class Example(BaseModel):
    """What results should be like: a text, an image, an item or a vector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field("", max_length=2_000, description="In any language the model knows.")
    image: str = Field("", description="Base64 of an image file, or a data: URL of one.")
    image_url: str = Field("", max_length=4_000, description="http(s) address of an image.")
    id: Id | None = Field(None, description="An item of the index, to find more like it.")
    embedding: tuple[Number, ...] = Field((), max_length=8_192, description="A vector.")

    @property
    def says(self) -> bool:
        """True if any of them is given."""
        return bool(
            self.text.strip()
            or self.image
            or self.image_url
            or self.id is not None
            or self.embedding
        )


class WeightedExample(Example):
    """One part of a query and how much it counts."""

    weight: float = Field(
        1.0, ge=-100, le=100, allow_inf_nan=False, description="Below 0: less like this."
    )


UNLIKE = -0.5
"""Weight of "less like this": half of "more like this", so that the positive examples lead
(Rocchio)."""


def parts_of(like: Sequence[int], unlike: Sequence[int]) -> tuple[WeightedExample, ...]:
    """Items as examples and counter-examples; RequestError for an invalid id."""
    try:
        return tuple(WeightedExample(id=number) for number in like) + tuple(
            WeightedExample(id=number, weight=UNLIKE) for number in unlike
        )
    except ValidationError:
        raise RequestError("an id is a number of at least 0, as shown on the search page") from None


class SearchRequest(Example):
    """A query and what its results must be like.

    If several of text, image, image_url, id, embedding and parts are given, their vectors are
    added, each with its weight (1 outside of parts). If none is given, the results are a random
    sample by `seed`.
    """

    index: str = Field("", max_length=200, description="Name of the index; empty: the first.")
    parts: tuple[WeightedExample, ...] = Field(
        (), max_length=32, description="More like these, less like those (negative weights)."
    )
    filter: Filter = Field(Filter(), description="Conditions on the results.")
    safe: bool = Field(True, description="Hide images that are likely unsafe, or have no score.")
    deduplicate: bool = Field(False, description="Leave near-duplicates out.")
    num: int = Field(60, ge=1, description="Results wanted.")
    offset: int = Field(0, ge=0, description="Results to skip.")
    nprobe: int | None = Field(
        None, ge=1, le=2**20, description="Cells to visit; default: as measured for the index."
    )
    seed: int = Field(0, ge=0, lt=2**53, description="Of the random sample.")

    @property
    def asks(self) -> bool:
        """False if a random sample is wanted."""
        return self.says or any(part.says and part.weight for part in self.parts)


class ExportRequest(BaseModel):
    """Rows to write to a file: the items of a basket, or what a query finds.

    The query's own `num` and `offset` are ignored: this request's `num` best rows are written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["parquet", "txt", "tar"] = Field(
        "parquet", description="A table, a list of URLs, or a webdataset of images at hand."
    )
    index: str = Field("", max_length=200, description="Of the ids; empty: the first.")
    ids: tuple[Id, ...] = Field((), max_length=1_000_000, description="Items, in this order.")
    query: SearchRequest | None = Field(None, description="A search instead.")
    num: int = Field(1_000, ge=1, description="At most this number of rows of a query.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.query is None) == (not self.ids):
            raise ValueError("give either ids or a query")
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("ids: the same item twice")
        return self


def parse(kind: type[Model], body: bytes) -> Model:
    """A JSON body as a model; RequestError that names the field at fault.

    The content type is ignored: clip-retrieval's client sends none.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False, include_context=False)[:5]:
            field = ".".join(str(part) for part in fault["loc"])
            faults.append(f"{field}: {fault['msg']}" if field else fault["msg"])
        raise RequestError("; ".join(faults)) from None


def image_bytes(text: str) -> bytes:
    """The bytes of an image given as base64 or as a data: URL."""
    _, comma, payload = text.partition(",")
    try:
        return base64.b64decode(payload if comma else text, validate=False)
    except (binascii.Error, ValueError):
        raise RequestError("image: not base64") from None
