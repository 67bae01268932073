"""The dataset card: README.md with Hugging Face's YAML header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import yaml

from laion_hpc.files.schemas import describe as meaning_of
from laion_hpc.stages.release.columns import SPLITS

WARNING = """\
These are links to images as the open web shows them, with the words that the web put beside
them. Nobody has looked at them one by one. Filters have dropped what a model took for badly
described or for harmful, and every model errs: expect pictures and words that are violent,
sexual, hateful or false, and pictures of people who never agreed to be here. The scores
`punsafe` and `nsfw` help to leave such samples out, and they too miss some. Use the dataset for
research on data and models; do not put it, or a model trained on it, before the public without
safety work of your own. The rights in every image stay with their owners, and the image behind a
link may have changed or gone since."""

DESCRIPTION = (
    "Links to images on the web with their alt texts, found in Common Crawl, kept where CLIP "
    "finds image and text alike, and scored for safety, watermarks and looks."
)

_COLUMN_NOTE = {
    "laion-en": "English texts",
    "laion-multi": "texts in other languages",
    "laion-nolang": "texts without a clear language, often names",
}


@dataclass(frozen=True)
class About:
    """All data of the card and the Croissant file."""

    title: str
    license: str
    contact: str
    subsets: Mapping[str, str]
    """Name -> SQL predicate."""
    statistics: Mapping[str, Any]
    version: str
    digests: Mapping[str, str]
    schemas: Mapping[str, pa.Schema]
    """Folder of the release -> its schema; only folders that hold files."""
    date_published: str = ""
    cite_as: str = ""

    @property
    def description(self) -> str:
        """One sentence."""
        return DESCRIPTION

    @property
    def license_url(self) -> str:
        """Address of the metadata's licence, if it is a Creative Commons one."""
        found = re.fullmatch(r"cc-(by(?:-\w+)*)-(\d\.\d)", self.license)
        if found:
            return f"https://creativecommons.org/licenses/{found[1]}/{found[2]}/"
        if self.license == "cc0-1.0":
            return "https://creativecommons.org/publicdomain/zero/1.0/"
        return self.license


def config_name(folder: str) -> str:
    """Name of a folder in Hugging Face's configs and in Croissant: without `subsets/`."""
    return folder.removeprefix("subsets/")


def text(about: About) -> str:
    """The whole README.md."""
    header = yaml.safe_dump(_header(about), sort_keys=False, allow_unicode=True, width=1_000)
    sections = [
        f"---\n{header}---",
        f"# {about.title}",
        DESCRIPTION,
        f"> **Content warning.** {WARNING}".replace("\n", "\n> "),
        _contents(about),
        _sizes(about),
        _languages(about),
        _use(about),
        _columns(about),
        _provenance(about),
        _citation(about),
        _removal(about),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(about: About) -> dict[str, Any]:
    whole = about.statistics["all"]
    folders = list(about.schemas)
    return {
        "pretty_name": about.title,
        "license": about.license,
        "language": hub_languages([entry["language"] for entry in whole["languages"]]),
        "size_categories": [size_category(whole["count"])],
        "task_categories": ["text-to-image", "image-to-text", "zero-shot-image-classification"],
        "tags": ["image-text-pairs", "web", "common-crawl", "clip", "not-for-all-audiences"],
        "configs": [
            {
                "config_name": config_name(folder),
                "data_files": [{"split": "train", "path": f"{folder}/*.parquet"}],
                **({"default": True} if folder == folders[0] else {}),
            }
            for folder in folders
        ],
    }


def hub_languages(codes: list[str]) -> list[str]:
    """CLD3's codes in the hub's form: ISO 639, sorted, no script, today's code for Hebrew."""
    found = set()
    for code in codes:
        short = code.partition("-")[0]
        if re.fullmatch(r"[a-z]{2,3}", short):
            found.add({"iw": "he"}.get(short, short))
    return sorted(found)


def size_category(count: int) -> str:
    """Hugging Face's size category, such as 1M<n<10M."""
    limits = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M")]
    limits += [(10_000_000, "10M"), (100_000_000, "100M"), (10**9, "1B"), (10**10, "10B")]
    limits += [(10**11, "100B"), (10**12, "1T")]
    below = "n"
    for limit, name in limits:
        if count < limit:
            return f"n<{name}" if below == "n" else f"{below}<n<{name}"
        below = name
    return "n>1T"


def _contents(about: About) -> str:
    lines = ["## Contents", "", "| folder | samples | what |", "|---|--:|---|"]
    for folder in about.schemas:
        name = folder.removesuffix("-joined")
        count = about.statistics[name]["count"]
        if folder.startswith("subsets/"):
            what = f"`{about.subsets.get(config_name(folder), '')}`".replace("|", "\\|")
        elif folder.endswith("-joined"):
            what = f"the same rows with scores and provenance ({_COLUMN_NOTE[name]})"
        else:
            what = _COLUMN_NOTE[name]
        lines.append(f"| `{folder}` | {count:,} | {what} |")
    lines += [
        "",
        "`statistics.json` has the numbers below and many more for every folder, `SHA256SUMS` "
        "the checksums of all files (`sha256sum -c SHA256SUMS`), `manifest.json` the ledger: how "
        "many samples came in, how many were kept and why the others were not.",
    ]
    return "\n".join(lines)


def _sizes(about: About) -> str:
    lines = ["## Numbers", "", "| | " + " | ".join(_counted(about)) + " |"]
    lines.append("|---|" + "--:|" * len(_counted(about)))

    def row(name: str, values: list[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(values) + " |")

    counted = list(_counted(about).values())
    row("samples", [f"{one['count']:,}" for one in counted])
    for side in counted[0]["both_sides_at_least"]:
        row(
            f"both sides ≥ {side}",
            [f"{one['both_sides_at_least'][side]['count']:,}" for one in counted],
        )
    for name, shown in (("width", "width"), ("height", "height"), ("text_length", "text length")):
        row(
            f"{shown}: 5%, median, 95%",
            [
                ", ".join(str(one["quantiles"][name][q]) for q in ("0.05", "0.50", "0.95"))
                for one in counted
            ],
        )
    row("average text length", [f"{one['average_text_length']:.1f}" for one in counted])
    for head, what in (("punsafe", "unsafe"), ("pwatermark", "watermarked")):
        for limit in ("0.5", "0.8"):
            values = [one["heads"].get(head, {}).get("above", {}).get(limit) for one in counted]
            if all(values):
                row(f"{what} (> {limit})", [f"{value['share']:.2%}" for value in values])
    return "\n".join(lines)


def _counted(about: About) -> dict[str, Any]:
    return {
        name: about.statistics[name]
        for name in ("all", *SPLITS.values())
        if about.statistics.get(name, {}).get("count")
    } or {"all": about.statistics["all"] | {"quantiles": _NO_QUANTILES}}


_NO_QUANTILES = {
    name: dict.fromkeys(("0.05", "0.50", "0.95"), "–")
    for name in ("width", "height", "text_length")
}


def _languages(about: About) -> str:
    languages = about.statistics["all"]["languages"][:20]
    if not languages:
        return ""
    shown = ", ".join(f"{one['language']} {one['share']:.1%}" for one in languages)
    return f"Languages, by share of samples: {shown}."


def _use(about: About) -> str:
    if not about.schemas:
        return ""
    folder = next(iter(about.schemas))
    return f"""\
## Use

```python
import duckdb
duckdb.sql("SELECT URL, TEXT FROM '{folder}/*.parquet' WHERE similarity > 0.3 LIMIT 10")

from datasets import load_dataset
load_dataset("FOLDER_OR_REPOSITORY", "{config_name(folder)}", split="train")
```

Images are not part of it; img2dataset fetches them: `img2dataset --url_list {folder} --input_format
parquet --url_col URL --caption_col TEXT --output_format webdataset --output_folder images`."""


def _columns(about: About) -> str:
    lines = ["## Columns", "", "| column | type | meaning |", "|---|---|---|"]
    seen = set()
    for schema in about.schemas.values():
        for field in schema:
            if field.name not in seen:
                seen.add(field.name)
                lines.append(f"| `{field.name}` | {field.type} | {meaning_of(field)} |")
    return "\n".join(lines) if seen else ""


def _provenance(about: About) -> str:
    crawls = [one["crawl"] for one in about.statistics["all"]["crawls"]]
    digests = ", ".join(f"{stage} `{digest}`" for stage, digest in about.digests.items())
    return (
        "## Provenance\n\n"
        f"Made by laion-hpc {about.version} from the crawls {', '.join(crawls) or '–'} of Common "
        f"Crawl; digest of the config: {digests}. Texts are in `TEXT` and links in `URL` exactly "
        "as they were found, white space aside. The licence covers these tables, not the images "
        "they point to."
    )


def _citation(about: About) -> str:
    published = f"Published: {about.date_published}." if about.date_published else ""
    # Four spaces make a block without mark-up.
    cite = "\n".join(f"    {line}".rstrip() for line in about.cite_as.strip().splitlines())
    body = "\n\n".join(part for part in (published, cite) if part)
    return f"## Citation\n\n{body}" if body else ""


def _removal(about: About) -> str:
    if not about.contact:
        return ""
    return (
        "## Removal\n\nIf a picture of you or yours is listed here and should not be, write to "
        f"{about.contact}: it will be taken out of the next version."
    )
