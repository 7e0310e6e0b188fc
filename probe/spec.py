"""Jobs and tasks: what a worker needs to know, and nothing more. Pure (no I/O); a task pickles below 64 KB."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from probe.errors import InvalidProbe
from probe.logistic_protocol import LogisticProtocol
from probe.protocols import SgdProtocol
from probe.ridge_protocol import RidgeProtocol
from probe.subsets import parse_method
from probe.validation import Validation
from store import JSON, canonical_json, content_id

CkaKind = Literal["part_whole", "pair"]
Estimator = Literal["biased", "debiased", "minibatch"]
Average = Literal["sample", "class"]
Control = Literal["random-labels"]
Protocol = SgdProtocol | RidgeProtocol | LogisticProtocol
Sizes = tuple[int, ...] | range

JOB_FORMAT = 1
"""Raised when the meaning of a job changes; enters every job's id."""


def sizes_of(values: Iterable[int]) -> Sizes:
    """Return distinct sizes in rising order; as a range where none is missing between them, which pickles small."""
    rising = tuple(sorted(set(values)))
    if len(rising) > 2 and rising[-1] - rising[0] + 1 == len(rising):
        return range(rising[0], rising[-1] + 1)
    return rising


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetGroup:
    """Subsets of one method and seed: for each size, the first so many coordinates that the two decide."""

    method: str
    """How coordinates are chosen: the label of a `probe.subsets.Method`."""
    seed: int
    """Seed of the choice and of the probe's initial weights."""
    sizes: Sizes
    """Distinct sizes, rising, each >= 1."""

    def __post_init__(self) -> None:
        if parse_method(self.method).label != self.method:
            raise InvalidProbe(f"write method {self.method!r} as {parse_method(self.method).label!r}.")
        if not len(self.sizes) or self.sizes[0] < 1:
            raise InvalidProbe(f"n_neurons must be >= 1, got {self.sizes[0] if len(self.sizes) else 'no size'}.")
        if any(a >= b for a, b in pairwise(self.sizes)):
            raise InvalidProbe(f"sizes must be distinct and rising, got {tuple(self.sizes)}: take sizes_of.")


@dataclass(frozen=True, kw_only=True)
class ProbeSetting:
    """What the probes of one representation pair have in common, apart from names."""

    train_id: str
    """Representation that probes are trained on."""
    test_id: str
    """Representation that they are scored on; the training one for a control, which has no other rows."""
    protocol: Protocol
    """Settings of the solver."""
    validation: Validation | None
    """Rows for choosing the best epoch, step size or penalty, if any."""
    average: Average = "sample"
    """``sample``: plain top-1, the paper's; ``class``: the mean of the class accuracies."""
    control: Control | None = None
    """``random-labels``: training labels are permuted, and the same rows scored (see docs/probing.md)."""

    def __post_init__(self) -> None:
        if self.validation is not None and self.validation.split_id == self.test_id:
            raise InvalidProbe(
                f"representation {self.test_id[:12]} is to be validated on and scored on: what is chosen on the test "
                "rows says nothing about them. Validate on a split of its own or a fraction of the training rows."
            )
        clean_id = None if self.validation is None else self.validation.clean_id
        if clean_id is not None and clean_id in (self.train_id, self.test_id):
            which = "trained on" if clean_id == self.train_id else "scored on"
            raise InvalidProbe(
                f"representation {clean_id[:12]} is to show the held-out rows and is {which} too: clean_id is another "
                "representation of the training split. Leave it out to validate on the rows as they are trained on."
            )

    @property
    def solver(self) -> str:
        """Name of the solver."""
        return self.protocol.solver

    @property
    def label(self) -> str:
        """The ``protocol`` column."""
        parts = [self.protocol.name]
        if self.validation is not None:
            parts.append(self.validation.label)
        if self.average == "class":
            parts.append("mean-per-class")
        if self.control is not None:
            parts.append(self.control)
        return "+".join(parts)

    @property
    def training_rows(self) -> str:
        """Which training rows a probe is fitted on: the name under which their statistics are stored."""
        return "all" if self.validation is None else self.validation.training_rows

    @cached_property
    def digest(self) -> str:
        """Content address of all of it; two studies that agree in it share their jobs."""
        identity: dict[str, JSON] = {
            "job_format": JOB_FORMAT,
            "measure": "accuracy",
            "solver": self.solver,
            "train_id": self.train_id,
            "test_id": self.test_id,
            "protocol": self.protocol.identity(),
            "validation": None if self.validation is None else self.validation.identity(),
        }
        if self.average != "sample":
            identity["average"] = self.average
        if self.control is not None:
            identity["control"] = self.control
        return content_id(identity)

    def job_id(self, method: str, seed: int, n_neurons: int) -> str:
        """Return the identity of one probe, 32 hexadecimal characters."""
        return _short(f"{self.digest}|{method}|{seed}|{n_neurons}")


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


@dataclass(frozen=True, kw_only=True)
class ProbeTask:
    """One block of probes on one representation pair: the unit that the farm hands out."""

    store_url: str
    """Store with the representations, and for the results."""
    names: Names
    """Readable names."""
    setting: ProbeSetting
    """What the probes have in common."""
    groups: tuple[SubsetGroup, ...]
    """The block."""
    detailed: frozenset[int] | None = None
    """Sizes for which accuracies and predictions are kept per class, whatever the solver; None keeps them for all."""
    statistics: tuple[tuple[str, str], ...] = ()
    """(representation, rows) whose statistics it reads: they are counted first."""
    predicted_s: float
    """Expected time of one core, in seconds."""
    predicted_bytes: int
    """Expected memory, in bytes."""
    stack_s: float = 0.0
    """What each stack of probes of it is expected to cost whatever is in the stack, in seconds."""

    @cached_property
    def batch_id(self) -> str:
        """Name of the results file: the identity of the block, whatever the order of its groups."""
        parts: list[JSON] = [[g.method, g.seed, list(g.sizes)] for g in self.groups]
        ordered: JSON = sorted(parts, key=lambda p: canonical_json(p))
        return _short(canonical_json([self.setting.digest, ordered]).decode())

    @property
    def n_jobs(self) -> int:
        """Results that it makes."""
        return sum(len(g.sizes) for g in self.groups)

    @property
    def title(self) -> str:
        """How it is named to people."""
        n = self.names
        seeds = ",".join(str(s) for s in sorted({g.seed for g in self.groups}))
        methods = ", ".join(sorted({g.method for g in self.groups}))
        of = f"{n.model}/{n.layer} on {n.dataset}"
        return f"{self.n_jobs} {self.setting.solver} probes of {of}, {methods}, seeds {seeds}"


@dataclass(frozen=True, kw_only=True)
class CkaTask:
    """All CKA values of one representation and method: they share one covariance, which is most of the work."""

    store_url: str
    """Store with the representation, and for the results."""
    names: Names
    """Readable names."""
    test_id: str
    """Representation it is measured on."""
    method: str
    """How coordinates are chosen."""
    estimator: Estimator = "biased"
    """``biased``: the paper's appendix A; ``debiased``; ``minibatch``: as in the authors' library."""
    train_id: str | None = None
    """Representation whose statistics decide the coordinates (principal components, ranks), if the method needs one."""
    validation: Validation | None = None
    """Whose held-out rows are left out of them, if any."""
    part_whole: tuple[tuple[int, Sizes], ...]
    """(seed, sizes) of parts against the whole."""
    pairs: tuple[tuple[int, int, Sizes], ...]
    """(seed, seed of the other part, sizes) of pairs of parts."""
    statistics: tuple[tuple[str, str], ...] = ()
    """(representation, rows) whose statistics it reads: they are counted first."""
    predicted_s: float
    """Expected time of one core, in seconds."""
    predicted_bytes: int
    """Expected memory, in bytes."""

    @property
    def training_rows(self) -> str:
        """Which of its rows decide them."""
        return "all" if self.train_id is None or self.validation is None else self.validation.training_rows

    @cached_property
    def batch_id(self) -> str:
        """Name of the results file."""
        parts: JSON = [[s, list(k)] for s, k in self.part_whole]
        pairs: JSON = [[a, b, list(k)] for a, b, k in self.pairs]
        of: JSON = [self.test_id, self.method, self.estimator, self.train_id, self.training_rows]
        return _short(canonical_json([JOB_FORMAT, "cka", of, parts, pairs]).decode())

    @property
    def n_jobs(self) -> int:
        """Results that it makes."""
        return sum(len(k) for _, k in self.part_whole) + sum(len(k) for *_, k in self.pairs)

    @property
    def title(self) -> str:
        """How it is named to people."""
        n = self.names
        kind = "" if self.estimator == "biased" else f"{self.estimator} "
        return f"{self.n_jobs} {kind}CKA values of {n.model}/{n.layer} on {n.dataset}, {self.method}"

    def job_id(self, kind: CkaKind, seed: int, seed_b: int | None, n_neurons: int) -> str:
        """Return the identity of one of its values."""
        return cka_job_id(
            self.test_id,
            kind,
            self.method,
            seed,
            seed_b,
            n_neurons,
            estimator=self.estimator,
            trained_on=None if self.train_id is None else f"{self.train_id}|{self.training_rows}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsTask:
    """Mean, covariance and class sums of one representation: counted once, read by the tasks that need them."""

    store_url: str
    """Store with the representation, and for the statistics."""
    names: Names
    """Readable names."""
    representation_id: str
    """Which representation."""
    validation: Validation | None
    """Whose held-out rows are left out, if any."""
    predicted_s: float
    """Expected time of one core, in seconds."""
    predicted_bytes: int
    """Expected memory, in bytes."""

    @property
    def rows(self) -> str:
        """Which rows are counted."""
        return "all" if self.validation is None else self.validation.training_rows

    @property
    def batch_id(self) -> str:
        """Name of the task."""
        return _short(f"statistics|{self.representation_id}|{self.rows}")

    @property
    def n_jobs(self) -> int:
        """Results that it makes: none, they are there for other tasks."""
        return 0

    @property
    def title(self) -> str:
        """How it is named to people."""
        n = self.names
        return f"statistics of {n.model}/{n.layer} on {n.dataset}"


Task = ProbeTask | CkaTask | StatisticsTask


def cka_job_id(
    test_id: str,
    kind: CkaKind,
    method: str,
    seed: int,
    seed_b: int | None,
    n_neurons: int,
    *,
    estimator: Estimator = "biased",
    trained_on: str | None = None,
) -> str:
    """Return the identity of one CKA value, 32 hexadecimal characters."""
    more = "" if estimator == "biased" and trained_on is None else f"|{estimator}|{trained_on}"
    return _short(f"{JOB_FORMAT}|{kind}|{test_id}|{method}|{seed}|{seed_b}|{n_neurons}{more}")


def batch_id(job_ids: Iterable[str]) -> str:
    """Return the identity of a set of jobs, 32 hexadecimal characters."""
    return _short("|".join(sorted(job_ids)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
