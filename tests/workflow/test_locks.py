"""What is installed is locked: every package of an extra, at the version that it names."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = {"cpu": ["cpu"], "gpu": ["gpu"], "test": ["cpu", "test"], "docs": []}
"""What a lock is made from; docs is a group, without the project."""
APART = {"torch", "torchvision"}
"""Their wheels differ by machine: pinned in locks/torch.txt, without hashes."""

LOCKED = re.compile(r"^(?P<requirement>\S+==.+?) \\$", re.MULTILINE)
HASHED = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(*extras: str) -> list[Requirement]:
    """What these extras ask for, those that they bring included; of none: the docs group."""
    if not extras:
        return [Requirement(line) for line in PROJECT["dependency-groups"]["docs"]]
    found = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    for extra in extras:
        for line in PROJECT["project"]["optional-dependencies"][extra]:
            asked = Requirement(line)
            found += requirements(*asked.extras) if asked.name == "laion-hpc" else [asked]
    return found


def locked(name: str) -> dict[str, list[Requirement]]:
    """The packages of a lock; some have one version for each Python."""
    found: dict[str, list[Requirement]] = {}
    for match in LOCKED.finditer((ROOT / f"locks/{name}.txt").read_text()):
        requirement = Requirement(match["requirement"])
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_lock_has_the_versions_that_pyproject_names(name: str) -> None:
    packages = locked(name)
    for asked in requirements(*EXTRAS[name]):
        if asked.name in APART:
            assert asked.name not in packages
            continue
        versions = {str(found.specifier) for found in packages[canonicalize_name(asked.name)]}
        assert versions == {str(asked.specifier)}, f"{asked.name}: run `make lock`"


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_every_package_of_a_lock_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / f"locks/{name}.txt").read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.rstrip("\n")):
        first, *hashes = entry.split("\n")
        assert LOCKED.fullmatch(first), first
        assert hashes
        assert all(map(HASHED.match, hashes)), first


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_python_gets_one_version_of_a_package(name: str, python: str) -> None:
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
    }
    for package, entries in locked(name).items():
        fitting = [e for e in entries if not e.marker or e.marker.evaluate(environment)]
        assert len(fitting) == 1, package


def test_torch_is_pinned_apart() -> None:
    pins = {r.name: str(r.specifier) for r in requirements("clip") if r.name in APART}
    lines = (ROOT / "locks/torch.txt").read_text().splitlines()
    assert lines == [f"{name}{pins[name]}" for name in sorted(APART)]


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_new_lock_makes_a_new_conda_environment(name: str) -> None:
    environment = (ROOT / f"envs/{name}.yaml").read_text()
    for lock in (f"locks/{name}.txt", "locks/torch.txt"):
        found = hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()
        assert f"# {lock}: sha256 {found}\n" in environment, "run `make lock`"
    script = (ROOT / f"envs/{name}.post-deploy.sh").read_text()
    assert f'"$locks/{name}.txt"' in script
