"""The kinds of faults: who is hit, with what, and when it is over."""

import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from _faulty_commands import Command, Seen, tell
from _faulty_study import HOG_SIGNAL

LONGEST_STOP_S = 4.0
"""A stopped process goes on after at most so long, unless it is stopped for good."""
LONGEST_FULL_S = 2.0
"""A full disk has room again after at most so long."""
LONGEST_GREED_S = 30.0
"""A worker that takes more memory than it may is dead so soon."""


class Scene(Protocol):
    """What faults can be thrown at."""

    driver: Command
    parts: dict[str, Command]
    """What runs beside it."""
    moments: random.Random
    disk: Path | None
    """Where a small disk is that holds nothing but the store; None where it can't be had."""

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something later, or when the faults are over."""
        ...

    def doomed(self, pid: int, within_s: float) -> bool:
        """Hold that a process is dead so soon; say whether that is new."""
        ...


def commands(scene: Scene) -> list[Command]:
    return [scene.driver, *scene.parts.values()]


def workers(scene: Scene) -> list[Seen]:
    return [w for command in commands(scene) if command.code is None for w in command.workers()]


def kill_worker(scene: Scene) -> bool:
    there = workers(scene)
    return bool(there) and tell(scene.moments.choice(there).pid, signal.SIGKILL)


def kill_nanny(scene: Scene) -> bool:
    """A whole node, or only the process that looks after its worker."""
    nodes = [p for name, p in scene.parts.items() if name != "scheduler" and p.code is None]
    return bool(nodes) and scene.moments.choice(nodes).kill(family=scene.moments.random() < 0.3)


def kill_fork_server(scene: Scene) -> bool:
    servers = [s for command in commands(scene) if command.code is None for s in command.fork_servers()]
    return bool(servers) and tell(scene.moments.choice(servers).pid, signal.SIGKILL)


def kill_scheduler(scene: Scene) -> bool:
    return "scheduler" in scene.parts and scene.parts["scheduler"].kill()


def kill_driver(scene: Scene) -> bool:
    """With everything of its session, or alone."""
    return scene.driver.kill(family=scene.moments.random() < 0.3)


def stop_worker(scene: Scene) -> bool:
    there = workers(scene)
    return bool(there) and _stop(scene, scene.moments.choice(there).pid)


def stop_service(scene: Scene) -> bool:
    """The driver, the scheduler, or a process that looks after a worker."""
    return _stop(scene, scene.moments.choice(commands(scene)).pid)


def stop_worker_for_good(scene: Scene) -> bool:
    there = workers(scene)
    return bool(there) and tell(scene.moments.choice(there).pid, signal.SIGSTOP)


def _stop(scene: Scene, pid: int) -> bool:
    hit = tell(pid, signal.SIGSTOP)
    scene.later(scene.moments.uniform(0.2, LONGEST_STOP_S), lambda: tell(pid, signal.SIGCONT))
    return hit


def fill_disk(scene: Scene) -> bool:
    if scene.disk is None:
        return False
    ballast = scene.disk / "ballast"
    if ballast.exists():
        return False
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(2**10))
    scene.later(scene.moments.uniform(0.2, LONGEST_FULL_S), lambda: ballast.unlink(missing_ok=True))
    return True


def exceed_memory(scene: Scene) -> bool:
    """Make a worker take more memory than it may; whoever watches over it must end it."""
    there = workers(scene)
    if not there:
        return False
    pid = scene.moments.choice(there).pid
    return scene.doomed(pid, LONGEST_GREED_S) and tell(pid, HOG_SIGNAL)


KINDS: dict[str, tuple[Callable[[Scene], bool], float]] = {
    "worker killed": (kill_worker, 4.0),
    "nanny killed": (kill_nanny, 2.0),
    "fork server killed": (kill_fork_server, 1.0),
    "scheduler killed": (kill_scheduler, 1.5),
    "driver killed": (kill_driver, 2.0),
    "worker stopped for seconds": (stop_worker, 2.5),
    "driver, scheduler or nanny stopped for seconds": (stop_service, 1.5),
    "worker stopped for good": (stop_worker_for_good, 1.0),
    "no space": (fill_disk, 2.5),
    "memory limit": (exceed_memory, 2.0),
}
"""Each with how often it is drawn, against the others."""


def can_mount() -> bool:
    """Say whether a small disk can be had here."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
