"""The release in Croissant 1.0 (JSON-LD), as mlcroissant reads it.

mlcroissant needs `conformsTo`, an `encodingFormat` for every file set and a `dataType` for every
field. Files are described as sets: their checksums are in SHA256SUMS.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from laion_hpc.files.schemas import describe as meaning_of
from laion_hpc.stages.release.card import About, config_name

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The JSON-LD context that the Croissant 1.0 specification prescribes."""


def describe(about: About) -> dict[str, Any]:
    """The whole JSON-LD document: one file set and one record set per folder of the release."""
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": about.title,
        "description": about.description,
        "license": about.license_url,
        "version": _semantic(about.version),
        "isLiveDataset": False,
        "distribution": [_file_set(folder) for folder in about.schemas],
        "recordSet": [_record_set(folder, schema) for folder, schema in about.schemas.items()],
    }
    # Recommended by the specification; only the publisher knows them.
    for name, value in (("datePublished", about.date_published), ("citeAs", about.cite_as)):
        if value:
            document[name] = value
    if about.contact.startswith(("https://", "http://")):
        document["url"] = about.contact
    return document


def _semantic(version: str) -> str:
    return ".".join([*version.split("."), "0", "0"][:3])


def _file_set(folder: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{config_name(folder)}-files",
        "name": f"{config_name(folder)}-files",
        "description": f"The parquet parts in {folder}/.",
        "encodingFormat": "application/x-parquet",
        "includes": f"{folder}/*.parquet",
    }


def _record_set(folder: str, schema: pa.Schema) -> dict[str, Any]:
    name = config_name(folder)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"One record per image-text pair of {name}.",
        "field": [_field(name, field) for field in schema],
    }


def _field(record_set: str, field: pa.Field[Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{field.name}",
        "name": field.name,
        "description": meaning_of(field),
        "dataType": _data_type(field),
        "source": {
            "fileSet": {"@id": f"{record_set}-files"},
            "extract": {"column": field.name},
        },
    }


def _data_type(field: pa.Field[Any]) -> str:
    if field.name in ("URL", "page_url"):
        return "sc:URL"
    if pa.types.is_boolean(field.type):
        return "sc:Boolean"
    if pa.types.is_integer(field.type):
        return "sc:Integer"
    if pa.types.is_floating(field.type):
        return "sc:Float"
    return "sc:Text"
