"""Make heads (small networks that read a score from an embedding) for `tag.heads`.

laion-hpc heads import nsfw-autokeras clip_autokeras_binary_nsfw.zip --output models/heads/punsafe
laion-hpc heads import aesthetic sac+logos+ava1-l14-linearMSE.pth --output models/heads/aesthetic
laion-hpc heads show models/heads/punsafe

Kinds: nsfw-autokeras and nsfw-h14 (column punsafe), aesthetic (v1 and v2), violence (pviolence),
watermark (pwatermark; it reads images). The files are LAION's: CLIP-based-NSFW-Detector,
aesthetic-predictor, LAION-5B-WatermarkDetection at github.com/LAION-AI, and
improved-aesthetic-predictor. `laion-hpc models fetch` does all this for the heads of a config.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    part = actions.add_parser("import", help="convert a published file")
    part.add_argument("kind", help="nsfw-autokeras, nsfw-h14, aesthetic, violence or watermark")
    part.add_argument("file", type=Path, help="the published file")
    part.add_argument("--output", type=Path, required=True, help="folder of the new head")
    part = actions.add_parser("show", help="check a head and describe it")
    part.add_argument("folder", help="folder of the head")


def run(options: argparse.Namespace) -> int:
    """Import or show a head."""
    if options.action == "import":
        from laion_hpc.tag.import_published import import_head

        description = import_head(options.kind, options.file, options.output)
        print(f"{options.output}: {description.name}, column {description.column}")
        return 0
    from laion_hpc.tag.heads import load_head

    head = load_head(options.folder)
    for key, value in head.description.model_dump().items():
        print(f"{key}: {value}")
    print(f"layers: {' -> '.join(str(n) for n in (w.shape[0] for w in head.weights))}")
    return 0
