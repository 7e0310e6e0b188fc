"""The published numbers as Arrow tables. Models and data sets have the names of `catalogue`."""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from aggregate.published._files import read_csv
from aggregate.published.catalogue import published_models

_PLACE = [
    ("model", pa.string()),
    ("dataset", pa.string()),
    ("method", pa.string()),
    ("n_neurons", pa.int64()),
    ("width", pa.int64()),
    ("fraction", pa.float64()),
]
ACCURACIES_SCHEMA = pa.schema([*_PLACE, ("accuracy", pa.float64()), ("source", pa.string())])
_CKA = pa.schema([("kind", pa.string()), *_PLACE, ("value", pa.float64())])
_READ_OFF = pa.schema([*_PLACE, ("bound", pa.string()), ("accuracy", pa.float64()), ("source", pa.string())])
_SPREAD = pa.schema([*[field for field in _PLACE if field[0] != "method"], ("std", pa.float64())])
_TABLE1 = pa.schema([("model", pa.string()), ("dataset", pa.string()), ("dr", pa.float64())])
_RULES = [(rule, pa.float64()) for rule in ("nearest", "strict", "interpolated")]
_REDUNDANCY = pa.schema([("model", pa.string()), ("method", pa.string()), ("dataset", pa.string()), *_RULES])


@cache
def published_accuracies() -> pa.Table:
    """Return the accuracies that the notebooks print, means over seeds.

    CIFAR to 4 digits for ten networks; ImageNet, ImageNetV2 and Places365 for two, and the networks with dropout and
    DeCov, to 3. `fraction` is what they print, `n_neurons` is int(fraction width), which is what was probed.

    Returns
    -------
    pa.Table
        Columns model, dataset, method, n_neurons, width, fraction, accuracy, source.
    """
    names = [name for name in ACCURACIES_SCHEMA.names if name != "source"]
    cifar = read_csv("accuracies_cifar.csv", pa.schema([ACCURACIES_SCHEMA.field(name) for name in names]))
    cifar = cifar.append_column("source", pa.repeat("cifar", cifar.num_rows))
    further = read_csv("accuracies_further.csv", ACCURACIES_SCHEMA)
    return pa.concat_tables([cifar, further]).combine_chunks()


@cache
def published_table1() -> pa.Table:
    """Return Table 1's DR at delta 0.9: columns model, dataset, dr."""
    return read_csv("table1.csv", _TABLE1)


@cache
def published_top1() -> pa.Table:
    """Return top-1 on ImageNet by the networks' own heads, as shares: columns model, printed, exact.

    `printed` is Table 1's, `exact` the notebook's; null where there is none.
    """
    known = [m for m in published_models() if m.imagenet_top1 is not None]
    percent = pa.array([m.imagenet_percent for m in known], pa.float64())
    columns = {
        "model": pa.array([m.name for m in known]),
        "printed": pc.divide(percent, 100.0),
        "exact": pa.array([m.imagenet_exact for m in known], pa.float64()),
    }
    return pa.table(columns)


@cache
def published_redundancy() -> pa.Table:
    """Return DR at delta 0.9 by three rules, recomputed from what the notebooks print.

    The accuracies of CIFAR are carried, so those cells can be computed again; those of Flowers, Pets, the networks of
    ImageNet-21k and MRL are not. The authors' rule is `nearest`. Columns model, method, dataset, nearest, strict,
    interpolated (null for ImageNet-21k and MRL).
    """
    return read_csv("redundancy.csv", _REDUNDANCY)


@cache
def published_cka() -> pa.Table:
    """Return CKA: `part_whole` (mean of 5 seeds) and `pair` (mean of their 10 pairs).

    Returns
    -------
    pa.Table
        Columns kind, model, dataset, method, n_neurons, width, fraction, value.
    """
    return read_csv("cka.csv", _CKA)


@cache
def published_spread() -> pa.Table:
    """Return the standard deviation (ddof 0) over seeds of the ResNet50's accuracies.

    Returns
    -------
    pa.Table
        Columns model, dataset, n_neurons, width, fraction, std.
    """
    return read_csv("spread.csv", _SPREAD)


@cache
def published_read_off() -> pa.Table:
    """Return accuracies that are known about only: read off a plot of the notebooks, or rounded.

    Returns
    -------
    pa.Table
        Columns model, dataset, method, n_neurons, width, fraction, bound (`about` or `below`), accuracy, source.
    """
    return read_csv("read_off.csv", _READ_OFF)
