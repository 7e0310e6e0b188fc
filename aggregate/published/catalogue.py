"""The networks and data sets of the paper: what the authors' files, the paper and the zoo call them."""

from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from aggregate.published._files import read_csv

_MODELS = pa.schema(
    [
        ("name", pa.string()),
        ("paper", pa.string()),
        ("zoo", pa.string()),
        ("width", pa.int64()),
        ("upstream", pa.string()),
        ("imagenet_percent", pa.float64()),
        ("imagenet_exact", pa.float64()),
        ("in_table1", pa.bool_()),
        ("in_paper", pa.bool_()),
    ]
)
_DATASETS = pa.schema(
    [
        ("name", pa.string()),
        ("paper", pa.string()),
        ("zoo", pa.string()),
        ("n_classes", pa.int64()),
        ("n_train", pa.int64()),
        ("n_val", pa.int64()),
        ("n_test", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """One network of the paper, or of its code."""

    name: str
    """Its name here, as in the authors' accuracies."""
    paper: str
    """Its name in the paper."""
    zoo: str
    """Its name in drfarm's zoo."""
    width: int
    """Neurons of its penultimate layer."""
    upstream: str
    """What it was pre-trained on."""
    imagenet_percent: float | None
    """Top-1 on ImageNet in percent, as Table 1 prints it; None where the paper does not."""
    imagenet_exact: float | None
    """The same as a share, as the notebook prints it; None where it does not."""
    in_table1: bool
    """Whether Table 1 has a row of it."""
    in_paper: bool
    """False for networks that the code ran and the paper does not show."""

    @property
    def imagenet_top1(self) -> float | None:
        """Top-1 on ImageNet in percent: as printed, else as in the notebook."""
        if self.imagenet_percent is not None:
            return self.imagenet_percent
        return None if self.imagenet_exact is None else 100 * self.imagenet_exact


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDataset:
    """One data set of the paper, with the sizes of the authors' splits."""

    name: str
    """Its name here, as in the authors' accuracies."""
    paper: str
    """Its name in the paper."""
    zoo: str
    """Its name in drfarm's zoo."""
    n_classes: int
    """Classes."""
    n_train: int | None
    """Images that probes are trained on; None for a data set that is only scored."""
    n_val: int | None
    """Images that choose the best epoch."""
    n_test: int
    """Images that accuracies are of."""


@cache
def published_models() -> tuple[PublishedModel, ...]:
    """Return the networks: the six of Table 1 in its order, then the others."""
    return tuple(PublishedModel(**row) for row in read_csv("models.csv", _MODELS).to_pylist())


@cache
def published_datasets() -> tuple[PublishedDataset, ...]:
    """Return the data sets in the order of Table 1, then the harder ones."""
    return tuple(PublishedDataset(**row) for row in read_csv("datasets.csv", _DATASETS).to_pylist())


def model_named(name: str) -> PublishedModel | None:
    """Return the network that a store's name stands for: its name here, or its name in the zoo."""
    return next((m for m in published_models() if name in (m.name, m.zoo, f"zoo:{m.zoo}")), None)


def dataset_named(name: str) -> PublishedDataset | None:
    """Return the data set that a store's name stands for: its name here, or its name in the zoo."""
    return next((d for d in published_datasets() if name in (d.name, d.zoo, f"zoo:{d.zoo}")), None)
