"""`heads train` and `heads evaluate`: files in, a head's folder or a report out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from laion_hpc.config import load as load_config
from laion_hpc.errors import UsageError
from laion_hpc.files.atomic import write_bytes
from laion_hpc.heads import measure
from laion_hpc.heads.examples import Columns, Examples, read_examples
from laion_hpc.heads.head import load_head, write_head
from laion_hpc.heads.spaces import space_of_embeddings
from laion_hpc.heads.train import Settings, Trained, train_head
from laion_hpc.heads.train import evaluate as measure_head

REPORT = "report.json"


def train(
    embeddings: Path,
    labels: Path,
    output: Path,
    columns: Columns,
    settings: Settings,
    *,
    column: str,
    space: str | None = None,
    config: str | None = None,
    licence: str = "not stated",
    source: str = "",
) -> tuple[Trained, Examples]:
    """Train a head on files and write its folder, with the report beside it.

    `space`: of the embeddings; default: that of the config's `embed.model`. UsageError or
    InputError names a fault before anything is written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", column):
        raise UsageError(
            f"--column {column}: lower-case letters, digits and _ only; it is a column of the tags"
        )
    if not space:
        space = space_of_embeddings(embeddings, load_config(config))
    examples = read_examples(embeddings, labels, columns)
    trained = train_head(
        examples, settings, column=column, space=space, licence=licence,
        source=source or f"laion-hpc heads train on {labels.name}",
    )  # fmt: skip
    write_head(trained.description, trained.tensors, output)
    _write(trained.report, output / REPORT)
    return trained, examples


def evaluate(
    head: str, embeddings: Path, labels: Path, columns: Columns, output: Path | None = None
) -> tuple[dict[str, Any], Examples]:
    """Measure a head on files; if the table has a split, on the rows held out."""
    loaded = load_head(head)
    if loaded.description.image is not None:
        raise UsageError(f"{head}: reads images, not embeddings; it cannot be measured here")
    examples = read_examples(embeddings, labels, columns)
    width = examples.embeddings.shape[1]
    if width != loaded.description.width:
        raise UsageError(
            f"{head} reads embeddings of {loaded.description.space} "
            f"({loaded.description.width} numbers); those in {embeddings} have {width}"
        )
    report = measure.rounded(measure_head(loaded, examples, examples.held_out))
    if output is not None:
        _write(report, output)
    return report, examples


def _write(report: dict[str, Any], path: Path) -> None:
    write_bytes(path, (json.dumps(report, indent=1) + "\n").encode())
