"""Farms: tasks handed to worker processes, here or in a running cluster. Only this package imports distributed."""

from drfarm.farm._feed import ATTEMPTS
from drfarm.farm._given import Failure
from drfarm.farm._settings import prepare_workers, start_tracker
from drfarm.farm.gpus import DECODE_WORKERS, RESOURCE, count_gpus, gpu_places
from drfarm.farm.joined import ClusterWorker, cluster_workers
from drfarm.farm.options import PATIENCE_S, FarmOptions, check_address, check_device, check_tasks
from drfarm.farm.run import MOST_TASK_BYTES, check_cluster, run_network_tasks, run_tasks
from drfarm.farm.security import TLS_VARIABLE

__all__ = [
    "ATTEMPTS",
    "DECODE_WORKERS",
    "MOST_TASK_BYTES",
    "PATIENCE_S",
    "RESOURCE",
    "TLS_VARIABLE",
    "ClusterWorker",
    "Failure",
    "FarmOptions",
    "check_address",
    "check_cluster",
    "check_device",
    "check_tasks",
    "cluster_workers",
    "count_gpus",
    "gpu_places",
    "prepare_workers",
    "run_network_tasks",
    "run_tasks",
    "start_tracker",
]
