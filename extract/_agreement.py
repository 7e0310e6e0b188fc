"""Do the splits of a data set agree on its classes, and has each an image? A probe needs both. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from extract.errors import InvalidDataset

_SHOWN = 10
_EMPTY_SHOWN = 3


def check_agreement(classes: Mapping[str, Sequence[str]], *, kept: tuple[str, ...] | None, where: str) -> None:
    """Refuse splits whose classes differ.

    Parameters
    ----------
    classes
        Split to its classes.
    kept
        Where some classes are kept, only these need to agree.

    Raises
    ------
    InvalidDataset
        With the classes that one split has and the other lacks.
    """
    (first, *others) = classes
    mine = _of(classes[first], kept)
    for other in others:
        theirs = _of(classes[other], kept)
        if mine != theirs:
            raise InvalidDataset(
                f"{where}: the splits have different classes. Only in {first!r}: {_list(mine - theirs)}. Only in "
                f"{other!r}: {_list(theirs - mine)}. Make them agree, or name the classes to keep with `classes`."
            )


def check_labels(labels: np.ndarray, classes: Sequence[str], *, kept: tuple[str, ...] | None, where: str) -> None:
    """Refuse labels that no class has, and classes that no image has.

    Raises
    ------
    InvalidDataset
        If a label is below 0 or has no name, or a class (of those kept) is empty.
    """
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise InvalidDataset(
            f"{where}: labels must lie in 0 to {len(classes) - 1}, one per class; got {labels.min()} to {labels.max()}."
        )
    counts = np.bincount(labels, minlength=len(classes))
    empty = [c for c, n in zip(classes, counts, strict=True) if n == 0 and (kept is None or c in kept)]
    if empty:
        shown = ", ".join(repr(c) for c in empty[:_EMPTY_SHOWN]) + ", ..." * (len(empty) > _EMPTY_SHOWN)
        raise InvalidDataset(
            f"{where}: {len(empty)} of {len(classes)} classes have no image: {shown}. "
            "Complete the files, or name the classes to keep with `classes`."
        )


def _of(classes: Sequence[str], kept: tuple[str, ...] | None) -> frozenset[str]:
    return frozenset(classes) if kept is None else frozenset(classes) & frozenset(kept)


def _list(names: frozenset[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(shown) or "none") + more
