"""What probes cost in time and memory, predicted before anything starts. Pure (no I/O)."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe import Estimator, LogisticProtocol, Method, Protocol, RidgeProtocol, SgdProtocol, parse_method, ridge_bytes

BARE_BYTES = 512 * 2**20
"""Memory of a worker beside what it computes with: interpreter and libraries (440 MiB measured)."""

# Measured on one core of the machines in docs/performance.md.
_SGD_FLOP_PER_S = 55e9
"""Useful multiply-adds of stacked probes, float32."""
_SGD_STEP_S = 6e-4
"""What a step costs whatever is in the stack: reading its rows, the softmax, forty calls."""
_FLOP32_PER_S = 80e9
"""Large float32 products (projecting features)."""
_FLOP64_PER_S = 25e9
"""Large float64 products and factorisations."""
_RIDGE_ROW_S = 1.2e-9
"""Adding one coordinate to the score of one class of one test row, and comparing, where every size is asked."""
_LOGISTIC_ITERATIONS = 40
"""Evaluations of loss and gradient until the certificate holds, warm-started and preconditioned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCost:
    """What decides the cost of probes on one representation pair."""

    n_train: int
    """Training rows."""
    n_test: int
    """Test rows."""
    width: int
    """Neurons."""
    n_classes: int
    """Classes."""
    protocol: Protocol
    """Solver and budget."""

    def seconds(self, method: str, sizes: Sequence[int]) -> float:
        """Return the predicted time on one core of the subsets of one method and seed, in seconds."""
        if not len(sizes):
            return 0.0
        parsed = parse_method(method)
        if not parsed.nested:
            return sum(self._stack_s((k,)) for k in sizes)
        project = 2.0 * (self.n_train + self.n_test) * self.width * max(sizes) / _FLOP32_PER_S if parsed.projects else 0
        return project + self._stack_s(sizes)

    @property
    def stack_s(self) -> float:
        """Predicted time of a stack whatever is in it, in seconds: cutting one in two costs it anew."""
        if not isinstance(self.protocol, SgdProtocol):
            return 0.0
        return self.protocol.epochs * -(-self.n_train // self.protocol.batch_size) * _SGD_STEP_S

    def _stack_s(self, sizes: Sequence[int]) -> float:
        n, n_classes, largest = self.n_train, self.n_classes, max(sizes)
        match self.protocol:
            case SgdProtocol():
                copies = max(1, len(self.protocol.learning_rates))
                flop = 4.0 * n * n_classes * sum(sizes) * copies
                return self.protocol.epochs * flop / _SGD_FLOP_PER_S + self.stack_s
            case RidgeProtocol():
                factor = (largest**3 / 3.0 + self.n_test * largest**2) / _FLOP64_PER_S
                scores = (
                    self.n_test
                    * n_classes
                    * (largest * _RIDGE_ROW_S if len(sizes) > largest // 8 else 2.0 * largest / _FLOP64_PER_S)
                )
                return max(1, len(self.protocol.strengths)) * (factor + scores) + 0.01
            case LogisticProtocol():
                flop = 4.0 * n * n_classes * sum(sizes) * _LOGISTIC_ITERATIONS * max(1, len(self.protocol.l2))
                return flop / _FLOP64_PER_S + 0.02 * len(sizes)

    def stack_bytes(self, sizes: Sequence[int]) -> int:
        """Return the memory that training the given sizes together takes beside the features, in bytes."""
        n_weights = sum(sizes) * self.n_classes
        match self.protocol:
            case SgdProtocol():
                # Weights, gradient, momentum, mask and the best epoch's copy, float32, with a panel's zeros.
                return int(1.2 * 5 * 4 * n_weights * max(1, len(self.protocol.learning_rates)))
            case RidgeProtocol():
                return ridge_bytes(max(sizes), self.n_classes)
            case LogisticProtocol():
                # Features in float64, a factor, and ten pairs of L-BFGS of the largest size.
                return 8 * self.n_train * max(sizes) + 8 * max(sizes) ** 2 + 24 * 8 * max(sizes) * self.n_classes


def statistics_s(n_rows: int, width: int) -> float:
    """Return the predicted time of counting the statistics of a representation on one core, in seconds."""
    return 2.0 * n_rows * width**2 / _FLOP64_PER_S


def statistics_bytes(width: int) -> int:
    """Return the memory of counting, reading or permuting statistics, in bytes: a few (d, d) matrices in float64."""
    return 5 * 8 * width**2


def cka_shared_s(n_rows: int, width: int, estimator: Estimator) -> float:
    """Return the predicted time of what all CKA values of a representation share, in seconds."""
    second_pass = 2.0 * n_rows * width**2 / _FLOP64_PER_S
    return {"biased": 2e-8 * width**2, "debiased": 2 * second_pass, "minibatch": 0.1}[estimator]


def cka_curve_s(width: int, method: Method, estimator: Estimator, n_sizes: int, *, pair: bool) -> float:
    """Return the predicted time of the values of one seed or pair of seeds, in seconds."""
    square = 2e-8 * width**2 * (3 if pair else 1)
    project = 6.0 * width**3 / _FLOP64_PER_S if method.projects else 0.0
    curves = {"biased": 1, "debiased": 20, "minibatch": 5}[estimator] * (1 if method.nested else n_sizes)
    return project + square * curves + n_sizes * 4e-6


def cka_bytes(n_rows: int, width: int, method: Method, estimator: Estimator) -> int:
    """Return the memory of CKA of a representation, in bytes; the debiased estimator looks at the rows themselves."""
    rows = {"biased": 0, "debiased": n_rows, "minibatch": min(n_rows, 1000)}[estimator]
    return (10 if method.projects else 7) * 8 * width**2 + 12 * rows * width
