"""A SLURM cluster of three nodes on this machine: real daemons on private ports and paths.

    python -m tests.slurm.cluster                 a shell on the cluster; it ends with the shell
    python -m tests.slurm.cluster COMMAND …       one command on it

munge, MariaDB, slurmdbd, slurmctld and three slurmds (cpu1, cpu2 and a100-1 with four pretended
A100s) run beside whatever SLURM this machine may have, and end with the cluster. It needs root,
and what install.sh installs.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests import patience
from tests.slurm import configuration
from tests.slurm.configuration import ACCOUNT, GPUS, NODES, Ports, Site

DAEMONS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd")
START_SILENCE = 120.0
"""Seconds that a daemon may be silent while it starts; on an idle machine it takes three."""
COMMANDS = ("sacctmgr", "sinfo", "sbatch", "srun", "sacct", "squeue", "scancel", "scontrol")


def unavailable() -> str:
    """Why there can be no cluster on this machine; empty if there can."""
    if not Path("/etc/debian_version").exists():
        return "needs Debian or Ubuntu: their slurmd can play several nodes on one machine"
    if os.geteuid() != 0:
        return "needs root: slurmd starts jobs as their users"
    missing = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=_path()) is None]
    if missing:
        return f"needs {', '.join(missing)}: run tests/install.sh"
    return ""


class ClusterError(RuntimeError):
    """The cluster did not come up, or a command on it failed; says what and shows its log."""


class Cluster:
    """A running cluster inside `with`. `environment` makes SLURM's commands speak to it."""

    def __init__(self) -> None:
        # A short path: the sockets of slurmstepd must fit into 108 characters.
        folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.site = Site(
            folder=folder,
            hostname=socket.gethostname().split(".")[0],
            ports=_free_ports(),
            password=secrets.token_hex(16),
            first_job=1 + secrets.randbelow(50_000_000),
        )
        self.environment = _environment(self.site)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        try:
            self._write_files()
            self._start_all()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def run(
        self, *command: str, cwd: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node, with text output; raise ClusterError if it fails."""
        done = patience.run(command, cwd=cwd, env=self.environment)
        if check and done.returncode != 0:
            raise ClusterError(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def restart(self, name: str) -> None:
        """Stop a daemon ("slurmctld", "slurmd-cpu1" …) and start it again, as its admins might."""
        command = self._daemons[name].args
        self._end(self._daemons.pop(name))
        assert isinstance(command, list)
        self._start(name, *command)
        self._await_nodes()

    def log(self, name: str, lines: int = 30) -> str:
        """The end of a daemon's log and of what it wrote to its terminal."""
        folder = self.site.folder / "log"
        texts = []
        for path in (folder / f"{name}.log", folder / f"{name}.out"):
            if path.exists():
                tail = path.read_text(errors="replace").splitlines()[-lines:]
                texts.append("\n".join([f"--- {path.name}", *tail]))
        return "\n".join(texts)

    def sign(self) -> object:
        """Something that changes while anything happens: in the daemons' logs, or in a job.

        Of the daemons' processor time nothing is to be learned: some of it goes on for ever.
        """
        daemons = {process.pid for process in self._daemons.values()}
        jobs = [pid for pid in self._processes() if pid not in daemons]
        return patience.grown(self.site.folder / "log"), sum(map(patience.worked, jobs))

    def tail(self) -> str:
        """What the controller and the nodes said last."""
        return "\n".join(self.log(name) for name in self._daemons if name.startswith("slurm"))

    # ---- start ------------------------------------------------------------------------------

    def _write_files(self) -> None:
        site, folder = self.site, self.site.folder
        # Users' jobs read slurm.conf and write to munge's socket.
        folder.chmod(0o755)
        for name in ("bin", "log", "run", "state", "spool", "devices", "mariadb"):
            (folder / name).mkdir()
        for name in NODES:
            (folder / "spool" / name).mkdir()
        for number in range(GPUS):
            # 1, 3 is /dev/null: slurmd wants a character device and never opens it.
            path = site.devices / f"gpu{number}"
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        for name, text, mode in (
            ("slurm.conf", configuration.slurm_conf(site), 0o644),
            ("gres.conf", configuration.gres_conf(site), 0o644),
            ("slurmdbd.conf", configuration.slurmdbd_conf(site), 0o600),
            ("mariadb.cnf", configuration.mariadb_cnf(site), 0o600),
            ("database.sql", configuration.database_sql(site), 0o600),
        ):
            path = folder / name
            path.touch(mode=mode)
            path.write_text(text)
        for name in COMMANDS:
            # Snakemake's plugin strips SLURM_CONF from its jobs; real sites need none.
            wrapper = site.commands / name
            program = shutil.which(name, path=_path())
            wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={site.slurm_conf} exec {program} "$@"\n')
            wrapper.chmod(0o755)
        key = folder / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(128))

    def _start_all(self) -> None:
        site, folder = self.site, self.site.folder
        self._start(
            "munged",
            *("munged", "--foreground", "--num-threads=2"),
            *(f"--socket={site.munge_socket}", f"--key-file={folder}/munge.key"),
            *(f"--pid-file={folder}/run/munged.pid", f"--seed-file={folder}/munge.seed"),
            f"--log-file={folder}/log/munged.log",
        )
        self.run(
            *("mariadb-install-db", f"--defaults-file={folder}/mariadb.cnf"),
            *("--user=root", "--skip-test-db", "--skip-log-bin", "--cross-bootstrap"),
        )
        self._start("mariadb", "mariadbd", f"--defaults-file={folder}/mariadb.cnf")
        self._await("mariadb", lambda: _listens(site.ports.mariadb))
        self._await("munged", site.munge_socket.exists)
        self._start("slurmdbd", "slurmdbd", "-D")
        self._await("slurmdbd", lambda: _listens(site.ports.slurmdbd))
        for command in (
            ("add", "cluster", "laion"),
            ("add", "account", ACCOUNT, "cluster=laion"),
            ("add", "user", "root", f"account={ACCOUNT}", "cluster=laion"),
        ):
            self.run("sacctmgr", "--immediate", *command)
        self._start("slurmctld", "slurmctld", "-D")
        self._await("slurmctld", lambda: _listens(site.ports.slurmctld))
        for name in NODES:
            self._start(f"slurmd-{name}", "slurmd", "-D", "-N", name)
        self._await_nodes()

    def _start(self, name: str, *command: str) -> None:
        with (self.site.folder / "log" / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                list(command),
                env=self.environment,
                cwd=self.site.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the one who holds the cluster; if that one is killed, they end.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def _await_nodes(self) -> None:
        for name in NODES:
            self._await(f"slurmd-{name}", partial(self._works, name))

    def _works(self, node: str) -> bool:
        done = self.run("sinfo", "-h", "-n", node, "-N", "-o", "%T", check=False)
        return done.stdout.split("\n")[0] in ("idle", "mixed", "allocated")

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        dead: list[str] = []

        def decided() -> bool:
            dead[:] = [daemon for daemon, process in self._daemons.items() if process.poll()]
            return bool(dead) or ready()

        patience.until(
            decided,
            name,
            sign=lambda: patience.worked(self._daemons[name].pid),
            silence=START_SILENCE,
            tail=self.tail,
        )
        if dead:
            logs = "\n".join(self.log(daemon) for daemon in (*dead, "slurmctld"))
            raise ClusterError(f"{', '.join(dead)} did not come up\n{logs}")

    # ---- stop -------------------------------------------------------------------------------

    def _stop(self) -> None:
        try:
            if "slurmctld" in self._daemons:
                self._end_jobs()
        finally:
            # Against the order of the start: each daemon still has what it reports to.
            for name in reversed(list(self._daemons)):
                self._end(self._daemons.pop(name))
            self._end_strays()
            shutil.rmtree(self.site.folder, ignore_errors=True)

    def _end_jobs(self) -> None:
        for state in ("PENDING", "RUNNING", "SUSPENDED"):
            self.run("scancel", f"--state={state}", check=False)
        # Their ends are wanted, not needed: what is left of them is killed.
        with suppress(patience.SilenceError):
            patience.until(
                lambda: not self.run("squeue", "-h", check=False).stdout,
                "the end of the jobs",
                sign=self.sign,
                silence=15.0,
                pause=0.2,
            )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(120.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _end_strays(self) -> None:
        """Kill what jobs left behind: only they were started with this cluster's mark."""
        for pid in self._processes():
            with suppress(OSError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)

    def _processes(self) -> list[int]:
        """The processes that bear this cluster's mark: its daemons, their jobs, its commands."""
        mine = f"{_MARK}={self.site.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):  # it ended meanwhile, or is a kernel thread
                if mine in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


_MARK = "LAION_HPC_TEST_CLUSTER"
"""An environment variable by which the processes of a cluster, its jobs too, are known."""


def _path() -> str:
    # Debian's daemons are in sbin, which a user's PATH may lack; the venv's Python runs the jobs.
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return os.pathsep.join([*folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"])


def _environment(site: Site) -> Mapping[str, str]:
    # A test may itself run inside a SLURM job, or under MPI: nothing of that must leak in.
    foreign = ("SLURM", "SRUN_", "SBATCH_", "PMI", "SNAKEMAKE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "SLURM_CONF": str(site.slurm_conf),
        "PATH": os.pathsep.join([str(site.commands), _path()]),
        _MARK: str(site.folder),
        "PYTHONUNBUFFERED": "1",
    }


def _free_ports() -> Ports:
    # All are held until all are known: no number comes twice.
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3 + len(NODES))]
    numbers = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    mariadb, slurmdbd, slurmctld, *slurmds = numbers
    return Ports(mariadb, slurmdbd, slurmctld, dict(zip(NODES, slurmds, strict=True)))


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _end_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def main(command: list[str]) -> int:
    """Run a command, or a shell, on a new cluster."""
    if reason := unavailable():
        print(f"no cluster: {reason}", file=sys.stderr)
        return 1
    # Not the end of this process by itself: the cluster's folder would stay.
    signal.signal(signal.SIGTERM, lambda signum, _frame: sys.exit(128 + signum))
    with Cluster() as cluster:
        command = command or [os.environ.get("SHELL", "/bin/bash")]
        return subprocess.run(command, env=cluster.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
