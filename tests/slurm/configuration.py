"""The configuration files of the test cluster, as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "none"
"""The account of profiles/slurm: the tests run with the profile as it is in the repository."""

GPU_NODE = "a100-1"
GPUS = 4
CPU_NODES = ("cpu1", "cpu2")
NODES = (*CPU_NODES, GPU_NODE)


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1, all of them private to one cluster."""

    mariadb: int
    slurmdbd: int
    slurmctld: int
    slurmd: dict[str, int]


@dataclass(frozen=True)
class Site:
    """Where one cluster lives."""

    folder: Path
    hostname: str
    ports: Ports
    password: str
    first_job: int
    """MPICH names its shared memory after the job: what a killed one of an earlier cluster has left
    would keep the ranks of a job with the same number from starting."""

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge.socket"

    @property
    def commands(self) -> Path:
        return self.folder / "bin"

    @property
    def devices(self) -> Path:
        return self.folder / "devices"


def slurm_conf(site: Site) -> str:
    """slurm.conf: two CPU nodes and one with four A100s, which this machine only pretends to be.

    CPUs and memory are those of real nodes (`config_overrides`: slurmd believes the file, not
    the machine) so that the profile's requests fit; no more runs than the tests submit.
    """
    folder = site.folder
    shape = "CPUs=64 Sockets=1 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=500000 State=UNKNOWN"
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={site.hostname} NodeAddr=127.0.0.1 "
        f"Port={site.ports.slurmd[name]} {shape}"
        + (f" Gres=gpu:a100:{GPUS}" if name == GPU_NODE else "")
        for name in NODES
    )
    return f"""\
ClusterName=laion
FirstJobId={site.first_job}
SlurmctldHost={site.hostname}(127.0.0.1)
SlurmctldPort={site.ports.slurmctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits as long as its old credential is valid: 120 seconds by default.
AuthInfo=socket={site.munge_socket},cred_expire=20
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmdParameters=config_overrides
MpiDefault=none
# Works in a container, where cgroups may not be writable; memory is watched by polling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={site.ports.slurmdbd}
# The munge socket that talks to slurmdbd: AuthInfo counts only between the other daemons.
AccountingStoragePass={site.munge_socket}
AccountingStorageTRES=gres/gpu
# Snakemake's plugin writes the rule into the comment.
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations
DefMemPerCPU=1000
MinJobAge=300
ReturnToService=2
KillWait=2
# Jobs of the partition `urgent` put others back into the queue.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# Jobs start at once: the defaults save the work of a controller with thousands of jobs.
SchedulerParameters=batch_sched_delay=0,bf_interval=2
{nodes}
PartitionName=cpu Nodes={",".join(CPU_NODES)} Default=YES MaxTime=2-00:00:00
PartitionName=a100 Nodes={GPU_NODE} MaxTime=2-00:00:00
PartitionName=urgent Nodes={",".join(CPU_NODES)} MaxTime=2-00:00:00 PriorityTier=10
"""


def gres_conf(site: Site) -> str:
    """gres.conf: the four A100s are character devices that nobody opens."""
    return f"""\
AutoDetect=off
NodeName={GPU_NODE} Name=gpu Type=a100 File={site.devices}/gpu[0-{GPUS - 1}]
"""


def slurmdbd_conf(site: Site) -> str:
    """slurmdbd.conf; SLURM wants it readable by its owner only."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={site.munge_socket}
DbdHost={site.hostname}
DbdAddr=127.0.0.1
DbdPort={site.ports.slurmdbd}
SlurmUser=root
LogFile={site.folder}/log/slurmdbd.log
PidFile={site.folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={site.ports.mariadb}
StorageUser=slurm
StoragePass={site.password}
StorageLoc=slurm
"""


def database_sql(site: Site) -> str:
    """What MariaDB runs when it starts: a database and a user for slurmdbd."""
    return f"""\
CREATE DATABASE IF NOT EXISTS slurm;
CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY '{site.password}';
GRANT ALL ON slurm.* TO slurm@'127.0.0.1';
"""


def mariadb_cnf(site: Site) -> str:
    """my.cnf: small, and fast rather than safe, for a database that lives for minutes."""
    folder = site.folder
    return f"""\
[mariadbd]
user=root
datadir={folder}/mariadb
socket={folder}/mariadb.socket
pid-file={folder}/run/mariadb.pid
# Its temporary tables would meet those of another cluster in /tmp.
tmpdir={folder}/run
init-file={folder}/database.sql
bind-address=127.0.0.1
port={site.ports.mariadb}
skip-name-resolve
performance-schema=0
innodb-buffer-pool-size=32M
innodb-log-file-size=16M
innodb-flush-log-at-trx-commit=0
innodb-lock-wait-timeout=900
"""
