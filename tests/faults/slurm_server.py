"""A real Slurm for tests: munged, slurmctld and two slurmd on this machine, on loopback, in a folder. Needs root.

Needs Debian's packages slurm-wlm and munge. Each node has two cores and a fake GPU (`/dev/null` stands for it): jobs
with ``--gres=gpu:1`` queue for it, and networks run on the CPU.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PACKAGES = "slurm-wlm munge slurm-wlm-basic-plugins"
NODES = ("n1", "n2")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")

_CONFIGURATION = """\
ClusterName=faults
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# A node that was set down comes back by itself; walltimes are kept to the second.
ReturnToService=2
OverTimeLimit=0
SlurmctldTimeout=30
SlurmdTimeout=15
InactiveLimit=0
MinJobAge=60
KillWait=3
Waittime=0
PropagateResourceLimits=NONE
MailProg=/bin/true
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_interval=1,sched_min_interval=100000
{nodes}
PartitionName=batch Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


class SlurmServer:
    """The server. `start` it once; ask it with `run`."""

    def __init__(self):
        missing = [p for p in _PROGRAMS if shutil.which(p) is None]
        if missing:
            message = f"no {missing[0]} here: these tests need a real Slurm. On Debian: apt-get install {PACKAGES}"
            raise RuntimeError(message)
        if os.geteuid():
            raise RuntimeError("these tests start Slurm's daemons, which only root may")
        # A socket lies in it, and its path must be short; jobs of any user read it.
        self.root = Path(tempfile.mkdtemp(prefix="drfarm-slurm-"))
        self.root.chmod(0o755)
        port, *node_ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs=2 Sockets=1 CoresPerSocket=2 "
            "ThreadsPerCore=1 RealMemory=8000 Gres=gpu:1 State=UNKNOWN"
            for name, own in zip(NODES, node_ports, strict=True)
        ]
        for name in ("state", *(f"spool-{n}" for n in NODES)):
            (self.root / name).mkdir()
        self.configuration = self.root / "slurm.conf"
        names = ",".join(NODES)
        text = _CONFIGURATION.format(root=self.root, host=host, port=port, nodes="\n".join(lines), names=names)
        self.configuration.write_text(text)
        (self.root / "gres.conf").write_text(f"NodeName={names} Name=gpu Count=1 File=/dev/null\n")

    def start(self):
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {
            "key-file": key,
            "socket": self.root / "munge.socket",
            "pid-file": self.root / "munged.pid",
            "log-file": self.root / "munged.log",
            "seed-file": self.root / "munge.seed",
        }
        self._daemon("munged", *(f"--{name}={file}" for name, file in files.items()))
        self._daemon("slurmctld", "-f", self.configuration, "-c")
        for node in NODES:
            self._daemon("slurmd", "-f", self.configuration, "-N", node)
        end = time.monotonic() + 60
        while self.run("sinfo", "--noheader", "--states", "idle", "--format", "%D").split() != [str(len(NODES))]:
            assert time.monotonic() < end, self.run("sinfo")
            time.sleep(0.2)
        return self

    def run(self, *words) -> str:
        """Run one of Slurm's commands; return what it prints."""
        done = subprocess.run(
            [*map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "SLURM_CONF": str(self.configuration)},
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def jobs(self, *states) -> list[tuple[str, str, str]]:
        """Return (id, name, node) of the jobs in these states; by default, that run."""
        lines = self.run("squeue", "--noheader", "--states", ",".join(states or ("RUNNING",)), "--format", "%i|%j|%N")
        return [tuple(line.split("|")) for line in lines.splitlines()]

    def stop(self):
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            left = [job for job, _, _ in self.jobs("RUNNING", "PENDING")]
            if left:
                self.run("scancel", *left)
                time.sleep(4)  # KillWait
        pids = [
            self._signal(f"{name}.pid", signal.SIGTERM)
            for name in (*(f"slurmd-{n}" for n in NODES), "slurmctld", "munged")
        ]
        end = time.monotonic() + 20
        while any(map(_alive, pids)) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in filter(_alive, pids):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def _daemon(self, *words):
        # Daemons keep the pipes of whoever starts them: their output goes nowhere, their logs are in the folder.
        environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        subprocess.run(
            [*map(str, words)],
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def _signal(self, file, number):
        try:
            pid = int((self.root / file).read_text())
            os.kill(pid, number)
        except (OSError, ValueError):
            return None
        return pid


def _alive(pid):
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
