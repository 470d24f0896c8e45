"""A Slurm of one node on loopback: munged, MariaDB, slurmdbd, slurmctld and slurmd, run by root without systemd."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.services import account, free_port, needed, running, wait_until

SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")

CONF = """
ClusterName=sweep
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=30
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge.socket
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

DBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdAddr=127.0.0.1
DbdHost=localhost
DbdPort={dbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadb}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
"""


@dataclass(frozen=True)
class Slurm:
    """The running controller."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """What Slurm's commands need."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def command(self, *words: str) -> str:
        """Run one of Slurm's commands; returns its output, empty where it failed."""
        return subprocess.run(words, env=self.env, capture_output=True, text=True, check=False).stdout


@contextmanager
def slurm() -> Iterator[Slurm]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to run a Slurm of its own")
    programs = {name: needed(name, "Slurm (Debian: slurm-wlm, slurmdbd, munge)", *SBIN) for name in PROGRAMS}
    database = {name: needed(name, "MariaDB (Debian: mariadb-server)", *SBIN) for name in ("mariadbd", "mariadb")}
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        fill = {
            "folder": folder, "host": socket.gethostname().partition(".")[0], "cpus": os.cpu_count(),
            "password": secrets.token_hex(8), "mariadb": stack.enter_context(_mariadb(database)),
            **{port: free_port() for port in ("ctld", "slurmd", "dbd")},
        }  # fmt: skip
        _mariadb_sql(database["mariadb"], int(str(fill["mariadb"])), _grants(str(fill["password"])))
        (folder / "slurm.conf").write_text(CONF.format(**fill))
        (folder / "slurmdbd.conf").write_text(DBD_CONF.format(**fill))
        (folder / "slurmdbd.conf").chmod(0o600)
        for each in ("state", "spool"):
            (folder / each).mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge.key").chmod(0o400)
        server = Slurm(folder)

        def start(program: str, *words: str) -> None:
            stack.enter_context(running([programs[program], *words], folder, server.env, grace=5.0))

        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        start("munged", "--foreground", "--force", *(f"--{key}={folder}/munge.{file}" for key, file in files.items()))
        wait_until("munged", (folder / "munge.socket").exists)
        start("slurmdbd", "-D")
        wait_until("slurmdbd", lambda: "sweep" in _add_cluster(server))
        start("slurmctld", "-D", "-i")
        start("slurmd", "-D")
        wait_until("an idle node", lambda: "idle" in server.command("sinfo", "-h", "-o", "%T"))
        yield server


PROGRAMS = ("munged", "slurmdbd", "slurmctld", "slurmd", "sacctmgr", "sbatch", "srun", "scancel", "sacct")


def _add_cluster(server: Slurm) -> str:
    server.command("sacctmgr", "-i", "add", "cluster", "sweep")
    return server.command("sacctmgr", "-n", "show", "cluster", "format=cluster")


def _grants(password: str) -> str:
    user = "'slurm'@'127.0.0.1'"
    return f"CREATE DATABASE slurm; CREATE USER {user} IDENTIFIED BY '{password}'; GRANT ALL ON slurm.* TO {user};"


@contextmanager
def _mariadb(programs: dict[str, str]) -> Iterator[int]:
    """A MariaDB that root may use through its socket; yields its port."""
    port = free_port()
    with account("mysql") as mysql:
        data = mysql.folder / "data"
        install = needed("mariadb-install-db", "MariaDB (Debian: mariadb-server)", *SBIN)
        words = ["--no-defaults", f"--datadir={data}"]
        mysql.run(install, *words, "--auth-root-authentication-method=normal", "--skip-test-db")
        words += [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={mysql.folder}/socket"]
        words += [f"--pid-file={mysql.folder}/pid", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"]
        with running(mysql.command(programs["mariadbd"], *words), mysql.folder, name="mariadbd"):
            wait_until("MariaDB", lambda: _mariadb_sql(programs["mariadb"], port, "SELECT 1"))
            yield port


def _mariadb_sql(client: str, port: int, statements: str) -> bool:
    words = ["--no-defaults", "-h", "127.0.0.1", "-P", str(port), "-u", "root", "-e", statements]
    return subprocess.run([client, *words], capture_output=True, check=False).returncode == 0
