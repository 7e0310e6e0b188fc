"""Cluster settings in a line, for people."""

from drfarm.farm.clusters.settings import Pool, Settings


def cluster_line(settings: Settings) -> str:
    """Return what a run would start for itself: both pools."""
    pools = [f"{name}: {_pool(settings, pool)}" for name in ("gpu", "cpu") if (pool := getattr(settings, name))]
    return f"cluster  {settings.cluster}, {'; '.join(pools)}"


def _pool(settings: Settings, pool: Pool) -> str:
    what = "job" if settings.cluster == "slurm" else "pod"
    n = f"{pool.most:,}" if pool.n_jobs is not None else f"{pool.fewest:,} to {pool.most:,}"
    n_each = pool.n_processes
    workers = "1 worker" if n_each == 1 else f"{n_each} workers"
    cores = "1 core" if pool.cores == 1 else f"{pool.cores} cores"
    return f"{n} {what}{'s'[: pool.most != 1]} of {workers} ({cores}, {pool.memory / 2**30:,.3g} GiB)"
