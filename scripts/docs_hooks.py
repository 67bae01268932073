"""What mkdocs does beside docs/: pages that live elsewhere, and the reference of each package.

A link from one of these files to another stays a link between pages where both are pages; a link
to any other file of the repository goes to the repository's own page of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "index.md",
    "config/README.md": "config.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files outside docs/ that are pages, and the names of the pages."""

REFERENCE = (
    "files", "web", "models", "heads", "language", "charts", "runtime", "config", "run", "stages",
)  # fmt: skip

_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)#:\s]+)(?P<after>(#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that docs/ does not hold."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=linked(text, source, config.repo_url)))
    for package in REFERENCE:
        content = reference(package)
        files.append(File.generated(config, f"reference/{package}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of docs/*.md that leave docs/."""
    del files
    if page.file.generated_by:
        return markdown
    return linked(markdown, f"docs/{page.file.src_uri}", config.repo_url)


def linked(text: str, source: str, repository: str) -> str:
    """The text of the file `source` with its links as the site needs them."""

    def replaced(match: re.Match[str]) -> str:
        target = os.path.normpath(Path(source).parent / match["target"])
        if target in PAGES:
            found = PAGES[target]
        elif target.startswith("docs/"):
            found = target.removeprefix("docs/")
        elif (ROOT / target).exists():
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            found = f"{repository}/{kind}/main/{target}"
        else:
            return match[0]
        return f"{match['before']}{found}{match['after']}"

    return _LINK.sub(replaced, text)


def reference(package: str) -> str:
    """One heading for each module of a package, in order of their names."""
    folder = ROOT / "laion_hpc" / package
    lines = [f"# laion_hpc.{package}\n"]
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("")
        parts = [part for part in name.parts if part != "__init__"]
        if not parts[-1].startswith("_"):
            lines.append(f"::: {'.'.join(parts)}\n")
    return "\n".join(lines)
