"""Neurons in an order of merit, chosen on the training rows only. Pure (no I/O).

Choosing neurons by what they do on the test rows would score them on the rows that chose them; every ranking here looks
at the statistics of the training rows and at nothing else.
"""

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from probe.statistics import Statistics

RIDGE = 0.01
"""Ridge of the ranking probe, as a share of the mean variance of a neuron."""

_CONSTANT = 1e-12
"""A neuron whose standard deviation is below this share of its mean is constant: what is left is the rounding of the
mean. A float32 neuron that differs in the last digit of one row of a billion is above it."""

_VARIANCE_TIE = 1e-12
"""Variances that agree to this share are equal: duplicated neurons, but for the rounding of float64 sums."""

_WEIGHT_TIE = 1e-8
"""As `_VARIANCE_TIE`, after a solve whose condition number is at most d / `RIDGE`, about 1e6."""


def variances(statistics: Statistics) -> NDArray[np.float64]:
    """Return the variance of each neuron (divided by n - 1), exactly 0 for a constant one, shape (d,).

    Raises
    ------
    InvalidProbe
        If there are fewer than two rows.
    """
    n = statistics.n
    if n < 2:
        raise InvalidProbe(f"the variance of a neuron needs at least two training rows, got {n}.")
    variance = np.diagonal(statistics.scatter) / (n - 1)
    return np.where(variance > (_CONSTANT * statistics.mean) ** 2, variance, 0.0)


def by_variance(statistics: Statistics) -> NDArray[np.int64]:
    """Return neurons by falling variance, ties by index, shape (d,), int64.

    The subset that keeps most of the layer's total variance, and what a projection on k principal components is when
    neurons are uncorrelated. It looks at no label.
    """
    return _falling(variances(statistics), _VARIANCE_TIE)


def by_weight(statistics: Statistics) -> NDArray[np.int64]:
    """Return neurons by falling weight in a ridge probe of all neurons, ties by index, shape (d,), int64.

    With S = Xc' Xc of the training rows, B = Xc' Y for one-hot Y (d x C) and lambda = 0.01 tr(S) / d, the probe is
    W = (S + lambda I)^-1 B (d x C), and neuron j counts ||W[j, :]||_2 sd_j: the norm of its weights in the unit of the
    neuron, so that a neuron measured in small units does not come first for it (standardised coefficients). Ranking by
    the size of a linear model's weights is due to Guyon et al. (2002), "Gene selection for cancer classification using
    support vector machines", and to Dalvi et al. (2019), "What is one grain of sand in the desert? Analyzing individual
    neurons in deep NLP models", for neurons. The probe is a closed form, so the ranking has no seed and no budget; the
    ridge shares weight evenly between duplicated neurons instead of leaving it to rounding, and is small, as the sum of
    a neuron's own variance decides. Constant neurons come last.

    Raises
    ------
    InvalidProbe
        If the training rows have fewer than two classes: there is nothing to tell apart.
    """
    from scipy.linalg import cho_factor, cho_solve

    variance = variances(statistics)
    present = int((statistics.class_counts > 0).sum())
    if present < 2:
        raise InvalidProbe(
            f"ranked:by-weight ranks by what tells classes apart, and the training rows have {present} of them: at "
            "least two are needed."
        )
    score = np.zeros(len(variance))
    varies = np.flatnonzero(variance)
    if len(varies):
        ridged = statistics.scatter[np.ix_(varies, varies)]
        ridged[np.diag_indices(len(varies))] += RIDGE * np.trace(statistics.scatter) / statistics.width
        factor = cho_factor(ridged, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, statistics.cross[varies], check_finite=False)
        score[varies] = np.linalg.norm(weights, axis=1) * np.sqrt(variance[varies])
    return _falling(score, _WEIGHT_TIE)


def _falling(score: NDArray[np.float64], tie: float) -> NDArray[np.int64]:
    """Return indices by falling score; neighbours in that order that agree to a share of ``tie`` stand by index.

    Rounding (the size of blocks, the number of threads) therefore never decides between equal neurons.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    level = np.concatenate([[0], np.cumsum(ranked[1:] < ranked[:-1] * (1 - tie))])
    return order[np.lexsort((order, level))].astype(np.int64)
