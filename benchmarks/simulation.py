"""A discrete-event simulation of one crawl on a cluster where jobs fail and nodes die.

It models the DAG of rules/, jobs placed whole on nodes with room, the time of a job from the
rates, its time limit that grows with each attempt, resuming by shard after a failure, and the pace
at which Snakemake submits jobs and notices their end. It leaves out other users' jobs in the queue,
slow file systems, slow servers, and errors that return at each attempt.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from laion_hpc.config import Config
from laion_hpc.run import jobs
from laion_hpc.run.jobs import Rule
from laion_hpc.run.plan.model import (
    Allocation,
    Size,
    amounts_of,
    cost_of,
    job_seconds,
    jobs_of,
    slots,
    total,
)
from laion_hpc.run.plan.rates import Rates

DAY = 86_400.0
PARTS = {"extract": "wats", "download": "candidates", "filter": "images", "embed": "pairs"}
"""Rules that resume inside a job, and what their finished parts consist of."""


@dataclass(frozen=True)
class World:
    """What goes wrong, and what Snakemake and SLURM take their time for."""

    job_failures: float = 0.01
    """Share of attempts that fail, at a random moment of the job."""
    node_deaths_per_day: float = 1 / 500
    """Of one node."""
    repair_seconds: float = 3_600.0
    """Until a dead node is back."""
    notice_seconds: float = 90.0
    """Until Snakemake sees that a job has ended, and SLURM starts the next: assumed."""
    submit_seconds: float = 1.0
    """Between two submissions (profiles/slurm: 10 in 10 s)."""
    jobs: int = 200
    """Most jobs in the queue at once (profiles/slurm)."""
    spread: float = 0.2
    """Standard deviation of the logarithm of a job's time."""
    resume: bool = True
    """False: a job that failed starts from nothing, as a stage that cannot resume would."""

    def __post_init__(self) -> None:
        if not 0 <= self.job_failures < 1 or self.node_deaths_per_day < 0:
            raise ValueError("job_failures must be in [0, 1), node_deaths_per_day at least 0")


@dataclass
class Outcome:
    """How the run went."""

    jobs: int = 0
    wall_hours: float = 0.0
    useful_core_hours: float = 0.0
    useful_gpu_hours: float = 0.0
    lost_core_hours: float = 0.0
    """Reserved by attempts, for work that had to be done again, or for starting again."""
    lost_gpu_hours: float = 0.0
    start_core_hours: float = 0.0
    """Reserved while first attempts start."""
    start_gpu_hours: float = 0.0
    failures: int = 0
    """Attempts that failed by themselves."""
    killed_by_nodes: int = 0
    over_time: int = 0
    """Attempts that met their time limit."""
    out_of_retries: int = 0
    """Jobs with a fourth attempt: Snakemake would have to be started again."""
    longest_job_hours: float = 0.0


@dataclass(eq=False)
class _Task:
    rule: Rule
    number: int
    work: float
    """Seconds."""
    start: float
    """Seconds until work begins, at every attempt."""
    parts: int
    """Pieces that survive a failure when finished."""
    waits: int = 0
    done: float = 0.0
    """Share of the work that is kept, 0 to 1."""
    attempts: int = 0
    node: int = -1
    began: float = 0.0


@dataclass
class _Run:
    tasks: dict[str, list[_Task]]
    allocation: Allocation
    world: World
    rng: random.Random
    outcome: Outcome = field(default_factory=Outcome)
    now: float = 0.0
    submitted: float = -math.inf
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.ready: dict[str, deque[_Task]] = {rule.name: deque() for rule in jobs.RULES}
        cpu, gpu = self.allocation.cpu_nodes, self.allocation.gpu_nodes
        self.full = [self.allocation.cores] * cpu + [self.allocation.gpus] * gpu
        self.free = list(self.full)
        self.alive = [True] * (cpu + gpu)
        self.running: dict[int, set[_Task]] = defaultdict(set)
        self.active = 0
        self.left = sum(len(tasks) for tasks in self.tasks.values())
        self.after: dict[tuple[str, int], list[_Task]] = defaultdict(list)
        self.all_left = {rule: len(tasks) for rule, tasks in self.tasks.items()}
        self.after_all: dict[str, list[_Task]] = defaultdict(list)
        for name, tasks in self.tasks.items():
            rule = jobs.BY_NAME[name]
            # What the config does not want is not waited for.
            needs = [jobs.BY_NAME[need] for need in rule.needs if need in self.tasks]
            for task in tasks:
                for need in needs:
                    task.waits += 1
                    if rule.waits_for_all(need):
                        self.after_all[need.name].append(task)
                    else:
                        self.after[need.name, task.number].append(task)
                if not task.waits:
                    self.ready[name].append(task)

    def at(self, time: float, event: Callable[[], None]) -> None:
        self.count += 1  # of two events at one time the one that was planned first comes first
        heapq.heappush(self.events, (time, self.count, event))

    def go(self) -> Outcome:
        for node in range(len(self.full)):
            self.at(self._life(), partial(self.die, node))
        self.start_what_fits()
        while self.left:
            self.now, _, event = heapq.heappop(self.events)
            event()
            self.start_what_fits()
        self.outcome.wall_hours = self.now / 3600
        return self.outcome

    def _life(self) -> float:
        rate = self.world.node_deaths_per_day / DAY
        return self.rng.expovariate(rate) if rate else math.inf

    def start_what_fits(self) -> None:
        # The last stages first, so that blocks are finished and their images can go.
        for rule in reversed(jobs.RULES):
            queue = self.ready[rule.name]
            while queue and self.active < self.world.jobs:
                node = self._node_for(rule)
                if node is None:
                    break
                self.begin(queue.popleft(), node)

    def _need(self, rule: Rule) -> int:
        most = self.allocation.gpus if rule.gpus else self.allocation.cores
        return min(rule.gpus or rule.threads, most)

    def _node_for(self, rule: Rule) -> int | None:
        split = self.allocation.cpu_nodes
        nodes = range(split, len(self.full)) if rule.gpus else range(split)
        need = self._need(rule)
        return next((n for n in nodes if self.alive[n] and self.free[n] >= need), None)

    def begin(self, task: _Task, node: int) -> None:
        self.submitted = max(self.now, self.submitted + self.world.submit_seconds)
        self.active += 1
        self.free[node] -= self._need(task.rule)
        self.running[node].add(task)
        task.node, task.began = node, self.submitted
        task.attempts += 1
        self.outcome.out_of_retries += task.attempts == 4
        whole = task.start + task.work * (1 - task.done)
        limit = task.rule.minutes * 60.0 * task.attempts
        share, failed = 1.0, ""
        if self.rng.random() < self.world.job_failures:
            share, failed = self.rng.random(), "failure"
        if whole * share > limit:
            share, failed = limit / whole, "time"
        ends = partial(self.end, task, task.attempts, whole * share, failed)
        self.at(task.began + whole * share, ends)

    def end(self, task: _Task, attempt: int, ran: float, failed: str) -> None:
        if task.node < 0 or task.attempts != attempt:
            return  # its node died before
        self._leave(task)
        kept = self._keep(task, ran, failed)
        self._account(task, ran, kept)
        if failed:
            self.outcome.failures += failed == "failure"
            self.outcome.over_time += failed == "time"
            self.at(
                self.now + self.world.notice_seconds,
                partial(self.ready[task.rule.name].append, task),
            )
            return
        self.left -= 1
        self.outcome.longest_job_hours = max(self.outcome.longest_job_hours, ran / 3600)
        followers = self.after[task.rule.name, task.number]
        self.all_left[task.rule.name] -= 1
        if not self.all_left[task.rule.name]:
            followers = followers + self.after_all[task.rule.name]
        for follower in followers:
            follower.waits -= 1
            if not follower.waits:
                queue = self.ready[follower.rule.name]
                self.at(self.now + self.world.notice_seconds, partial(queue.append, follower))

    def die(self, node: int) -> None:
        self.alive[node] = False
        for task in sorted(self.running[node], key=lambda task: (task.rule.name, task.number)):
            ran = max(0.0, self.now - task.began)
            self._leave(task)
            self._account(task, ran, self._keep(task, ran, "node"))
            self.outcome.killed_by_nodes += 1
            self.at(
                self.now + self.world.notice_seconds,
                partial(self.ready[task.rule.name].append, task),
            )
        self.at(self.now + self.world.repair_seconds, partial(self.repair, node))

    def repair(self, node: int) -> None:
        self.alive[node] = True
        self.at(self.now + self._life(), partial(self.die, node))

    def _leave(self, task: _Task) -> None:
        self.running[task.node].discard(task)
        self.free[task.node] += self._need(task.rule)
        task.node = -1
        self.active -= 1

    def _keep(self, task: _Task, ran: float, failed: str) -> float:
        """Seconds of work of this attempt that need not be done again."""
        if not failed:
            kept, task.done = task.work * (1 - task.done), 1.0
            return kept
        reached = task.done + max(0.0, ran - task.start) / task.work if task.work else 0.0
        parts = math.floor(reached * task.parts) if self.world.resume else 0
        before, task.done = task.done, max(task.done, min(1.0, parts / task.parts))
        return (task.done - before) * task.work

    def _account(self, task: _Task, ran: float, kept: float) -> None:
        # What is not kept is the start, and work done in vain. The first start is no loss.
        start = min(ran, task.start) if task.attempts == 1 else 0.0
        lost = max(0.0, ran - kept - start)
        size = self._need(task.rule) / 3600
        if task.rule.gpus:
            self.outcome.useful_gpu_hours += kept * size
            self.outcome.start_gpu_hours += start * size
            self.outcome.lost_gpu_hours += lost * size
        else:
            self.outcome.useful_core_hours += kept * size
            self.outcome.start_core_hours += start * size
            self.outcome.lost_core_hours += lost * size


def simulate(
    config: Config,
    rates: Rates,
    size: Size,
    allocation: Allocation,
    world: World,
    seed: int = 0,
    image_heads: int = 0,
) -> Outcome:
    """One run of one crawl. The same arguments give the same outcome.

    ValueError unless `size` is one crawl's: several crawls are so many runs.
    """
    if size.crawls != 1:
        raise ValueError("simulate one crawl at a time")
    rng = random.Random(seed)
    amounts, _ = amounts_of(config, rates, size, image_heads)
    tasks: dict[str, list[_Task]] = {}
    for rule in jobs.of_config(config, size.crawls):
        count = jobs_of(rule, size, config.dataset.blocks)
        cost = cost_of(rule, rates)
        work = job_seconds(rule, cost, {**amounts, "jobs": 0.0}, count)
        start = max(0.0, job_seconds(rule, cost, {**amounts, "jobs": float(count)}, count) - work)
        network = total(cost.network_bytes, {**amounts, "jobs": 0.0})
        at_once = min(count, slots(rule, allocation), world.jobs)
        work = max(work, network * 8 / (allocation.gbit * 1e9) / count * at_once)
        parts = _parts(rule, amounts, config, count)
        tasks[rule.name] = [
            _Task(rule, number, work * _uneven(seed, rule, number, world.spread), start, parts)
            for number in range(count)
        ]
    run = _Run(tasks, allocation, world, rng)
    run.outcome.jobs = run.left
    return run.go()


def _parts(rule: Rule, amounts: dict[str, float], config: Config, count: int) -> int:
    if rule.name not in PARTS:
        return 1
    of_part = 1 if rule.name == "extract" else config.dataset.samples_per_shard
    return max(1, math.ceil(amounts[PARTS[rule.name]] / count / of_part))


def _uneven(seed: int, rule: Rule, number: int, spread: float) -> float:
    """A factor of mean 1: of each job its own, so that runs differ by what is compared alone."""
    rng = random.Random(f"{seed}/{rule.name}/{number}")
    return rng.lognormvariate(-spread * spread / 2, spread)
