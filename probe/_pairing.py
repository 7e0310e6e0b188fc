"""Which representations belong together, and which training rows are held out of a fit."""

import numpy as np
from numpy.typing import NDArray

from probe.errors import Mismatch, ProbeError
from probe.validation import Validation
from store import Features


def check_pair(train: Features, test: Features) -> None:
    """Refuse two representations that do not belong together.

    Raises
    ------
    Mismatch
        If widths or classes differ, or the second has rows of one class only.
    """
    if train.layer_width != test.layer_width:
        raise Mismatch(f"{train!r} and {test!r} have different widths: they are not the same layer.")
    if train.classes != test.classes:
        raise Mismatch(
            f"{train!r} and {test!r} have different classes: {_differ(train.classes, test.classes)}. "
            "A probe is trained and scored on the same classes."
        )
    if len(np.unique(test.labels[test.valid])) < 2:
        raise Mismatch(f"{test!r} has rows of one class only: an accuracy on it says nothing.")


def check_clean(train: Features, clean: Features) -> None:
    """Refuse a representation to validate held-out rows on that is not of the very training rows.

    Raises
    ------
    Mismatch
        If layers or classes differ (`check_pair`), or one row is another sample or has another label.
    """
    check_pair(train, clean)
    what = f"{clean!r} is to show the held-out rows of {train!r}, and"
    if train.n_samples != clean.n_samples:
        raise Mismatch(f"{what} has {clean.n_samples} rows, expected {train.n_samples}: it is of another split.")
    for name, ours, theirs in (
        ("sample", np.array(train.sample_ids), np.array(clean.sample_ids)),
        ("label", train.labels, clean.labels),
    ):
        other = np.flatnonzero(ours != theirs)
        if len(other):
            row = int(other[0])
            raise Mismatch(
                f"{what} {len(other)} rows have another {name}, the first is row {row}: {theirs[row]}, expected "
                f"{ours[row]}. Take a representation of the same split under another transform."
            )


def _differ(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    if only_a or only_b:
        return f"only in the first: {only_a[:5]}, only in the second: {only_b[:5]}"
    return "the same names in another order"


def held_out(
    valid: NDArray[np.int64], validation: Validation | None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Split the valid training rows into those to fit on and those to validate on.

    Parameters
    ----------
    valid
        Row numbers, shape (n,), int64.
    validation
        A fraction is held out as the authors do: ``torch.utils.data.random_split`` under its seed, with
        ``int((1 - fraction) n)`` rows to train on. All views of a row are on the same side.

    Raises
    ------
    ProbeError
        If either part would be empty.
    """
    if validation is None or validation.fraction is None:
        if not len(valid):
            raise ProbeError("there are no training rows.")
        return valid, None
    import torch

    n_train = int((1 - validation.fraction) * len(valid))
    order = torch.randperm(len(valid), generator=torch.Generator().manual_seed(validation.seed)).numpy()
    if not 0 < n_train < len(valid):
        raise ProbeError(
            f"holding out {validation.fraction:g} of {len(valid)} training rows leaves none to train or validate on."
        )
    return valid[order[:n_train]], valid[order[n_train:]]
