"""Hosts on one machine: network namespaces joined by a bridge, with links that are cut and mended. Needs root."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

ADDRESSES = {"s": "10.78.0.1", "w1": "10.78.0.2", "w2": "10.78.0.3"}
"""A host for the scheduler and the driver, and two for workers."""


def missing() -> str | None:
    """Say why there can be no such hosts here; None where there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and iproute2"
    name = f"drfarm-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces can't be made here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


class Hosts:
    """Namespaces of their own, which nothing outside sees."""

    def __init__(self) -> None:
        self._prefix = f"drf{os.getpid()}"
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        hub = self._name("hub")
        self._ip("netns", "add", hub)
        for words in ("link set lo up", "link add br0 type bridge", "link set br0 up"):
            self._ip("-n", hub, *words.split())
        for host, address in ADDRESSES.items():
            own = self._name(host)
            self._ip("netns", "add", own)
            self._ip("-n", own, "link", "set", "lo", "up")
            self._ip("-n", hub, "link", "add", f"v-{host}", "type", "veth", "peer", "name", "eth0", "netns", own)
            self._ip("-n", hub, "link", "set", f"v-{host}", "master", "br0", "up")
            self._ip("-n", own, "addr", "add", f"{address}/24", "dev", "eth0")
            self._ip("-n", own, "link", "set", "eth0", "up")

    def stop(self) -> None:
        """End what was started on them, and them."""
        for process in self._processes:
            self.kill(process)
        for host in (*ADDRESSES, "hub"):
            subprocess.run(["ip", "netns", "del", self._name(host)], capture_output=True, check=False)

    def cut(self, host: str) -> None:
        """Pull its cable: nothing is told to anybody."""
        self._ip("-n", self._name("hub"), "link", "set", f"v-{host}", "down")

    def mend(self, host: str) -> None:
        self._ip("-n", self._name("hub"), "link", "set", f"v-{host}", "up")

    def run(self, host: str, command: Sequence[object], log: Path, **environment: str) -> subprocess.Popen:
        """Start a process on a host, with all that it says in a file."""
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._name(host), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=log.parent,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen) -> None:
        """Kill a process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def _name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
