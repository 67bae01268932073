"""Make heads (small networks that read a score from an embedding) for `tag.heads`.

laion-hpc heads import nsfw-autokeras clip_autokeras_binary_nsfw.zip --output models/heads/punsafe
laion-hpc heads import aesthetic sac+logos+ava1-l14-linearMSE.pth --output models/heads/aesthetic
laion-hpc heads train results/CRAWL/embed/0000 labels.csv --output models/heads/pmeme
laion-hpc heads evaluate models/heads/punsafe results/CRAWL/embed/0000 labels.csv
laion-hpc heads show models/heads/punsafe

Kinds to import: nsfw-autokeras and nsfw-h14 (column punsafe), aesthetic (v1 and v2), violence
(pviolence), watermark (pwatermark; it reads images). The files are LAION's:
CLIP-based-NSFW-Detector, aesthetic-predictor, LAION-5B-WatermarkDetection at github.com/LAION-AI,
and improved-aesthetic-predictor. `laion-hpc models fetch` does all this for the heads of a config.

To train: embeddings of `embed` or clip-retrieval (a folder), a .npy or a .parquet; labels in a
.csv or .parquet with the columns key and label, or without key row for row. Labels 0 and 1 make a
head of probabilities, other labels a head of values. docs/heads.md tells more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laion_hpc.runtime import console
from laion_hpc.runtime.arguments import add_config

if TYPE_CHECKING:
    from laion_hpc.heads.examples import Columns, Examples
    from laion_hpc.heads.train import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    part = actions.add_parser("import", help="convert a published file")
    part.add_argument("kind", help="nsfw-autokeras, nsfw-h14, aesthetic, violence or watermark")
    part.add_argument("file", type=Path, help="the published file")
    part.add_argument("--output", type=Path, required=True, help="folder of the new head")

    part = actions.add_parser("train", help="train a head on labelled embeddings")
    _add_examples(part)
    part.add_argument("--output", type=Path, required=True, help="folder of the new head")
    part.add_argument("--column", help="column of the tags (default: the folder's name)")
    part.add_argument(
        "--space", help="the embeddings' model, such as ViT-L-14/openai (default: the config's)"
    )
    add_config(part)
    part.add_argument("--licence", default="not stated", help="of the labels, for head.json")
    part.add_argument("--source", default="", help="where the labels are from, for head.json")
    part.add_argument(
        "--held-out", type=float, metavar="N", help="share, or number, not trained on (0.1)"
    )
    part.add_argument("--layers", metavar="N,N", help="64,512,256 for 0/1, else 1024,128,64,16")
    part.add_argument("--activation", choices=("relu", "none"), help="relu for 0/1, else none")
    part.add_argument("--no-balance", dest="balance", action="store_const", const=False,
                      help="do not weigh the rarer class more")  # fmt: skip
    part.add_argument("--no-standardise", dest="standardise", action="store_const", const=False,
                      help="use the embeddings as they are")  # fmt: skip
    part.add_argument("--threshold", type=float, metavar="P", help="score that means yes (0.5)")
    part.add_argument("--epochs", type=int, metavar="N", help="passes over the samples (20)")
    part.add_argument("--batch", type=int, metavar="N", help="samples per step (512)")
    part.add_argument("--rate", type=float, metavar="R", help="highest learning rate (0.002)")
    part.add_argument("--weight-decay", type=float, metavar="W", help="of AdamW (0.01)")
    part.add_argument("--dropout", type=float, metavar="P", help="between layers (0.1)")
    part.add_argument("--seed", type=int, metavar="S", help="of split, weights and order (0)")
    part.add_argument("--device", choices=("auto", "cpu", "cuda"), help="auto")

    part = actions.add_parser("evaluate", help="measure a head on labelled embeddings")
    part.add_argument("folder", help="folder of the head")
    _add_examples(part)
    part.add_argument("--output", type=Path, metavar="FILE.json", help="write the report there")

    part = actions.add_parser("show", help="check a head and describe it")
    part.add_argument("folder", help="folder of the head")


def _add_examples(part: argparse.ArgumentParser) -> None:
    part.add_argument("embeddings", type=Path, help="folder of embeddings, .npy or .parquet")
    part.add_argument("labels", type=Path, help=".csv or .parquet")
    part.add_argument("--label", default="label", metavar="COLUMN", help="of the labels (label)")
    part.add_argument("--key", default="key", metavar="COLUMN", help="of the sample keys (key)")
    part.add_argument(
        "--split", default="", metavar="COLUMN", help="has `train` or `held-out` for each row"
    )


def run(options: argparse.Namespace) -> int:
    actions = {"import": _import, "train": _train, "evaluate": _evaluate, "show": _show}
    actions[options.action](options)
    return 0


def _import(options: argparse.Namespace) -> None:
    from laion_hpc.heads.import_published import import_head

    description = import_head(options.kind, options.file, options.output)
    console.out(f"{options.output}: {description.name}, column {description.column}")


def _train(options: argparse.Namespace) -> None:
    from laion_hpc.heads import job, measure

    trained, examples = job.train(
        options.embeddings,
        options.labels,
        options.output,
        _columns(options),
        _settings(options),
        column=options.column or options.output.name,
        space=options.space,
        config=options.config,
        licence=options.licence,
        source=options.source,
    )
    console.out(_told(examples))
    console.out(f"held out\n{measure.show(trained.report['held_out'])}")
    made = trained.description
    console.say(f"{options.output}: {made.name}, column {made.column}")


def _evaluate(options: argparse.Namespace) -> None:
    from laion_hpc.heads import job, measure

    report, examples = job.evaluate(
        options.folder, options.embeddings, options.labels, _columns(options), options.output
    )
    console.out(_told(examples))
    console.out(measure.show(report))


def _show(options: argparse.Namespace) -> None:
    from laion_hpc.heads.head import load_head

    head = load_head(options.folder)
    for key, value in head.description.model_dump().items():
        console.out(f"{key}: {value}")
    console.out(f"layers: {' -> '.join(str(n) for n in (w.shape[0] for w in head.weights))}")


def _columns(options: argparse.Namespace) -> Columns:
    from laion_hpc.heads.examples import Columns

    return Columns(label=options.label, key=options.key, split=options.split)


def _settings(options: argparse.Namespace) -> Settings:
    from laion_hpc.errors import UsageError
    from laion_hpc.heads.fit import Schedule
    from laion_hpc.heads.train import Settings

    def given(*names: str) -> dict[str, Any]:
        return {n: getattr(options, n) for n in names if getattr(options, n) is not None}

    chosen = given(
        "held_out", "activation", "balance", "standardise", "threshold", "dropout", "seed", "device"
    )
    chosen["schedule"] = Schedule(**given("epochs", "batch", "rate", "weight_decay"))
    if options.layers is not None:
        try:
            chosen["layers"] = tuple(int(n) for n in options.layers.split(",") if n)
        except ValueError:
            raise UsageError(f"--layers {options.layers}: numbers such as 64,512,256") from None
    return Settings(**chosen)


def _told(examples: Examples) -> str:
    dropped = "".join(f", {n:,} {reason}" for reason, n in examples.dropped.items())
    return f"labels: {examples.inputs:,}; used {len(examples.labels):,}{dropped}"
