"""The funnel: how many came into each stage, how many it kept, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from laion_hpc.report.data import Run, StageTotals


def section(run: Run) -> str:
    """Every stage with its bar (as long as its inputs are of all links) and all reasons."""
    if not run.stages:
        return ""
    first = run.stages[0].inputs or 1
    items = "".join(_stage(totals, first) for totals in together(run.stages))
    return (
        "<p>Each bar is what came into a stage, as a share of all links: coloured what it kept, "
        "grey what it dropped, and below it every reason with its share of the stage's inputs."
        f'</p><ol class="funnel">{items}</ol>'
    )


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


def _stage(totals: StageTotals, first: int) -> str:
    kept, dropped = totals.kept, totals.dropped.total()
    share = f" <small>{kept / totals.inputs:.1%} kept</small>" if dropped else ""
    return (
        f'<li><div class="head"><b>{totals.stage}</b><span>{totals.inputs:,} {totals.unit} → '
        f"{kept:,}{share}</span></div>"
        f'<div class="flow"><i class="{"c3" if totals.stage == "release" else "c1"}" '
        f'style="width:{kept / first:.3%}" title="kept: {kept:,}"></i>'
        + (
            f'<i class="gone" style="width:{dropped / first:.3%}" title="dropped: {dropped:,}"></i>'
            if dropped
            else ""
        )
        + f"</div>{_reasons(totals)}</li>"
    )


def _reasons(totals: StageTotals) -> str:
    ranked = sorted(totals.dropped.items(), key=lambda item: (-item[1], item[0]))
    most = ranked[0][1] if ranked else 1
    items = "".join(
        f"<li><code>{escape(reason)}</code><span>{count:,} "
        f"<small>{percent(count, totals.inputs)}</small></span>"
        f'<span class="tiny"><i class="gone" style="width:{count / most:.2%}"></i></span></li>'
        for reason, count in ranked
        if count
    )
    return f'<ul class="why">{items}</ul>' if items else ""


def percent(part: int, whole: int) -> str:
    """A share that never rounds something to nothing."""
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    if share < 0.01:
        return "< 0.01%"
    return f"{share:.2f}%" if share < 1 else f"{share:.1f}%"
