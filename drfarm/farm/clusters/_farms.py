"""From settings to a farm: a scheduler of the run's own, a pool for the stage, and the end of both."""

import contextlib
import secrets
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drfarm.farm.clusters._batch_script import batch_script
from drfarm.farm.clusters._pool_farm import Pool, PoolFarm
from drfarm.farm.clusters._scheduler import listening_host, own_scheduler
from drfarm.farm.clusters._slurm import SlurmPool
from drfarm.farm.clusters._slurm_queue import SlurmQueue, SlurmRefused
from drfarm.farm.clusters._slurm_settings import SlurmSettings
from drfarm.farm.clusters.settings import Settings, pool_of
from drfarm.farm.joined import JoinedFarm
from drfarm.farm.security import check_listens, security_of
from store import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that a run makes for itself."""

    settings: Settings
    """What was read of its file."""
    tls: Path | None
    """Folder with certificates."""
    insecure: bool
    """Whether plain tcp is allowed on other addresses than loopback."""

    def check(self, *, gpu: bool) -> int | None:
        """Refuse settings that can't work, before anything starts; return the memory limit of a worker, in bytes.

        Raises
        ------
        InvalidRequest
            If there is no such pool, the address is none of this machine's or must be encrypted, certificates are
            missing, or Slurm would not take the job.
        """
        pool = pool_of(self.settings, gpu=gpu)
        if isinstance(self.settings, SlurmSettings):
            host = listening_host(self.settings)
            check_listens(host, tls=self.tls, insecure=self.insecure)
            security_of(self.tls, "scheduler", "worker", "client")
            script = self._script(self.settings, gpu=gpu, name="drfarm-check", address=f"tcp://{host}:1")
            try:
                SlurmQueue().check(script)
            except SlurmRefused as e:
                name = "gpu" if gpu else "cpu"
                raise InvalidRequest(f"Slurm would not take the jobs of the pool {name!r}: {e}") from e
        else:
            from drfarm.farm.clusters._kubernetes import check_kubernetes

            check_kubernetes(self.settings, tls=self.tls, insecure=self.insecure)
        return pool.memory_limit_bytes

    @property
    def memory_limit_bytes(self) -> int | None:
        """Memory of one worker that fits probes."""
        return pool_of(self.settings, gpu=False).memory_limit_bytes

    @contextlib.contextmanager
    def farm(self, *, gpu: bool, n_tasks: int, store_url: str | None = None) -> Iterator[PoolFarm]:
        """Start the pool of a stage that has so many tasks on a store; end it whatever happens.

        Raises
        ------
        InvalidRequest
            If the settings have no such pool.
        """
        pool = pool_of(self.settings, gpu=gpu)
        most = min(pool.most, -(-n_tasks // pool.n_processes))
        fewest = min(pool.fewest, most)
        with _ended_by_sigterm(), contextlib.ExitStack() as stack:
            if isinstance(self.settings, SlurmSettings):
                joined, keeper = self._on_slurm(self.settings, stack, gpu=gpu, n_jobs=fewest)
            else:
                from drfarm.farm.clusters._kubernetes import kubernetes_pool

                joining = kubernetes_pool(self.settings, gpu=gpu, n_jobs=fewest, tls=self.tls, insecure=self.insecure)
                joined, keeper = stack.enter_context(joining)
            yield PoolFarm(joined=joined, pool=keeper, fewest=fewest, most=most, store_url=store_url)

    def _on_slurm(
        self, settings: SlurmSettings, stack: contextlib.ExitStack, *, gpu: bool, n_jobs: int
    ) -> tuple[JoinedFarm, Pool]:
        host = listening_host(settings)
        check_listens(host, tls=self.tls, insecure=self.insecure)
        client, address = stack.enter_context(own_scheduler(host, tls=self.tls))
        name = f"drfarm-{'gpu' if gpu else 'cpu'}-{secrets.token_hex(4)}"
        keeper = SlurmPool(
            SlurmQueue(),
            self._script(settings, gpu=gpu, name=name, address=address),
            name=name,
            logs=Path(settings.logs).absolute(),
            n_jobs=n_jobs,
            client=client,
            poll_s=settings.poll,
        )
        joined = JoinedFarm(client=client, address=address, gpu=gpu)
        return joined, stack.enter_context(keeper.kept())

    def _script(self, settings: SlurmSettings, *, gpu: bool, name: str, address: str) -> str:
        return batch_script(settings, gpu=gpu, name=name, address=address, tls=self.tls, insecure=self.insecure)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which a batch system ends a driver, end the pool as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
