"""Selectivity: how much better a probe is on the labels than on random ones. Pure (no I/O).

A wide probe learns some of any labelling. A control (Hewitt and Liang 2019, https://aclanthology.org/D19-1275) trains
the same probe on labels drawn at random; the difference is what the layer itself knows. Controls are the probes whose
protocol ends with `+random-labels`; the rest of the protocol says which probes they belong to.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._runs import CELL_TYPES, CONTROL, Floats, Integers, Runs, is_control, read_runs
from aggregate.errors import InvalidOption

SELECTIVITY_SCHEMA: Final = pa.schema(
    [
        *((name, kind) for name, kind in CELL_TYPES.items() if name != "width"),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("accuracy", pa.float64()),
        ("control", pa.float64()),
        ("selectivity", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n_seeds", pa.int64()),
    ]
)


def selectivity(probes: pa.Table, *, confidence: float = 0.95) -> pa.Table:
    """Return accuracy minus control accuracy of the same cell, size and seed: mean and interval over seeds.

    Only seeds that have both count, in `accuracy` and `control` as well. The interval is the t interval of the paired
    differences, null below two seeds. A size at which one of them is undefined (a probe diverged) is left out.

    Parameters
    ----------
    probes
        View `probes`, in any row order, controls among them.
    confidence
        Two-sided level of the interval, in (0, 1).

    Returns
    -------
    pa.Table
        `SELECTIVITY_SCHEMA`, one row per cell and size that has both, cells in order of their names, sizes rising.

    Raises
    ------
    InvalidOption
        If the confidence is not allowed.
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    if not 0 < confidence < 1:
        raise InvalidOption(
            f"confidence must lie strictly between 0 and 1, got {confidence}: give a level such as 0.95"
        )
    real = read_runs(probes, measure="accuracy")
    control = read_runs(_under_base_protocol(probes), measure="accuracy")
    row, control_row = _matched(real, control)
    return _table(real, row, real.value[row], control.value[control_row], confidence)


def _under_base_protocol(probes: pa.Table) -> pa.Table:
    """Return the controls, under the protocol of the probes that they belong to."""
    controls = probes.filter(is_control(probes))
    protocol = pc.utf8_slice_codeunits(controls["protocol"].cast(pa.string()), 0, -len(CONTROL))
    return controls.set_column(controls.schema.get_field_index("protocol"), "protocol", protocol)


def _matched(real: Runs, control: Runs) -> tuple[Integers, Integers]:
    """Return rows of both with the same cell, size and seed, in the order of `real`; undefined sizes left out."""
    # A control is scored on the rows that it was trained on: its test representation says nothing about whose it is.
    known = {_without_test(key): cell for cell, key in enumerate(control.keys.to_pylist())}
    to_control = np.array([known.get(_without_test(key), -1) for key in real.keys.to_pylist()], dtype=np.int64)
    mine = np.stack([to_control[real.cell], real.size, real.seeds[real.seed]], axis=1)
    other = np.stack([control.cell, control.size, control.seeds[control.seed]], axis=1)
    _, code = np.unique(np.concatenate([mine, other]), axis=0, return_inverse=True)
    position = np.full(code.size, -1, dtype=np.int64)
    position[code[len(mine) :]] = np.arange(len(other))
    row = np.flatnonzero(position[code[: len(mine)]] >= 0)
    control_row = position[code[row]]
    # Rows are in order of (cell, size, seed), and codes as well.
    group = np.unique(np.stack([real.cell, real.size], axis=1)[row], axis=0, return_inverse=True)[1]
    undefined = np.isnan(real.value[row]) | np.isnan(control.value[control_row])
    keep = np.bincount(group, weights=undefined)[group] == 0 if row.size else np.empty(0, dtype=np.bool_)
    return row[keep], control_row[keep]


def _without_test(key: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in key.items() if name != "test_id")


def _table(real: Runs, row: Integers, accuracy: Floats, control: Floats, confidence: float) -> pa.Table:
    # Not scipy.stats: that takes a second to import.
    from scipy.special import stdtrit

    cell, size = real.cell[row], real.size[row]
    starts = np.flatnonzero((np.diff(cell, prepend=-1) != 0) | (np.diff(size, prepend=-1) != 0))
    n_seeds = np.diff(starts, append=row.size)

    def mean(values: Floats) -> Floats:
        return np.add.reduceat(values, starts) / n_seeds if starts.size else np.empty(0)

    difference = accuracy - control
    centre = mean(difference)
    variance = mean((difference - np.repeat(centre, n_seeds)) ** 2)
    several = n_seeds >= 2
    degrees = np.maximum(n_seeds - 1, 1)
    half = np.where(several, stdtrit(degrees.astype(np.float64), (1 + confidence) / 2) * np.sqrt(variance / degrees), 0)
    keys = real.keys.take(pa.array(cell[starts]))
    values: dict[str, Floats | Integers | pa.Array] = {
        "n_neurons": size[starts],
        "fraction": size[starts] / real.width[cell[starts]],
        "accuracy": mean(accuracy),
        "control": mean(control),
        "selectivity": centre,
        "ci_low": pa.array(centre - half, mask=~several),
        "ci_high": pa.array(centre + half, mask=~several),
        "n_seeds": n_seeds,
    }
    columns = {
        field.name: pa.array(values[field.name]) if field.name in values else keys[field.name]
        for field in SELECTIVITY_SCHEMA
    }
    return pa.table(columns, schema=SELECTIVITY_SCHEMA)
