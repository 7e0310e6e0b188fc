"""The scheduler of a run that makes its own cluster: in this process, so that it ends with it."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from drfarm.farm._lost_hosts import give_up_lost_hosts
from drfarm.farm._settings import METHOD, ONE_THREAD, configured, deaf_to_interrupts
from drfarm.farm.clusters._slurm_settings import SlurmSettings
from drfarm.farm.security import security_of
from store import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from distributed import Client, LocalCluster


def listening_host(settings: SlurmSettings) -> str:
    """Return the address on which the scheduler listens: loopback where the settings name none.

    Raises
    ------
    UnknownName
        If this machine has no such interface.
    """
    if settings.interface is None:
        return settings.host or "127.0.0.1"
    import psutil
    from distributed.utils import get_ip_interface

    names = psutil.net_if_addrs()
    if settings.interface not in names:
        raise UnknownName.among(
            "network interface here", settings.interface, names, where="cluster settings: interface"
        )
    try:
        return str(get_ip_interface(settings.interface))
    except ValueError as e:
        raise InvalidRequest(f"cluster settings: interface {settings.interface} has no IPv4 address: give host.") from e


@contextlib.contextmanager
def own_scheduler(host: str, *, tls: Path | None) -> Iterator[tuple["Client", str]]:
    """Run a scheduler in this process; give a client of it, and its address.

    Raises
    ------
    InvalidRequest
        If it can't listen there.
    """
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        stack.enter_context(configured(ONE_THREAD, METHOD))
        with deaf_to_interrupts():
            try:
                cluster = LocalCluster(
                    n_workers=0,
                    host=host,
                    protocol="tcp://" if tls is None else "tls://",
                    security=security_of(tls, "scheduler", "client"),
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.CRITICAL,
                )
            except (OSError, RuntimeError) as e:
                raise InvalidRequest(
                    f"no scheduler can listen at {host} ({e}). Give an address or an interface of this machine in the "
                    "cluster settings."
                ) from e
            stack.enter_context(cluster)
        stack.enter_context(_lost_hosts_given_up(cluster))
        yield stack.enter_context(Client(cluster, set_as_default=False)), str(cluster.scheduler_address)


@contextlib.contextmanager
def _lost_hosts_given_up(cluster: "LocalCluster") -> Iterator[None]:
    scheduler, loop = cluster.scheduler, cluster.loop
    assert scheduler is not None
    assert loop is not None

    async def begin() -> "asyncio.Task[None]":
        return asyncio.create_task(give_up_lost_hosts(scheduler))

    watch = cluster.sync(begin)
    try:
        yield
    finally:
        loop.add_callback(watch.cancel)
