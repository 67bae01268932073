"""The config: errors name file, key and range; the default file is the schema's; digests."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from laion_hpc import config as settings
from laion_hpc.config.render import default_yaml
from laion_hpc.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_the_default_file_is_what_the_schema_says() -> None:
    assert (ROOT / "config/default.yaml").read_text(encoding="utf-8") == default_yaml(), (
        "run `laion-hpc config default > config/default.yaml`"
    )
    assert settings.parse(yaml.safe_load(default_yaml())) == settings.Config()


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")))
def test_every_config_of_the_repository_is_good(path: Path) -> None:
    settings.load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "filter: {thresholds: {en: 28}}",
            ["filter.thresholds.en", "less than or equal to 1", "28"],
        ),
        ("filter: {threshold: {en: 0.28}}", ["filter.threshold", "not permitted"]),
        ("dataset: {blocks: 0}", ["dataset.blocks", "greater than or equal to 1"]),
        ("crawls: [a/b]", ["crawls", "a/b"]),
        ("crawls: []", ["crawls"]),
        ("[1, 2]", ["mapping"]),
        ("a: [", ["YAML"]),
    ],
)
def test_an_error_names_file_key_and_range(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        settings.load(path)
    for word in ["site.yaml", *words]:
        assert word in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        settings.load("nowhere.yaml")


def test_a_digest_covers_what_the_stage_reads_and_nothing_else() -> None:
    base = settings.Config()
    threshold = settings.parse({"filter": {"thresholds": {"en": 0.3}}})
    device = settings.parse({"filter": {"device": "cpu"}})
    for stage in settings.READS:
        changed = settings.digest(base, stage) != settings.digest(threshold, stage)
        assert changed == (stage == "filter")
        assert settings.digest(base, stage) == settings.digest(device, stage)


def test_every_stage_has_its_keys() -> None:
    from laion_hpc.cli import STAGES

    assert set(settings.READS) == set(STAGES)


def test_variables_and_the_home_are_expanded_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch/my project")
    config = settings.parse(
        {
            "results": "$SCRATCH/results",
            "crawl_folder": "~/crawls",
            "tag": {"heads": ["${SCRATCH}/heads/punsafe", "package:demo/models/heads/punsafe"]},
        }
    )
    assert config.results == "/scratch/my project/results"
    assert config.crawl_folder == "/home/me/crawls"
    assert config.tag.heads == (
        "/scratch/my project/heads/punsafe",
        "package:demo/models/heads/punsafe",
    )


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(UsageError, match=r"results.*\$NOWHERE is not set"):
        settings.parse({"results": "$NOWHERE/results"})
