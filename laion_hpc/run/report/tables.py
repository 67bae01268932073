"""The sections with tables, and the sample sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from laion_hpc.charts.panels import Figure, Panel, figure
from laion_hpc.charts.shapes import Bar, Bars
from laion_hpc.run.report import recall
from laion_hpc.run.report.data import Run
from laion_hpc.run.report.funnel import percent
from laion_hpc.run.report.language_names import language_name


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of cells of HTML. The first column has words, the others numbers."""
    if not rows:
        return ""
    top = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def quantiles(run: Run) -> str:
    """Quantiles of sizes and lengths."""
    if not run.statistics or not run.statistics["datasets"]["all"]["count"]:
        return ""
    found = run.statistics["datasets"]["all"]["quantiles"]
    shown = ("0.05", "0.25", "0.50", "0.75", "0.95")
    rows = [
        [name.replace("_", " "), *(f"{quantiles[at]:,}" for at in shown)]
        for name, quantiles in found.items()
    ]
    heads = ["", *(f"{float(at):.0%}" for at in shown)]
    return figure("Quantiles", table(heads, rows))


def parts(run: Run) -> Figure | None:
    """The number of samples in every split and subset."""
    if not run.statistics or not run.statistics["datasets"]["all"]["count"]:
        return None
    datasets = run.statistics["datasets"]
    whole = datasets["all"]["count"]
    rows = [
        Bar(
            name.removeprefix("subsets/"),
            one["count"],
            percent(one["count"], whole),
            "c3" if name.startswith("subsets/") else "c1",
        )
        for name, one in datasets.items()
        if name != "all"
    ]
    caption = "Blue: splits; each sample is in one of them. Green: subsets of all samples."
    return Figure([Panel("", Bars(rows), caption)], columns=1)


def subsets(run: Run) -> str:
    """Counts and sizes of every split and subset."""
    if not run.statistics:
        return ""
    datasets = run.statistics["datasets"]
    whole = datasets["all"]["count"]
    predicates = {f"subsets/{one.name}": one.where for one in run.config.release.subsets}
    rows = []
    for name, one in datasets.items():
        count = one["count"]
        sides = one["both_sides_at_least"]
        rows.append(
            [
                escape(name.removeprefix("subsets/"))
                + (f"<code>{escape(predicates[name])}</code>" if name in predicates else ""),
                f"{count:,}",
                f"{count / whole:.1%}" if whole else "–",
                f"{sides['512']['share']:.1%}",
                f"{sides['1024']['share']:.1%}",
                f"{one['average_text_length']:.0f}",
                _above(one, "punsafe", "0.5"),
                _above(one, "pwatermark", "0.8"),
            ]
        )
    heads = ("", "samples", "share", "sides ≥ 512", "≥ 1024", "text length", "unsafe > 0.5")
    return table([*heads, "watermark > 0.8"], rows)


def _above(one: dict[str, Any], head: str, limit: str) -> str:
    found = one["heads"].get(head)
    return f"{found['above'][limit]['share']:.1%}" if found else "–"


def index(run: Run) -> str:
    """Recall against exact search, and the time of a query, by the number of cells searched."""
    if run.evaluation is None:
        return ""
    found = run.evaluation
    kinds = list(found["queries"])
    depths = [f"{kind} {depth}" for kind in kinds for depth in _depths(found, kind)]
    latencies = {
        row["nprobe"]: row for row in (run.latencies or {}).get("latency", []) if "p50_ms" in row
    }
    rows = []
    for row in found["recall"]:
        chosen = " ← stored" if row["nprobe"] == found["nprobe"] else ""
        cells = [f"{row['nprobe']:,}{chosen}"]
        cells += [f"{row[kind][depth]:.3f}" for kind in kinds for depth in _depths(found, kind)]
        if latencies:
            timed = latencies.get(row["nprobe"])
            cells += [f"{timed[name]:.2f} ms" if timed else "–" for name in ("p50_ms", "p99_ms")]
        rows.append(cells)
    heads = ["cells searched", *(f"{depth.replace(' ', ' @ ')}" for depth in depths)]
    queries = " and ".join(f"{count:,} {kind}" for kind, count in found["queries"].items())
    reached = "reached" if found["target_reached"] else "not reached"
    return (
        f"<p><code>{escape(found['key'])}</code> over {found['count']:,} vectors, "
        f"{found['bytes_per_vector']} bytes each. Recall is the share of the exact nearest "
        f"neighbours that the index finds, for {queries} queries. The target, "
        f"{found['target_recall']:g} at 10, is {reached}.</p>"
        + recall.section(run)
        + table([*heads, *(["median time", "99%"] if latencies else [])], rows)
    )


def _depths(evaluation: dict[str, Any], kind: str) -> list[str]:
    return sorted(evaluation["recall"][0][kind], key=int) if evaluation["recall"] else []


def cost(run: Run) -> Figure | None:
    """CPU time by stage."""
    spent = {name: one.cpu_seconds for name, one in run.benchmarks.items() if one.cpu_seconds}
    if not spent:
        return None
    total = sum(spent.values())
    rows = [
        Bar(name, seconds, f"{seconds / total:.1%}", shown=_time(seconds))
        for name, seconds in spent.items()
    ]
    caption = f"CPU time of all jobs: {_time(total)}. GPU time is not included."
    return Figure([Panel("CPU time by stage", Bars(rows, log=False), caption)], columns=1)


def throughput(run: Run) -> str:
    """Time and memory of the jobs, as Snakemake and the ranks of MPI jobs measured them."""
    rows = []
    for name, one in run.benchmarks.items():
        totals = run.stage(name)
        rate = totals.inputs / one.seconds if totals and one.seconds else None
        rows.append(
            [
                name,
                f"{one.jobs:,}",
                _time(one.seconds),
                _time(one.longest),
                _time(one.cpu_seconds),
                f"{one.max_rss_mb:,.0f} MB",
                f"{rate:,.0f} {totals.unit}" if totals and rate else "–",
                _cost(one.cpu_seconds, totals.inputs if totals else 0),
            ]
        )
    heads = ("stage", "jobs", "time of all jobs", "longest job", "CPU time", "peak memory")
    body = table([*heads, "inputs per second", "CPU per million"], rows)
    if not body:
        return ""
    return "<p>Times are sums over jobs. Most jobs run at the same time.</p>" + body


def _cost(cpu_seconds: float, inputs: int) -> str:
    """Core hours for a million inputs."""
    return f"{cpu_seconds / 3600 / inputs * 1e6:,.1f} core h" if inputs else "–"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def samples(run: Run) -> str:
    """The sheet of safe samples."""
    if not run.pictures:
        return ""
    items = "".join(
        f'<figure><img src="{one.data_uri}" alt="" width="{one.width}" height="{one.height}" '
        f'title="{escape(one.key)}"><figcaption dir="auto">{escape(one.caption)}</figcaption>'
        f"<p>{escape(language_name(one.language) if one.language else 'no language')} · "
        f"{one.similarity:.2f}</p></figure>"
        for one in run.pictures
    )
    return (
        "<p>A random choice of samples that are scored as safe, with their text from the web, "
        f'their language and their similarity.</p><div class="sheet">{items}</div>'
    )
