"""What our own API takes: the request of `/api/search`, checked."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from laion_hpc.search.faults import RequestError
from laion_hpc.search.filters import Filter, Number

Model = TypeVar("Model", bound=BaseModel)
Id = Annotated[int, Field(ge=0, lt=2**53)]


class SearchRequest(BaseModel):
    """A query and what its results must be like.

    Several of text, image, image_url, id and embedding together are a query for all of them:
    their vectors are averaged. None of them: a random sample that `seed` stands for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: str = Field("", max_length=200, description="Name of the index; empty: the first.")
    text: str = Field("", max_length=2_000, description="In any language the model knows.")
    image: str = Field("", description="Base64 of an image file, or a data: URL of one.")
    image_url: str = Field("", max_length=4_000, description="http(s) address of an image.")
    id: Id | None = Field(None, description="An item of the index: more like it.")
    embedding: tuple[Number, ...] = Field((), max_length=8_192, description="A vector.")
    filter: Filter = Field(Filter(), description="What results must fulfil.")
    safe: bool = Field(True, description="Hide what is likely unsafe, or never scored.")
    deduplicate: bool = Field(False, description="Leave near-duplicates out.")
    num: int = Field(60, ge=1, description="Results wanted.")
    offset: int = Field(0, ge=0, description="Results to skip.")
    nprobe: int | None = Field(
        None, ge=1, le=2**20, description="Cells to visit; left out: as measured for the index."
    )
    seed: int = Field(0, ge=0, lt=2**53, description="Of the random sample.")

    @property
    def asks(self) -> bool:
        """False if a random sample is wanted."""
        return bool(
            self.text.strip()
            or self.image
            or self.image_url
            or self.id is not None
            or self.embedding
        )


def parse(kind: type[Model], body: bytes) -> Model:
    """A JSON body as a model; RequestError that names the field at fault.

    The content type is not looked at: clip-retrieval's client sends none.
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
