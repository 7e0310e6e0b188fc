"""Whether the drfarm process of this container does what it is there for: exit code 0, or 1 and why.

    python healthcheck.py [PID]     by default the drfarm process that was started first

A scheduler is asked on its port: its event loop must answer, not only the kernel. A worker must hold a connection to
its scheduler. A command that runs a study must not hang: its metrics port, where it serves one, must answer. It loads
no part of drfarm: that would take seconds each time.
"""

import os
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

TIMEOUT_S = 5.0
_SCHEDULER_PORT = "8786"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main(pid: int | None = None) -> int:
    """Check a drfarm process, by default the first one."""
    try:
        process = oldest() if pid is None else psutil.Process(pid)
        words = None if process is None else arguments(process.cmdline())
    except psutil.Error as e:
        return _unhealthy(str(e))
    if process is None or words is None:
        return _unhealthy("no drfarm process runs here")
    command = words[0] if words else ""
    if command == "scheduler":
        return _scheduler(words)
    if command == "worker":
        return _worker(process, words)
    return _driver(words)


def oldest() -> psutil.Process | None:
    """Return the drfarm process that was started first; None where there is none."""
    seen = psutil.process_iter(["cmdline", "create_time"])
    found = [p for p in seen if arguments(p.info["cmdline"] or []) is not None]
    return min(found, key=lambda p: (p.info["create_time"], p.pid), default=None)


def arguments(command_line: Sequence[str]) -> list[str] | None:
    """Return what follows ``drfarm`` on a command line; None where it is not that command."""
    words = list(command_line)
    for i, word in enumerate(words[:6]):  # an init process and its option, the interpreter and its options
        if Path(word).name == "drfarm" or (word == "-m" and words[i + 1 : i + 2] == ["drfarm"]):
            return words[i + 2 if word == "-m" else i + 1 :]
    return None


def option(words: Sequence[str], name: str, default: str = "") -> str:
    """Return the value of an option that is written as ``--name value`` or ``--name=value``."""
    for i, word in enumerate(words):
        if word == name and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return default


def _scheduler(words: Sequence[str]) -> int:
    host = option(words, "--host", "127.0.0.1")
    host, port = _EVERYWHERE.get(host, host), option(words, "--port", _SCHEDULER_PORT)
    folder = option(words, "--tls", os.environ.get("DRFARM_TLS", ""))
    try:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as plain:
            if folder:
                _handshake(plain, Path(folder))
            elif not plain.recv(1):  # it speaks first
                return _unhealthy(f"the scheduler at {host}:{port} closed the connection")
    except (OSError, ValueError) as e:
        return _unhealthy(f"the scheduler at {host}:{port} does not answer within {TIMEOUT_S:g} s: {e}")
    return 0


def _handshake(plain: socket.socket, folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the address of a container is in no certificate
    context.load_verify_locations(folder / "ca.pem")
    context.load_cert_chain(folder / "scheduler.pem", folder / "scheduler.key")  # the only one that is surely here
    with context.wrap_socket(plain) as secure:
        if not secure.recv(1):
            msg = "it closed the connection"
            raise OSError(msg)


def _worker(process: psutil.Process, words: Sequence[str]) -> int:
    address = next((w for w in words[1:] if "://" in w), "")
    port = address.rpartition(":")[2]
    for one in [process, *process.children(recursive=True)]:
        try:
            connections = one.net_connections(kind="tcp")
        except psutil.Error:  # it has just ended
            continue
        if any(c.status == psutil.CONN_ESTABLISHED and c.raddr and str(c.raddr.port) == port for c in connections):
            return 0
    return _unhealthy(f"no worker process is connected to {address}")


def _driver(words: Sequence[str]) -> int:
    port = option(words, "--metrics-port", "0")
    if port == "0":
        return 0
    host = option(words, "--metrics-host", "127.0.0.1")
    url = f"http://{_EVERYWHERE.get(host, host)}:{port}/metrics"
    try:
        with urlopen(url, timeout=TIMEOUT_S):
            return 0
    except OSError as e:
        if isinstance(e, URLError) and isinstance(e.reason, ConnectionRefusedError):
            return 0  # it plans, or draws its figures: metrics are served only in between
        return _unhealthy(f"{url} does not answer within {TIMEOUT_S:g} s: {e}")


def _unhealthy(why: str) -> int:
    sys.stderr.write(f"unhealthy: {why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else None))
