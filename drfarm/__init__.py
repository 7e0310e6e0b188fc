"""Measure diffused redundancy: how many randomly chosen neurons of a layer do the work of the whole layer."""

import importlib
from typing import TYPE_CHECKING, Any

from drfarm._version import __version__

if TYPE_CHECKING:
    from drfarm.api import OpenStore, open_store, redundancy
    from drfarm.comparison import Comparison, compare
    from drfarm.errors import InvalidStudy, JobsFailed
    from drfarm.export import export_archive, import_archive
    from drfarm.farm import FarmOptions
    from drfarm.imports import import_results
    from drfarm.notebook import show
    from drfarm.planning import StudyPlan
    from drfarm.planning import plan_study as plan
    from drfarm.reporting import report
    from drfarm.running import RunOptions, RunReport, run
    from drfarm.study import Study, load_study
    from store import DrfarmError, InvalidRequest

# Imported when asked for: the command then answers, and can be interrupted, before torch is loaded.
_HOMES = {
    "Comparison": ("drfarm.comparison", "Comparison"),
    "DrfarmError": ("store", "DrfarmError"),
    "FarmOptions": ("drfarm.farm", "FarmOptions"),
    "InvalidRequest": ("store", "InvalidRequest"),
    "InvalidStudy": ("drfarm.errors", "InvalidStudy"),
    "JobsFailed": ("drfarm.errors", "JobsFailed"),
    "OpenStore": ("drfarm.api", "OpenStore"),
    "RunOptions": ("drfarm.running", "RunOptions"),
    "RunReport": ("drfarm.running", "RunReport"),
    "Study": ("drfarm.study", "Study"),
    "StudyPlan": ("drfarm.planning", "StudyPlan"),
    "compare": ("drfarm.comparison", "compare"),
    "export_archive": ("drfarm.export", "export_archive"),
    "import_archive": ("drfarm.export", "import_archive"),
    "import_results": ("drfarm.imports", "import_results"),
    "load_study": ("drfarm.study", "load_study"),
    "open_store": ("drfarm.api", "open_store"),
    "plan": ("drfarm.planning", "plan_study"),
    "redundancy": ("drfarm.api", "redundancy"),
    "report": ("drfarm.reporting", "report"),
    "run": ("drfarm.running", "run"),
    "show": ("drfarm.notebook", "show"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'drfarm' has no attribute {name!r}")
    home, attribute = _HOMES[name]
    return getattr(importlib.import_module(home), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Comparison",
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
    "compare",
    "export_archive",
    "import_archive",
    "import_results",
    "load_study",
    "open_store",
    "plan",
    "redundancy",
    "report",
    "run",
    "show",
]
