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
            ["filter.thresholds.en: must be at most 1, got 28"],
        ),
        (
            "filter: {threshold: {en: 0.28}}",
            ["filter.threshold: unknown key; did you mean thresholds?"],
        ),
        ("dataset: {blocks: 0}", ["dataset.blocks: must be at least 1, got 0"]),
        ("filtr: {}", ["filtr: unknown key; did you mean filter?"]),
        ("keep: {zzz: 1}", ["keep.zzz: unknown key; the keys here are candidate_images"]),
        (
            "release: {subsets: [{name: x, where: 'true', imges: true}]}",
            ["release.subsets.0.imges: unknown key; did you mean images?"],
        ),
        ("download: {image_size: big}", ["image_size: must be a whole number, got 'big'"]),
        ("index: {text: maybe}", ["index.text: must be true or false, got 'maybe'"]),
        ("crawls: [a, b, a]", ["crawls: a is listed twice"]),
        ("results: 'a{b}'", ["results: 'a{b}' may not hold braces"]),
        ("results: ~nobody-of-that-name/x", ["results: '~nobody-of-that-name/x'", "no user"]),
        ("download: {min_bytes: 9, max_bytes: 8}", ["min_bytes is 9, above max_bytes, 8"]),
        ("extract: {min_text_characters: 9, max_text_characters: 8}", ["extract", "is 9, above"]),
        ("crawls: x", ["crawls: must be a list, such as [a, b], got 'x'"]),
        ("download: 3", ["download: must have keys below it, got 3"]),
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


def test_the_word_no_of_yaml_is_a_resize_mode(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("download: {resize_mode: no}")
    assert settings.load(path).download.resize_mode == "no"


def test_what_changes_no_image_is_in_no_digest() -> None:
    base = settings.Config()
    for key, value in (
        ("user_agent", "lab/1 (+https://example.org/us)"),
        ("deadline_seconds", 7),
        ("retries", 5),
        ("connections", 17),
        ("proxy", "http://127.0.0.1:3128"),
    ):
        changed = settings.parse({"download": {key: value}})
        assert settings.digest(changed, "download") == settings.digest(base, "download"), key


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
