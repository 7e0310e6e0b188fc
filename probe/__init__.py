"""Subsets, measures and solvers: tasks in, batches of results out. No Dask in it; tasks run anywhere."""

from probe.errors import InvalidProbe, Mismatch, ProbeError
from probe.protocols import SGD_PROTOCOLS, SgdProtocol, Validation, protocol_label, sgd_protocol
from probe.spec import CkaKind, CkaTask, Names, ProbeSetting, ProbeTask, Subset, Task, batch_id, cka_job_id
from probe.subsets import METHODS, PAPER_FRACTIONS, neuron_order, size_of_fraction
from probe.tasks import BatchReport, run_task

__all__ = [
    "METHODS",
    "PAPER_FRACTIONS",
    "SGD_PROTOCOLS",
    "BatchReport",
    "CkaKind",
    "CkaTask",
    "InvalidProbe",
    "Mismatch",
    "Names",
    "ProbeError",
    "ProbeSetting",
    "ProbeTask",
    "SgdProtocol",
    "Subset",
    "Task",
    "Validation",
    "batch_id",
    "cka_job_id",
    "neuron_order",
    "protocol_label",
    "run_task",
    "sgd_protocol",
    "size_of_fraction",
]
