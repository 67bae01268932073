"""The chart of a funnel: a bar for each stage, and the reasons for its drops below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Reason:
    """A reason for drops: its count and its share of the stage's inputs.

    `part` is its count over that of the most frequent reason, 0 … 1.
    """

    name: str
    count: str
    share: str
    part: float


@dataclass(frozen=True)
class Step:
    """A stage of the chart; `kept` and `dropped` are shares of the first stage's inputs."""

    name: str
    numbers: str
    share: str
    """The share that it kept, in words; empty if it kept all."""
    kept: float
    dropped: float
    tone: str
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class Funnel:
    """The chart: every stage with its bar and all its reasons."""

    steps: Sequence[Step]

    def html(self) -> str:
        """A list of stages."""
        return f'<ol class="funnel">{"".join(map(_item, self.steps))}</ol>'


def _item(step: Step) -> str:
    share = f" <small>{step.share}</small>" if step.share else ""
    kept = f'<i class="{step.tone}" style="width:{step.kept:.3%}" title="kept"></i>'
    gone = f'<i class="gone" style="width:{step.dropped:.3%}" title="dropped"></i>'
    reasons = "".join(
        f"<li><code>{escape(one.name)}</code><span>{one.count} <small>{one.share}</small></span>"
        f'<span class="tiny"><i class="gone" style="width:{one.part:.2%}"></i></span></li>'
        for one in step.reasons
    )
    return (
        f'<li><div class="head"><b>{step.name}</b><span>{step.numbers}{share}</span></div>'
        f'<div class="flow">{kept}{gone if step.dropped else ""}</div>'
        + (f'<ul class="why">{reasons}</ul>' if reasons else "")
        + "</li>"
    )
