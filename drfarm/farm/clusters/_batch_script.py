"""The script of one Slurm job that runs workers: its header is dask-jobqueue's, its command is ours. Starts nothing."""

import shlex
import tempfile
from pathlib import Path

from drfarm.farm.clusters._slurm_settings import SlurmCpuPool, SlurmGpuPool, SlurmSettings
from drfarm.farm.clusters._values import clock
from store import InvalidRequest

PATIENCE_S = 60
"""A scheduler that is gone for so long was killed with its run, and its jobs end."""


def batch_script(
    settings: SlurmSettings, *, gpu: bool, name: str, address: str, tls: Path | None = None, insecure: bool = False
) -> str:
    """Return the script.

    The jobs run ``drfarm worker``, not ``dask worker``: threads, start method, safe path and GPUs of the worker
    processes are then what they are everywhere else.

    Parameters
    ----------
    settings
        Of the cluster; a pool of the kind that is asked for must be among them.
    gpu
        Which pool.
    name
        Of the job; log files begin with it.
    address
        Of the scheduler.
    tls
        Folder with certificates, which all nodes see.
    insecure
        Whether the scheduler is a plain one on another address than loopback.

    Raises
    ------
    InvalidRequest
        If dask-jobqueue is not installed.
    """
    pool = settings.gpu if gpu else settings.cpu
    assert pool is not None  # told before, as `pool_of` does
    lines = [
        "#!/usr/bin/env bash",
        _header(pool, name=name, logs=Path(settings.logs).absolute()),
        # What Slurm put back into its queue by itself would be there twice: the pool submits another.
        "#SBATCH --no-requeue",
        "export PYTHONSAFEPATH=1",
        *(f"export {key}={shlex.quote(value)}" for key, value in settings.environment.items()),
        *settings.prologue,
        _lived(pool, shlex.join(_command(pool, settings.python, gpu=gpu, address=address, tls=tls, insecure=insecure))),
    ]
    return "\n".join(lines) + "\n"


def _header(pool: SlurmGpuPool | SlurmCpuPool, *, name: str, logs: Path) -> str:
    job_class = _job_class()
    extra = [f"--qos={pool.qos}"] if pool.qos is not None else []
    if isinstance(pool, SlurmGpuPool) and pool.gpus:
        extra.append(f"--gres=gpu:{f'{pool.gpu_type}:' if pool.gpu_type else ''}{pool.gpus}")
    job = job_class(
        scheduler="tcp://",  # every argument that is left out comes from a person's own settings of dask-jobqueue
        name=name,
        job_name=name,
        cores=pool.cores,
        processes=1,
        memory=f"{pool.memory}B",
        walltime=clock(pool.walltime),
        queue=pool.partition,
        account=pool.account,
        log_directory=str(logs),
        job_extra_directives=[*extra, *pool.directives],
    )
    return str(job.job_header)


def _lived(pool: SlurmGpuPool | SlurmCpuPool, command: str) -> str:
    """Return the line that runs the workers, for as long as they are to live."""
    if pool.lifetime is None:
        return f"exec {command}"
    length = str(pool.lifetime)
    if pool.lifetime_stagger is not None:
        # RANDOM is 15 bits: two of them give every second of a week.
        length = f"$(( {length} - (RANDOM * 32768 + RANDOM) % {pool.lifetime_stagger} ))"
    # The end of a lifetime is no failure of the job: `timeout` says 124 then.
    return f'timeout --signal=TERM --kill-after=60 "{length}" {command} || [ $? -eq 124 ]'


def _command(
    pool: SlurmGpuPool | SlurmCpuPool, python: str, *, gpu: bool, address: str, tls: Path | None, insecure: bool
) -> list[str]:
    words = [*shlex.split(python), "-m", "drfarm", "worker", address, "--patience", str(PATIENCE_S)]
    if gpu:
        words.append("--gpu")
    if not gpu or pool.processes is not None:
        words += ["--workers", str(pool.n_processes)]
    if pool.memory_limit_bytes is not None:
        words += ["--memory-limit", f"{pool.memory_limit_bytes}B"]
    if tls is not None:
        words += ["--tls", str(tls.absolute())]
    elif insecure:
        words.append("--insecure")
    return words


def _job_class() -> type:
    import dask

    before = dask.config.PATH
    try:
        with tempfile.TemporaryDirectory() as folder:  # importing it writes a file into a person's settings
            dask.config.PATH = folder
            from dask_jobqueue.slurm import SLURMJob
    except ImportError as e:
        raise InvalidRequest(
            "--cluster slurm needs dask-jobqueue, which is not installed. Install drfarm[slurm]."
        ) from e
    finally:
        dask.config.PATH = before
    return SLURMJob
