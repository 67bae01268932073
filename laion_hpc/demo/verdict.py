"""What a comparison with the truth found: a table of what was measured and what was wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from laion_hpc.errors import LaionHpcError
from laion_hpc.files.atomic import write_bytes
from laion_hpc.runtime import console

SHOWN_PLACES = 5


@dataclass(frozen=True)
class Finding:
    """One row of the table: what was measured, what was wanted, and the places if it fell short."""

    what: str
    measured: str
    floor: str
    met: bool
    places: tuple[str, ...] = ()


def exact(what: str, count: int, places: Sequence[str]) -> Finding:
    """A finding on `count` outcomes by rule; those at `places` are wrong."""
    measured = f"{count:,} as expected" if not places else f"{len(places):,} of {count:,} wrong"
    return Finding(what, measured, "all", not places, tuple(places[:SHOWN_PLACES]))


def share(what: str, part: int, whole: int, floor: float, places: Sequence[str] = ()) -> Finding:
    """A finding on a share that must reach `floor`; none of nothing falls short."""
    measured = part / whole if whole else 0.0
    met = measured >= floor
    shown = () if met else (*places[:SHOWN_PLACES], *(() if whole else ("there is none at all",)))
    return Finding(what, f"{measured:.1%} of {whole:,}", f"{floor:.0%}", met, shown)


def show(findings: Sequence[Finding]) -> None:
    """Print the table."""
    rows = [("", "measured", "floor", "")]
    rows += [(f.what, f.measured, f.floor, "ok" if f.met else "FAILS") for f in findings]
    for line in console.aligned(rows, left=(0, 3)):
        console.out(f"  {line}")


def demand(findings: Sequence[Finding]) -> None:
    """LaionHpcError with the places of all that falls short."""
    lines = []
    for finding in findings:
        if not finding.met:
            lines.append(f"{finding.what}: {finding.measured}, wanted {finding.floor}")
            lines += [f"  {place}" for place in finding.places]
    if lines:
        raise LaionHpcError("the results are not what the truth says:\n  " + "\n  ".join(lines))


def write(findings: Sequence[Finding], path: Path) -> None:
    """Write the table as JSON."""
    data = [asdict(finding) for finding in findings]
    write_bytes(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> list[Finding]:
    """Read what `write` wrote."""
    data = json.loads(path.read_bytes())
    return [Finding(**(entry | {"places": tuple(entry["places"])})) for entry in data]
