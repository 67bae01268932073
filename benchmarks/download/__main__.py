"""download beside img2dataset, against the same nginx on loopback, in one run.

  python -m benchmarks.download [--img2dataset PYTHON] [--scenarios http https …] [--rounds 3]

PYTHON: an interpreter that has img2dataset (`pip install img2dataset==1.47.0` in an environment
of its own); without it only our rows are made. Both make JPEGs of quality 95 and 256 pixels
(keep_ratio, resize only if bigger), two retries, ten seconds of time-out, two processes. In a round
both run every scenario, one after the other, so that a change in the machine's speed affects both.
The table shows the round with the median rate, and the median of the ratios. Needs
nginx and openssl (`apt-get install nginx-light openssl`).

| scenario | the web |
|---|---|
| http | 100 hosts |
| https | 100 hosts with TLS; a full bundle of authorities is trusted |
| many | 1,000 hosts: what the next two are compared with |
| drip | 1,000 hosts; 2% of them answer and then send 20 bytes a second, for ever |
| late | 1,000 hosts; 200 ms before each answer |

For `drip` and `late` take `--images 25000`: the last dripping answers always cost five seconds at
the end, so a short run looks slower than it is.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.download.measure import PHASES, Result, bare, run
from benchmarks.download.web import TLS_HOSTS, Web, serve

SCENARIOS = ("http", "https", "many", "drip", "late")
HOSTS = {"http": TLS_HOSTS, "https": TLS_HOSTS, "many": 1000, "drip": 1000, "late": 1000}
PORT = {"http": "plain", "https": "tls", "many": "plain", "drip": "plain", "late": "late"}
DRIPPING = 0.02
LIMIT, HUNG = 280.0, 100.0
"""Seconds after which a run is ended, and one that is expected to hang."""
PEER = Path(__file__).with_name("peer.py")


class Benchmark:
    """One run: the web, the options, and what was measured so far."""

    def __init__(self, web: Web, folder: Path, options: argparse.Namespace) -> None:
        self.web = web
        self.folder = folder
        self.options = options
        self.config = folder / "config.yaml"
        settings = {
            "allow_networks": ["127.0.0.0/8"],
            "deadline_seconds": 10,
            "retries": 2,
            "min_bytes": 0,
            "connections": options.connections,
        }
        # JSON is YAML.
        self.config.write_text(json.dumps({"download": settings}))
        self.environment = {"SSL_CERT_FILE": str(web.authorities), "NO_ALBUMENTATIONS_UPDATE": "1"}
        self.ours: dict[str, list[Result]] = defaultdict(list)
        self.peers: dict[str, list[Result]] = defaultdict(list)

    def turn(self, name: str) -> None:
        """Both sides over the same URLs, one after the other."""
        number = self.options.images
        dripping = DRIPPING if name == "drip" else 0.0
        urls = self.web.urls(number, kind=PORT[name], hosts=HOSTS[name], dripping=dripping)
        random.Random(1).shuffle(urls)
        source = self.folder / "urls.parquet"
        text = [f"text {n}" for n in range(number)]
        pq.write_table(pa.table({"url": urls, "text": text}), source)
        self.ours[name].append(self._run_ours(source, number))
        # Once is enough to see it hang.
        if self.options.img2dataset and not (name == "drip" and self.peers[name]):
            limit = HUNG if name == "drip" else LIMIT
            self.peers[name].append(self._run_peer(source, number, limit))

    def show(self, name: str) -> None:
        """The rows of one scenario, once all rounds are done."""
        ours, peers = self.ours[name], self.peers[name]
        print_row(name, "laion-hpc", median(ours))
        if peers:
            print_row(name, "img2dataset", median(peers))
            if not any(peer.hung for peer in peers):
                print_ratio(name, "ours, of img2dataset", ours, peers)
        if name == "http":
            print_phases(median(ours), bare(self.web.files, self.web.plain))
        if name in ("drip", "late") and "many" in self.ours:
            print_ratio(name, "ours, of `many`", ours, self.ours["many"])

    def _run_ours(self, source: Path, number: int) -> Result:
        output = self.folder / "laion-hpc"
        command = [sys.executable, "-m", "laion_hpc", "download", str(source), "--output"]
        command += [str(output), "--config", str(self.config)]
        command += ["--processes", str(self.options.processes)]
        return self._run([*command, "--samples-per-shard", self._per_shard(number)], output, LIMIT)

    def _run_peer(self, source: Path, number: int, limit: float) -> Result:
        output = self.folder / "img2dataset"
        command = [self.options.img2dataset, str(PEER), str(source), str(output)]
        command += [self._per_shard(number), str(self.options.processes)]
        return self._run([*command, str(self.options.threads)], output, limit)

    def _per_shard(self, number: int) -> str:
        """Three shards for each process."""
        return str(-(-number // (3 * self.options.processes)))

    def _run(self, command: list[str], output: Path, limit: float) -> Result:
        try:
            return run(command, output, environment=self.environment, limit=limit)
        finally:
            shutil.rmtree(output, ignore_errors=True)


def median(results: list[Result]) -> Result:
    """The one with the median rate."""
    return sorted(results, key=lambda result: result.rate)[len(results) // 2]


def print_row(scenario: str, who: str, result: Result) -> None:
    """A row of the table."""
    per_image = f"{1000 * result.cost:.1f}" if result.images else "–"
    rate = "hangs" if result.hung else f"{result.rate:.0f}"
    fates = ", ".join(f"{fate[:40]} {n}" for fate, n in result.fates.most_common(4))
    print(
        f"| {scenario} | {who} | {result.images} | {rate} | {per_image} "
        f"| {result.peak_bytes / 2**20:.0f} | {fates} |",
        flush=True,
    )


def print_ratio(scenario: str, what: str, these: list[Result], those: list[Result]) -> None:
    """The median of the rounds' ratios, of rates and of CPU an image; and the rates' range."""
    rates = [one.rate / other.rate for one, other in zip(these, those, strict=True)]
    costs = [one.cost / other.cost for one, other in zip(these, those, strict=True)]
    rate, cost = statistics.median(rates), statistics.median(costs)
    extent = f"rounds {min(rates):.2f} to {max(rates):.2f}" if len(rates) > 1 else ""
    print(f"| {scenario} | {what} | | **{rate:.2f}** | {cost:.2f} | | {extent} |", flush=True)


def print_phases(ours: Result, bare_costs: dict[str, float]) -> None:
    """CPU milliseconds a row by phase, beside those of the same work with nothing around it."""
    for title, costs in (("ours", ours.phases), ("bare", bare_costs)):
        parts = ", ".join(f"{phase} {costs[phase]:.2f}" for phase in PHASES)
        print(f"CPU ms, {title}: {parts}; together {sum(costs.values()):.2f}")
    whole = 1000 * ours.cpu_seconds / ours.rows
    print(f"whole tree {whole:.2f}: {whole / sum(bare_costs.values()):.2f} times the bare costs")


def main() -> None:
    """Serve, run the scenarios, print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--img2dataset", metavar="PYTHON", help="an interpreter that has img2dataset"
    )
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--connections", type=int, default=256, help="laion-hpc's connections per process"
    )
    parser.add_argument("--threads", type=int, default=64, help="img2dataset's threads per process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, serve(Path(name)) as web:
        sizes = [path.stat().st_size for path in web.files]
        print(f"{len(sizes)} photographs, mean {sum(sizes) / len(sizes) / 1000:.0f} kB\n")
        print("| scenario | by | images | images/s | CPU ms/image | peak MB | fates |")
        print("|---|---|---:|---:|---:|---:|---|", flush=True)
        benchmark = Benchmark(web, Path(name), options)
        scenarios = [name for name in options.scenarios if name != "late" or web.late]
        if len(scenarios) < len(options.scenarios):
            print("late: left out, nginx has no echo module")
        for _ in range(options.rounds):
            for scenario in scenarios:
                benchmark.turn(scenario)
        for scenario in scenarios:
            benchmark.show(scenario)


if __name__ == "__main__":
    main()
