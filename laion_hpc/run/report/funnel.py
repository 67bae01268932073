"""The funnel: inputs of each stage, what it kept, and why it dropped the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from laion_hpc.charts.funnel import Funnel, Reason, Step
from laion_hpc.charts.panels import Figure, Panel
from laion_hpc.run.report.data import Run, StageTotals


def figure(run: Run) -> Figure | None:
    """Every stage with all its reasons and a bar. The bar is the share of all links."""
    if not run.stages:
        return None
    lead = (
        "Each bar shows the inputs of a stage as a share of all links. Colour: what it kept. "
        "Grey: what it dropped. Below it is every reason, with its share of the stage's inputs."
    )
    return Figure([Panel("", Funnel(steps(run.stages)))], lead, columns=1)


def steps(stages: Sequence[StageTotals]) -> list[Step]:
    """The steps that are drawn."""
    first = stages[0].inputs or 1
    return [_step(totals, first) for totals in together(stages)]


def together(stages: Sequence[StageTotals]) -> list[StageTotals]:
    """The stages, where those that drop nothing (embed, tag) share a line with the one before."""
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
    """A share in percent. A share above zero is never shown as 0%."""
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    if share < 0.01:
        return "< 0.01%"
    return f"{share:.2f}%" if share < 1 else f"{share:.1f}%"
