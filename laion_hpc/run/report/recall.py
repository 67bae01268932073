"""The plot of the index's evaluation in the report."""

from __future__ import annotations

from laion_hpc.charts import recall_plot
from laion_hpc.charts.panels import figure, side_by_side
from laion_hpc.run.report.data import Run


def section(run: Run) -> str:
    """A panel for each kind of query; empty if the index was not evaluated."""
    if run.evaluation is None:
        return ""
    shown = recall_plot.panels(run.evaluation, run.latencies)
    timed = any(panel.medians for panel in shown)
    below = "<p>The x axis is the number of cells searched" + (
        "; below it is the median time of a query in milliseconds.</p>" if timed else ".</p>"
    )
    plots = side_by_side(
        *(
            figure(
                f"{panel.title} <small>{panel.queries:,} queries</small>",
                recall_plot.figure(panel),
            )
            for panel in shown
        )
    )
    return plots and plots + below
