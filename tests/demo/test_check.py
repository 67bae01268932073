"""The comparison with the truth: perfect results pass, and each kind of flaw is found."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_hpc.demo import captions, check, check_outcomes, check_search, summary, verdict, whole
from laion_hpc.demo.check_outcomes import Rows
from laion_hpc.demo.scenes import random_scene
from laion_hpc.demo.truth import DAMAGED, TRUTH
from laion_hpc.errors import InputError, LaionHpcError, UsageError
from laion_hpc.files import crawl_lock as locks
from laion_hpc.files.ledger import Ledger
from tests.demo.conftest import Built

Row = dict[str, Any]
STAGES = ("extract", "shuffle", "download", "filter", "released")


@pytest.fixture(scope="module")
def truth(built: Built) -> Rows:
    return check_outcomes.read_truth(built.folder / "truth.parquet")


class Results:
    """Results as a perfect run would leave them, in memory; `write` puts them on the disk."""

    def __init__(self, truth: Rows) -> None:
        def passed(stage: str) -> list[Row]:
            later = STAGES[STAGES.index(stage) + 1 :]
            return [dict(row) for row in truth.values() if row["stage"] in later]

        self.extract, self.shuffle, self.filter = passed("extract"), passed("shuffle"), []
        self.download = passed("shuffle")
        for row in self.download:
            row["error_message"] = row["reason"] if row["stage"] == "download" else ""
            if not row["error_message"]:
                fate = "kept" if row["right"] else "dissimilar"
                self.filter.append(
                    row | {"fate": fate, "similarity": 0.4 if row["right"] else 0.0}
                    | {"caption": row["text"]}
                )  # fmt: skip
        self.released = [row for row in self.filter if row["fate"] == "kept"]
        self.dropped = {
            stage: Counter(
                row["reason"]
                for row in truth.values()
                if row["stage"] == stage and row["reason"] != DAMAGED
            )
            for stage in ("extract", "shuffle")
        }

    def write(self, folder: Path) -> Path:
        for path, rows in (
            ("extract/s.parquet", self.extract),
            ("shuffle/0000.parquet", self.shuffle),
            ("download/0000/00000.parquet", self.download),
            ("filter/0000/scores/00000.parquet", self.filter),
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), folder / path)
        for name, kind in (("en", "en"), ("multi", "multi"), ("nolang", "nolang")):
            part = folder / "release" / f"laion-{name}" / "part-0000-000.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            urls = [row["url"] for row in self.released if row["language_class"] == kind]
            pq.write_table(pa.table({"URL": pa.array(urls, pa.string())}), part)
        for stage, unit, rows in (
            ("extract", "s", self.extract),
            ("shuffle", "0000", self.shuffle),
        ):
            dropped = self.dropped[stage]
            book = Ledger(stage, "links", len(rows) + dropped.total(), len(rows), dropped)
            book.write(folder / stage / f"{unit}.ledger.json")
        return folder

    def findings(self, folder: Path, truth: Rows) -> dict[str, verdict.Finding]:
        self.write(folder)
        found = [
            *check_outcomes.of_links(folder, truth),
            *check_outcomes.of_scores(folder, truth),
            check_outcomes.of_release(folder),
        ]
        return {finding.what: finding for finding in found}


def test_perfect_results_pass(truth: Rows, tmp_path: Path) -> None:
    findings = Results(truth).findings(tmp_path, truth)
    assert len(findings) == 8
    assert all(finding.met for finding in findings.values())
    verdict.demand(list(findings.values()))


def _lose_a_candidate(results: Results) -> None:
    del results.extract[7]


def _keep_what_should_go(results: Results) -> None:
    results.extract.append(results.extract[0] | {"link_position": 999})


def _change_a_url(results: Results) -> None:
    results.extract[3]["url"] += "?"


def _change_a_licence(results: Results) -> None:
    results.extract[3]["license"] = "https://creativecommons.org/licenses/by/9.0/"


def _miscount_a_reason(results: Results) -> None:
    results.dropped["extract"]["no_text"] -= 1
    results.dropped["extract"]["text_too_short"] += 1


def _keep_the_wrong_duplicate(results: Results) -> None:
    results.shuffle[5]["record_offset"] += 1


def _miss_a_failure(results: Results) -> None:
    row = next(row for row in results.download if row["error_message"] == "truncated")
    row["error_message"] = ""


def _give_another_reason(results: Results) -> None:
    row = next(row for row in results.download if row["error_message"] == "opted_out")
    row["error_message"] = "http_404"


def _never_download(results: Results) -> None:
    del results.download[0]


def _mistake_languages(results: Results) -> None:
    for row in results.extract[: len(results.extract) // 10]:
        row["language_class"] = "multi" if row["language_class"] == "nolang" else "nolang"


def _let_wrong_captions_pass(results: Results) -> None:
    for row in [row for row in results.filter if not row["right"]][:2]:
        row["fate"] = "kept"
        results.released.append(row)


def _drop_right_captions(results: Results) -> None:
    for row in [row for row in results.filter if row["right"]][:3]:
        row["fate"] = "dissimilar"
        results.released.remove(row)


def _forget_to_release(results: Results) -> None:
    del results.released[0]


def _release_twice(results: Results) -> None:
    results.released.append(results.released[0])


@pytest.mark.parametrize(
    ("flaw", "what"),
    [
        (_lose_a_candidate, "extract: outcome of every link"),
        (_keep_what_should_go, "extract: outcome of every link"),
        (_change_a_url, "extract: URL, text, licence, page"),
        (_change_a_licence, "extract: URL, text, licence, page"),
        (_miscount_a_reason, "extract: outcome of every link"),
        (_keep_the_wrong_duplicate, "shuffle: outcome of every link"),
        (_miss_a_failure, "download: outcome of every image"),
        (_give_another_reason, "download: outcome of every image"),
        (_never_download, "download: outcome of every image"),
        (_mistake_languages, "language of captions"),
        (_let_wrong_captions_pass, "filter: wrong captions dropped"),
        (_drop_right_captions, "filter: right captions kept"),
        (_forget_to_release, "release: what was kept"),
        (_release_twice, "release: what was kept"),
    ],
)
def test_each_flaw_is_found(
    flaw: Callable[[Results], None], what: str, truth: Rows, tmp_path: Path
) -> None:
    results = Results(truth)
    flaw(results)
    findings = results.findings(tmp_path, truth)
    assert [name for name, finding in findings.items() if not finding.met] == [what]
    assert findings[what].places
    with pytest.raises(LaionHpcError, match="not what the truth says") as caught:
        verdict.demand(list(findings.values()))
    assert findings[what].places[0] in str(caught.value)


def test_a_share_of_nothing_falls_short() -> None:
    finding = verdict.share("filter: right captions kept", 0, 0, 0.97)
    assert not finding.met
    assert "none at all" in finding.places[0]
    assert verdict.share("x", 97, 100, 0.97).met
    assert not verdict.share("x", 96, 100, 0.97).met


def test_findings_survive_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings = [verdict.share("a", 1, 2, 0.9, ["here"]), verdict.exact("b", 3, [])]
    verdict.write(findings, tmp_path / "check.json")
    assert verdict.read(tmp_path / "check.json") == findings
    verdict.show(findings)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].endswith("FAILS")
    assert shown[2].endswith("ok")


def test_missing_things_are_named(truth: Rows, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no truth here"):
        check_outcomes.read_truth(tmp_path / "truth.parquet")
    (tmp_path / "truth.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="`laion-hpc demo build` makes it again"):
        check_outcomes.read_truth(tmp_path / "truth.parquet")
    with pytest.raises(InputError, match=r"extract.*has the whole demo run"):
        check_outcomes.of_links(tmp_path, truth)
    with pytest.raises(InputError, match="no such folder of results"):
        check.check(tmp_path / "nowhere", tmp_path / "truth.parquet")
    with pytest.raises(InputError, match="not a single embedding"):
        check_search.known_samples(tmp_path, truth)


def test_the_recall_is_that_of_the_chosen_parameters(tmp_path: Path) -> None:
    path = tmp_path / "index" / "evaluation.json"
    path.parent.mkdir()

    def evaluation(nprobe: int) -> str:
        recall = [
            {"nprobe": 1, "image": {"10": 0.5}, "text": {"10": 0.6}},
            {"nprobe": 4, "image": {"10": 0.99}, "text": {"10": 0.96}},
        ]
        queries = {"image": 1000, "text": 1000}
        return json.dumps({"nprobe": nprobe, "recall": recall, "queries": queries})

    path.write_text(evaluation(4))
    assert check_search.of_index(tmp_path).met
    assert check_search.of_index(tmp_path).measured.startswith("96.0%")
    path.write_text(evaluation(1))
    assert not check_search.of_index(tmp_path).met


def test_heads_are_measured_on_their_facts(truth: Rows, tmp_path: Path) -> None:
    rows = [row for row in truth.values() if row["stage"] == "released"]
    names = ["segment", "wat", "record_offset", "link_position"]
    metadata = tmp_path / "embed" / "0000" / "metadata" / "metadata_00000.parquet"
    metadata.parent.mkdir(parents=True)
    schema = pa.schema([TRUTH.field(name) for name in names])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), metadata)
    (tmp_path / "tag").mkdir()
    scores = {
        "punsafe": [0.9 if row["hazard"] else 0.1 for row in rows],
        "pwatermark": [0.1 if row["watermark"] else 0.9 for row in rows],
    }
    pq.write_table(pa.table(scores), tmp_path / "tag" / "0000.parquet")
    unsafe, watermark = check_search.of_heads(tmp_path, truth)
    assert unsafe.met
    assert not watermark.met


def test_queries_are_in_all_languages_and_none() -> None:
    rng = random.Random(1)
    scenes = [random_scene(rng) for _ in range(50)]
    asked = check_search.ask(scenes, rng)
    assert len(asked) == check_search.QUERIES
    names = {captions.name_only(scene) for scene in scenes}
    count = sum(text in names for _, text in asked)
    assert count == check_search.QUERIES // (len(captions.LANGUAGES) + 1)
    assert all(scene in scenes for scene, _ in asked)


def test_the_funnel_tells_the_ledgers(truth: Rows, tmp_path: Path) -> None:
    results = Results(truth)
    lines = summary.funnel(results.write(tmp_path))
    assert [line.split()[0] for line in lines] == ["stage", "extract", "shuffle"]
    total = sum(row["reason"] != DAMAGED for row in truth.values())
    assert lines[1].split()[1:3] == [f"{total:,}", f"{len(results.extract):,}"]
    assert "no_text" in lines[1]
    assert "duplicate" in lines[2]


PLAN = """
Building DAG of jobs...
Job stats:
job            count
-----------  -------
index_merge        1
report_page        1
total              2

Reasons:
"""


def test_the_plan_of_a_dry_run_is_read() -> None:
    assert whole.rules_in(PLAN) == {"index_merge", "report_page"}
    assert whole.rules_in("Nothing to be done (all requested files are present).") == set()


def test_a_lock_of_other_wats_is_refused(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    whole._lock(path, built.folder, "demo")
    lock = locks.read_lock(path)
    assert sum(map(len, lock.segments.values())) == 6
    whole._lock(path, built.folder, "demo")
    locks.write_lock(locks.Lock("demo", "elsewhere", lock.segments), path)
    with pytest.raises(UsageError, match="does not name the WATs"):
        whole._lock(path, built.folder, "demo")


def test_results_of_another_web_are_forgotten(tmp_path: Path) -> None:
    for name in ("download/0000", "logs", "mine"):
        (tmp_path / name).mkdir(parents=True)
    whole._forget(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "mine"]
