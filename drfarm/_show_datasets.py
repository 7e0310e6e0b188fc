"""How the command shows the zoo's data sets: their sizes as the paper uses them, and whether they are on this disk."""

from drfarm._show import text_table
from extract.zoo_datasets import ZOO, absent_splits, zoo_sizes

_HEADER = ("name", "classes", "train", "val", "test", "on this disk")


def datasets_text(root: str | None) -> str:
    """Return the zoo's data sets as a table, and below it what is missing: where from, and where it belongs.

    Parameters
    ----------
    root
        Folder of the data sets; None is ``$DRFARM_DATA``, or ``~/.cache/drfarm/data``.
    """
    rows = []
    notes = []
    for name, entry in ZOO.items():
        sizes = zoo_sizes(name)
        absent = absent_splits(name, root)
        if not absent:
            state = "found"
        elif len(absent) == len(entry.splits):
            state = "missing"
        else:
            state = f"missing: {', '.join(absent)}"
        rows.append((name, entry.n_classes, *(f"{sizes[role]:,}" for role in ("train", "val", "test")), state))
        lacking = list(dict.fromkeys(str(path) for missing, _ in absent.values() for path in missing))
        if lacking:
            notes.append(f"{name} lacks {', '.join(lacking)}")
            notes += [f"  fetch {fetch}" for fetch in dict.fromkeys(fetch for _, fetch in absent.values())]
    table = text_table(_HEADER, rows)
    if not notes:
        return table
    return "\n".join(
        [table, "", *notes, "", "Nothing is downloaded. Another folder: DRFARM_DATA, or `root` in a study."]
    )
