"""The funnel: how many came into each stage, how many it kept, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from laion_hpc.charts.funnel import Funnel, Reason, Step
from laion_hpc.charts.panels import Figure, Panel
from laion_hpc.run.report.data import Run, StageTotals


def figure(run: Run) -> Figure | None:
    """Every stage with its bar (as long as its inputs are of all links) and all reasons."""
    if not run.stages:
        return None
    lead = (
        "Each bar is what came into a stage, as a share of all links: coloured what it kept, "
        "grey what it dropped, and below it every reason with its share of the stage's inputs."
    )
    return Figure([Panel("", Funnel(steps(run.stages)))], lead, columns=1)


def steps(stages: Sequence[StageTotals]) -> list[Step]:
    """What is drawn of each stage."""
    first = stages[0].inputs or 1
    return [_step(totals, first) for totals in together(stages)]


def together(stages: Sequence[StageTotals]) -> list[StageTotals]:
    """The stages with those that drop nothing, such as embed and tag, named in one line."""
    lines: list[StageTotals] = []
    for totals in stages:
        last = lines[-1] if lines else None
        if (
            last is not None
            and totals.stage != "release"
            and not last.dropped.total()
            and not totals.dropped.total()
            and last.kept == totals.inputs
        ):
            lines[-1] = replace(last, stage=f"{last.stage}, {totals.stage}")
        else:
            lines.append(totals)
    return lines


def _step(totals: StageTotals, first: int) -> Step:
    dropped = totals.dropped.total()
    ranked = sorted(totals.dropped.items(), key=lambda item: (-item[1], item[0]))
    return Step(
        name=totals.stage,
        numbers=f"{totals.inputs:,} {totals.unit} → {totals.kept:,}",
        share=f"{totals.kept / totals.inputs:.1%} kept" if dropped else "",
        kept=totals.kept / first,
        dropped=dropped / first,
        tone="c3" if totals.stage == "release" else "c1",
        reasons=[
            Reason(name, f"{count:,}", percent(count, totals.inputs), count / ranked[0][1])
            for name, count in ranked
            if count
        ],
    )


def percent(part: int, whole: int) -> str:
    """A share that never rounds something to nothing."""
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    if share < 0.01:
        return "< 0.01%"
    return f"{share:.2f}%" if share < 1 else f"{share:.1f}%"
