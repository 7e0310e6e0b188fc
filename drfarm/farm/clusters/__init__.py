"""Clusters that a run makes for itself: pools of jobs on Slurm, worker groups on Kubernetes."""

from drfarm.farm.clusters._told import cluster_line
from drfarm.farm.clusters.settings import KINDS, Kind, Settings, load_settings, pool_of

__all__ = ["KINDS", "Kind", "Settings", "cluster_line", "load_settings", "pool_of"]
