"""Draw the pictures of the documentation: the flow of jobs and the house.

  python scripts/draw_docs.py        writes docs/images/flow.svg and docs/images/house.svg

Both come from what the program itself uses: the table of jobs (laion_hpc/run/jobs.py), and the
layers that import-linter holds (pyproject.toml) with the first line of each package's docstring.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

from laion_hpc.run.jobs import BY_NAME, RULES, Rule

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"

WIDTH, HEIGHT, GAP = 172, 44, 26
"""Of a box of the flow, and the space below it, pixels."""

HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
    'aria-label="{label}" font-family="system-ui, sans-serif" font-size="13">\n'
    "<style>.box{{fill:#eef3f8;stroke:#5b7fa6}}.gpu{{fill:#e6f2e6;stroke:#5a8f5a}}"
    ".line{{fill:none;stroke:#8a97a5;stroke-width:1.2}}.small{{font-size:11px;fill:#56616d}}"
    "text{{fill:#1f2a35}}.name{{font-weight:600}}</style>\n"
)


def shown() -> list[Rule]:
    """The rules of the picture: the index of the texts looks like that of the images."""
    return [rule for rule in RULES if not rule.name.startswith("index_text")]


def depth(rule: Rule) -> int:
    """The length of the longest way from the first rule."""
    return max((1 + depth(BY_NAME[need]) for need in rule.needs), default=0)


def direct(rule: Rule) -> list[str]:
    """What a rule needs, less what it has through another need: fewer lines say the same."""
    return [n for n in rule.needs if not any(n in ancestors(BY_NAME[o]) for o in rule.needs)]


def ancestors(rule: Rule) -> set[str]:
    """All rules that have run before it."""
    return set(rule.needs).union(*(ancestors(BY_NAME[need]) for need in rule.needs))


def places(rules: list[Rule]) -> dict[str, tuple[float, float]]:
    """Upper left corners of the boxes: one row for each depth, centred."""
    rows: dict[int, list[Rule]] = {}
    for rule in rules:
        rows.setdefault(depth(rule), []).append(rule)
    widest = max(map(len, rows.values()))
    found: dict[str, tuple[float, float]] = {}
    for row, members in rows.items():
        left = (widest - len(members)) * (WIDTH + GAP) / 2
        for at, rule in enumerate(members):
            found[rule.name] = (20 + left + at * (WIDTH + GAP), 16 + row * (HEIGHT + GAP))
    return found


def flow() -> str:
    """The picture of the jobs: what each needs, what one makes, and where it runs."""
    rules = shown()
    at = places(rules)
    width = max(x for x, _ in at.values()) + WIDTH + 20
    height = max(y for _, y in at.values()) + HEIGHT + 40
    lines = [HEAD.format(width=f"{width:g}", height=f"{height:g}", label="The flow of jobs")]
    for rule in rules:
        x, y = at[rule.name]
        for need in direct(rule):
            from_x, from_y = at[need][0] + WIDTH / 2, at[need][1] + HEIGHT
            to_x = x + WIDTH / 2
            bend = (from_y + y) / 2
            lines.append(
                f'<path class="line" d="M{from_x:g} {from_y:g}C{from_x:g} {bend:g} '
                f'{to_x:g} {bend:g} {to_x:g} {y:g}"/>\n'
            )
    for rule in rules:
        x, y = at[rule.name]
        kind = "gpu" if rule.gpus else "box"
        lines += [
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" '
            'rx="6"/>\n',
            f'<text class="name" x="{x + 12:g}" y="{y + 19:g}">{rule.name}</text>\n',
            f'<text class="small" x="{x + 12:g}" y="{y + 35:g}">one job per {rule.unit}</text>\n',
        ]
    lines.append(
        f'<text class="small" x="20" y="{height - 10:g}">Green: on GPU nodes in the profile for '
        "SLURM. Other boxes: on CPU nodes.</text>\n</svg>\n"
    )
    return "".join(lines)


def layers() -> list[list[str]]:
    """The packages of each layer, the highest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if "layers" in c)
    return [
        [name.strip().removeprefix("laion_hpc.") for name in layer.replace("|", ":").split(":")]
        for layer in contract["layers"]
    ]


def summary(package: str) -> str:
    """The first line of its docstring."""
    folder = ROOT / "laion_hpc" / package
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    found = ast.get_docstring(ast.parse(source.read_text())) or ""
    return found.splitlines()[0].rstrip(".") if found else ""


def house() -> str:
    """The picture of the layers: a package imports only what lies below it."""
    rows = [(name, at == 0) for layer in layers() for at, name in enumerate(layer)]
    bands = list(_bands(layers()))
    height = bands[-1][1] + 16
    lines = [HEAD.format(width=860, height=height, label="The house: layers of packages")]
    for top, bottom in bands:
        lines.append(
            f'<rect class="box" x="16" y="{top}" width="828" height="{bottom - top - 6}" rx="6"/>\n'
        )
    y = 16
    for name, first in rows:
        y += 8 if first else 0
        lines += [
            f'<text class="name" x="30" y="{y + 13}">{name}</text>\n',
            f'<text class="small" x="130" y="{y + 13}">{escape(summary(name))}</text>\n',
        ]
        y += 22
        if name == _last(name):
            y += 6
    lines.append("</svg>\n")
    return "".join(lines)


def _last(name: str) -> str:
    return next(layer[-1] for layer in layers() if name in layer)


def _bands(found: list[list[str]]) -> Iterator[tuple[int, int]]:
    y = 16
    for layer in found:
        bottom = y + 8 + 22 * len(layer) + 6
        yield y, bottom
        y = bottom


def pictures() -> dict[Path, str]:
    """Every picture, by its file."""
    return {IMAGES / "flow.svg": flow(), IMAGES / "house.svg": house()}


if __name__ == "__main__":
    for path, text in pictures().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
