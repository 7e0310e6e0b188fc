"""Do the splits of a data set have the same classes? A probe that is tested on others measures nothing. Pure."""

from collections.abc import Mapping, Sequence

from extract.errors import InvalidDataset

_SHOWN = 10


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


def _of(classes: Sequence[str], kept: tuple[str, ...] | None) -> frozenset[str]:
    return frozenset(classes) if kept is None else frozenset(classes) & frozenset(kept)


def _list(names: frozenset[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(shown) or "none") + more
