"""Accuracy of every class at every subset size: what heat-maps show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from aggregate._cell_names import name_cells
from aggregate._class_rows import SIZE_KEYS, read_class_rows, stack_seeds
from aggregate._runs import Floats, Integers
from aggregate.errors import InvalidOption, InvalidTable
from aggregate.measured import CellKey

ClassOrder: TypeAlias = Literal["index", "name", "accuracy"]
CLASS_ORDERS: Final = ("index", "name", "accuracy")
MOST_SIZES: Final = 24

_APART: Final = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """Accuracy of the classes of one cell at every subset size."""

    title: str
    """Model, layer, width and dataset, and what else tells cells apart."""
    key: CellKey
    """What was measured."""
    classes: tuple[str, ...]
    """Names, or indices as text, in the order of the rows."""
    fraction: Floats
    """k / d, rising, shape (size,)."""
    n_neurons: Integers
    """k, shape (size,)."""
    n_seeds: Integers
    """Seeds behind the mean, shape (size,)."""
    accuracy: Floats
    """Mean over seeds, shape (class, size); NaN where a class has no test sample."""
    n_left_out: int = 0
    """Measured sizes that are not shown, for they are close to one that is."""


def class_maps(
    probes: pa.Table,
    *,
    order: ClassOrder = "index",
    class_names: Mapping[str, Sequence[str]] | None = None,
    most_sizes: int = MOST_SIZES,
) -> list[ClassMap]:
    """Compute the mean over seeds of each class's accuracy at each size, for every cell that has class accuracies.

    Parameters
    ----------
    probes
        View `probes` with `class_accuracy`, in any row order.
    order
        Rows by `index` of the class (its label), `name`, or `accuracy` of the largest measured size, best first.
    class_names
        Names in order of labels, by dataset; a dataset without has its labels as names.
    most_sizes
        Sizes within 5 % of a smaller one are left out (refined grids have many), the largest excepted; of a cell that
        still has more sizes (`k: every`) so many are kept: smallest, largest, and evenly in log k between them.

    Raises
    ------
    InvalidOption
        If the order is unknown, or there are not as many names as classes.
    InvalidTable
        If a column is missing, or seeds or sizes of a cell differ in their number of classes.
    """
    if order not in CLASS_ORDERS:
        raise InvalidOption(f"order must be among {', '.join(CLASS_ORDERS)}, got {order!r}")
    cells: dict[CellKey, list[tuple[int, int, Floats]]] = {}
    for row, seeds in read_class_rows(probes, what="class heat-maps").items():
        named = dict(zip(SIZE_KEYS, row, strict=True))
        size = named.pop("n_neurons")
        cells.setdefault(CellKey(**named), []).append((size, len(seeds), _seed_mean(stack_seeds(row, seeds))))
    names = name_cells([key._asdict() for key in cells], panel_by="model")
    return [
        _class_map(key, columns, f"{panel}\n{label}", order, class_names or {}, most_sizes)
        for (key, columns), (panel, label) in zip(cells.items(), names, strict=True)
    ]


def _class_map(
    key: CellKey,
    columns: list[tuple[int, int, Floats]],
    title: str,
    order: ClassOrder,
    class_names: Mapping[str, Sequence[str]],
    most_sizes: int,
) -> ClassMap:
    counts = sorted({values.size for _, _, values in columns})
    if len(counts) > 1:
        raise InvalidTable(
            f"the sizes of one cell must have the same classes, got {counts} of model {key.model!r}, dataset "
            f"{key.dataset!r}: results of different label sets"
        )
    names = tuple(class_names.get(str(key.dataset), ())) or tuple(str(i) for i in range(counts[0]))
    if len(names) != counts[0]:
        raise InvalidOption(
            f"class_names of dataset {key.dataset!r} must hold {counts[0]} names, got {len(names)}: one per class, in "
            "order of labels"
        )
    n_sizes = len(columns)
    columns = [columns[i] for i in _kept([size for size, _, _ in columns], most_sizes)]
    accuracy = np.stack([values for _, _, values in columns], axis=1)
    rows = _row_order(accuracy, names, order)
    n_neurons = np.array([size for size, _, _ in columns], dtype=np.int64)
    return ClassMap(
        title=title,
        key=key,
        classes=tuple(names[i] for i in rows),
        fraction=n_neurons / key.width,
        n_neurons=n_neurons,
        n_seeds=np.array([n for _, n, _ in columns], dtype=np.int64),
        accuracy=accuracy[rows],
        n_left_out=n_sizes - len(columns),
    )


def _row_order(accuracy: Floats, names: tuple[str, ...], order: ClassOrder) -> list[int]:
    rows = list(range(len(names)))
    if order == "name":
        return sorted(rows, key=lambda i: (names[i], i))
    if order == "accuracy":
        largest = np.nan_to_num(accuracy[:, -1], nan=-1.0)
        return sorted(rows, key=lambda i: (-largest[i], i))
    return rows


def _kept(sizes: list[int], most: int) -> list[int]:
    """Return the indices of the sizes that are shown, of rising ones."""
    kept: list[int] = []
    for i, size in enumerate(sizes):
        if not kept or size >= _APART * sizes[kept[-1]]:
            kept.append(i)
    last = len(sizes) - 1
    if kept[-1] != last:
        kept = [*kept[: max(1, len(kept) - 1)], last]
    if len(kept) <= most:
        return kept
    logs = np.log([sizes[i] for i in kept])
    return [kept[i] for i in sorted({int(np.argmin(np.abs(logs - x))) for x in np.linspace(logs[0], logs[-1], most)})]


def _seed_mean(values: Floats) -> Floats:
    """Return the mean over the seeds that have the class, shape (class,); NaN where none has."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(counts.size, np.nan), where=counts > 0)
