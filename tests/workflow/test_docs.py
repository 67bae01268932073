"""The pages are true: their links lead somewhere, and their pictures are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from laion_hpc.run.jobs import RULES
from scripts import draw_docs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])

LINK = re.compile(r"\]\((?P<target>[^)#:\s]+)(#[^)\s]*)?\)")
PATH = re.compile(r"`(?P<path>(laion_hpc|tests|benchmarks|scripts|docs|rules)/[\w/.-]+\.\w+)`")


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_files(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        assert (page.parent / match["target"]).exists(), match[0]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for match in PATH.finditer(page.read_text()):
        if "NAME" not in match["path"]:  # stands for any
            assert (ROOT / match["path"]).exists(), match["path"]


def test_there_are_pages() -> None:
    assert len(PAGES) > 10


@pytest.mark.parametrize("path", sorted(draw_docs.pictures()), ids=page_name)
def test_pictures_are_as_drawn_now(path: Path) -> None:
    assert path.read_text() == draw_docs.pictures()[path], "run scripts/draw_docs.py"


def test_the_flow_shows_every_rule_but_those_of_the_texts() -> None:
    names = set(re.findall(r'class="name"[^>]*>(\w+)<', draw_docs.flow()))
    assert names == {rule.name for rule in RULES if not rule.name.startswith("index_text")}
