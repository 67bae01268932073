"""What lies in an index folder and how a vector's id leads to it: shared by `index` and `search`.

    image.index        the trained index with its lists' table; opens image.ivfdata beside it
    image.ivfdata      the inverted lists: codes and ids, memory-mapped
    image.places.npy   (count, 2) uint32: list and offset of every vector, in the order of ids
    metadata/0007.arrow  one row per vector of block 7, in the order of rows
    index.json         `About`: key, width, blocks, the model that made the vectors
    evaluation.json    measured recall and the search parameters that follow from it
    evaluation.svg     the same as a plot
    text/              the same of the texts' embeddings, if there is one: text.index, text.ivfdata,
                       text.places.npy, index.json, evaluation.json; ids and metadata are shared

Nothing in it holds a path: the folder can be moved or copied.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from laion_hpc.errors import InputError
from laion_hpc.files.atomic import write_bytes

Modality = Literal["image", "text"]
TEXT = "text"
"""Folder of the index of the texts, inside that of the images."""
PREFIX: dict[Modality, str] = {"image": "img_emb", "text": "text_emb"}
"""Folder of `embed`'s shards of a modality, and the first part of their names."""
ABOUT = "index.json"
EVALUATION = "evaluation.json"
METADATA = "metadata"
ROW_BITS = 32
FORMAT = "with about"
"""Of the ledgers of `index`: what has one of another format is made again."""
BATCH_ROWS = 65_536
"""Rows of a record batch in the metadata (the last may be shorter): row r is in batch r // this."""


@dataclass(frozen=True)
class Names:
    """Names of an index's files in its folder."""

    index: str
    lists: str
    places: str


def names_of(modality: Modality) -> Names:
    """The files of an index of images or of texts."""
    return Names(f"{modality}.index", f"{modality}.ivfdata", f"{modality}.places.npy")


INDEX = names_of("image").index
PLACES = names_of("image").places


def vector_id(block: int, row: int) -> int:
    """The id of a vector: `block · 2³² + row`, the same for ever. Below 2⁵³: JSON keeps it."""
    return (block << ROW_BITS) | row


def block_and_row(number: int) -> tuple[int, int]:
    """The block and the row that an id names."""
    return number >> ROW_BITS, number & ((1 << ROW_BITS) - 1)


def metadata_name(block: int) -> str:
    """Name of a block's metadata, relative to the index folder."""
    return f"{METADATA}/{block:04d}.arrow"


@dataclass(frozen=True)
class BlockAbout:
    """One block of an index."""

    block: int
    vectors: int
    embeddings: str
    """Fingerprint of the embeddings that were added."""


@dataclass(frozen=True)
class About:
    """index.json."""

    key: str
    """faiss factory key."""
    dimension: int
    count: int
    metric: str
    """Always inner_product: of unit vectors, the cosine."""
    model: dict[str, Any]
    """`ModelConfig` of the model that made the vectors, and must embed the queries."""
    trained: str
    """Fingerprint of the trained index that the blocks were added to."""
    blocks: tuple[BlockAbout, ...]
    modality: Modality = "image"
    """What the vectors are of."""

    @property
    def names(self) -> Names:
        """Its files in the folder."""
        return names_of(self.modality)

    def write(self, folder: Path) -> None:
        """Write index.json into the folder."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        write_bytes(folder / ABOUT, (text + "\n").encode())


def read_about(folder: Path) -> About:
    """Read index.json; InputError if the folder holds no finished index."""
    path = folder / ABOUT
    try:
        data = json.loads(path.read_bytes())
        blocks = tuple(BlockAbout(**entry) for entry in data.pop("blocks"))
        return About(blocks=blocks, **data)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder}: no {ABOUT} there; give a folder made by `index merge`"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not the description of an index ({error})") from None


def open_index(folder: Path) -> Any:
    """The merged index, its lists memory-mapped read-only; InputError if it is not whole."""
    import faiss

    path = folder / read_about(folder).names.index
    flags = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError:
        raise InputError(f"{path}: not a whole index; run `index merge` again") from None
