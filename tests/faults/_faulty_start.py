"""What all runs share: the process that starts commands, the study, and its store as an undisturbed run leaves it."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from _faulty_checks import Expected, expected_of
from _faulty_commands import Commands
from _faulty_farms import LocalFarm
from _faulty_kinds import KINDS, can_mount
from _faulty_study import environment, write_study


@dataclass(frozen=True)
class Reference:
    """The study undisturbed, and what starts it."""

    commands: Commands
    study: Path
    expected: Expected
    """What every store must be like."""
    store: Path
    """The undisturbed one."""
    disk_bytes: int | None
    """Size of a disk on which the study has room, and not much more; None where none can be mounted."""

    @property
    def n_representations(self) -> int:
        return len(list(self.store.glob("ledger/*/complete.json")))

    def copy_features(self, store: Path) -> None:
        """Make a store with all features and nothing else."""
        store.mkdir()
        for name in ("features", "ledger"):
            shutil.copytree(self.store / name, store / name)
        for name in ("drfarm.json", "zarr.json"):
            shutil.copy(self.store / name, store / name)


@contextlib.contextmanager
def make_reference(
    folder: Path, *, networks: Sequence[str] = ("ash", "birch"), n_seeds: int = 5, small_disks: bool = True
) -> Iterator[Reference]:
    """Run the study once, undisturbed."""
    study = write_study(folder, networks, n_seeds)
    commands = Commands(folder, environment(folder, folder / "tmp"))
    store = folder / "undisturbed"
    try:
        stage, *words = LocalFarm(commands, folder).words("run")
        command = commands.start(
            stage, study, "--store", store, *words, out=folder / "undisturbed.txt", temporary=folder / "tmp"
        )
        assert command.finished(240) == 0, command.said
        n_bytes = sum(p.stat().st_size for p in store.glob("**/*") if p.is_file())
        disk_bytes = 2 * n_bytes + 2**22 if small_disks and can_mount() else None
        yield Reference(commands, study, expected_of(store), store, disk_bytes)
    finally:
        commands.end()


def counts(runs: Sequence[Counter]) -> dict[str, dict[str, int]]:
    """Return how many faults of each kind hit, and how many runs they hit."""
    return {name: {"n": sum(r[name] for r in runs), "runs": sum(r[name] > 0 for r in runs)} for name in KINDS}
