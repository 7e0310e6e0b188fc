"""Jobs and tasks: what a worker needs to know, and nothing more. Pure (no I/O); a task pickles below 64 KB."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from probe.errors import InvalidProbe
from probe.protocols import SgdProtocol, Validation, protocol_label
from probe.subsets import METHODS
from store import JSON, UnknownName, canonical_json, content_id

CkaKind = Literal["part_whole", "pair"]

JOB_FORMAT = 1
"""Raised when the meaning of a job changes; enters every job's id."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Subset:
    """Neurons of one probe: the first ``n_neurons`` of the order that ``method`` and ``seed`` decide."""

    method: str
    """How neurons are chosen."""
    seed: int
    """Seed of the choice and of the probe's initial weights."""
    n_neurons: int
    """Size, k >= 1."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownName.among("method", self.method, METHODS)
        if self.n_neurons < 1:
            raise InvalidProbe(f"n_neurons must be >= 1, got {self.n_neurons}.")


@dataclass(frozen=True, kw_only=True)
class ProbeSetting:
    """What the probes of one representation pair have in common, apart from names."""

    train_id: str
    """Representation that probes are trained on."""
    test_id: str
    """Representation that they are scored on."""
    protocol: SgdProtocol
    """Settings of the solver."""
    validation: Validation | None
    """Rows for choosing the best epoch, if any."""

    @property
    def solver(self) -> str:
        """Name of the solver."""
        return "sgd"

    @property
    def label(self) -> str:
        """The ``protocol`` column."""
        return protocol_label(self.protocol, self.validation)

    @cached_property
    def digest(self) -> str:
        """Content address of all of it; two studies that agree in it share their jobs."""
        return content_id(
            {
                "job_format": JOB_FORMAT,
                "measure": "accuracy",
                "solver": self.solver,
                "train_id": self.train_id,
                "test_id": self.test_id,
                "protocol": self.protocol.identity(),
                "validation": None if self.validation is None else self.validation.identity(),
            }
        )

    def job_id(self, subset: Subset) -> str:
        """Return the identity of one probe, 32 hexadecimal characters."""
        return _short(f"{self.digest}|{subset.method}|{subset.seed}|{subset.n_neurons}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Readable names that go with results; not part of any identity."""

    study: str
    """Study whose run computes them."""
    model: str
    """Model."""
    layer: str
    """Layer."""
    dataset: str
    """Data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTask:
    """One block of probes on one representation pair: the unit that the farm hands out."""

    store_url: str
    """Store with the representations, and for the results."""
    names: Names
    """Readable names."""
    setting: ProbeSetting
    """What the probes have in common."""
    subsets: tuple[Subset, ...]
    """The block."""
    predicted_s: float
    """Expected time of one core, in seconds."""
    predicted_bytes: int
    """Expected memory of the features, in bytes."""

    @property
    def batch_id(self) -> str:
        """Name of the results file: the identity of the block, whatever the order of its jobs."""
        return batch_id(self.setting.job_id(s) for s in self.subsets)

    @property
    def n_jobs(self) -> int:
        """Results that it makes."""
        return len(self.subsets)

    @property
    def title(self) -> str:
        """How it is named to people."""
        n = self.names
        seeds = ",".join(str(s) for s in sorted({s.seed for s in self.subsets}))
        return f"{self.n_jobs} probes of {n.model}/{n.layer} on {n.dataset}, seeds {seeds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CkaTask:
    """All CKA values of one representation: they share one covariance, which is most of the work."""

    store_url: str
    """Store with the representation, and for the results."""
    names: Names
    """Readable names."""
    test_id: str
    """Representation it is measured on."""
    method: str
    """How neurons are chosen."""
    part_whole: tuple[tuple[int, tuple[int, ...]], ...]
    """(seed, sizes) of parts against the whole."""
    pairs: tuple[tuple[int, int, tuple[int, ...]], ...]
    """(seed, seed of the other part, sizes) of pairs of parts."""
    predicted_s: float
    """Expected time of one core, in seconds."""
    predicted_bytes: int
    """Expected memory, in bytes."""

    @property
    def batch_id(self) -> str:
        """Name of the results file."""
        parts: JSON = [[s, list(k)] for s, k in self.part_whole]
        pairs: JSON = [[a, b, list(k)] for a, b, k in self.pairs]
        return _short(canonical_json([JOB_FORMAT, "cka", self.test_id, self.method, parts, pairs]).decode())

    @property
    def n_jobs(self) -> int:
        """Results that it makes."""
        return sum(len(k) for _, k in self.part_whole) + sum(len(k) for *_, k in self.pairs)

    @property
    def title(self) -> str:
        """How it is named to people."""
        n = self.names
        return f"{self.n_jobs} CKA values of {n.model}/{n.layer} on {n.dataset}"


Task = ProbeTask | CkaTask


def cka_job_id(test_id: str, kind: CkaKind, method: str, seed: int, seed_b: int | None, n_neurons: int) -> str:
    """Return the identity of one CKA value, 32 hexadecimal characters."""
    return _short(f"{JOB_FORMAT}|{kind}|{test_id}|{method}|{seed}|{seed_b}|{n_neurons}")


def batch_id(job_ids: Iterable[str]) -> str:
    """Return the identity of a set of jobs, 32 hexadecimal characters."""
    return _short("|".join(sorted(job_ids)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
