"""Subsets, measures and solvers: tasks in, batches of results out. No Dask in it; tasks run anywhere."""

from probe._kept import kept_by
from probe.coordinates import Coordinates, coordinates
from probe.errors import InvalidProbe, Mismatch, ProbeError
from probe.logistic_protocol import LOGISTIC_PROTOCOLS, LogisticProtocol, logistic_protocol
from probe.protocols import SGD_PROTOCOLS, SgdProtocol, sgd_protocol
from probe.ridge import ridge_bytes
from probe.ridge_protocol import RIDGE_PROTOCOLS, RidgeProtocol, ridge_protocol
from probe.spec import (
    CkaKind,
    CkaTask,
    Estimator,
    Names,
    ProbeSetting,
    ProbeTask,
    Protocol,
    Sizes,
    StatisticsTask,
    SubsetGroup,
    Task,
    batch_id,
    cka_job_id,
    sizes_of,
)
from probe.statistics import Statistics, merge, statistics
from probe.subsets import METHODS, PAPER_FRACTIONS, Method, neuron_order, parse_method, size_of_fraction
from probe.tasks import BatchReport, is_written, run_task
from probe.validation import Validation

__all__ = [
    "LOGISTIC_PROTOCOLS",
    "METHODS",
    "PAPER_FRACTIONS",
    "RIDGE_PROTOCOLS",
    "SGD_PROTOCOLS",
    "BatchReport",
    "CkaKind",
    "CkaTask",
    "Coordinates",
    "Estimator",
    "InvalidProbe",
    "LogisticProtocol",
    "Method",
    "Mismatch",
    "Names",
    "ProbeError",
    "ProbeSetting",
    "ProbeTask",
    "Protocol",
    "RidgeProtocol",
    "SgdProtocol",
    "Sizes",
    "Statistics",
    "StatisticsTask",
    "SubsetGroup",
    "Task",
    "Validation",
    "batch_id",
    "cka_job_id",
    "coordinates",
    "is_written",
    "kept_by",
    "logistic_protocol",
    "merge",
    "neuron_order",
    "parse_method",
    "ridge_bytes",
    "ridge_protocol",
    "run_task",
    "sgd_protocol",
    "size_of_fraction",
    "sizes_of",
    "statistics",
]
