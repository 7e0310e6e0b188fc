"""Measure diffused redundancy: how many randomly chosen neurons of a layer do the work of the whole layer."""

from drfarm._version import __version__
from drfarm.api import OpenStore, open_store, redundancy
from drfarm.errors import InvalidStudy, JobsFailed
from drfarm.farm import FarmOptions
from drfarm.imports import import_results
from drfarm.planning import StudyPlan
from drfarm.planning import plan_study as plan
from drfarm.running import RunOptions, RunReport, run
from drfarm.study import Study, load_study
from store import DrfarmError, InvalidRequest

__all__ = [
    "DrfarmError",
    "FarmOptions",
    "InvalidRequest",
    "InvalidStudy",
    "JobsFailed",
    "OpenStore",
    "RunOptions",
    "RunReport",
    "Study",
    "StudyPlan",
    "__version__",
    "import_results",
    "load_study",
    "open_store",
    "plan",
    "redundancy",
    "run",
]
