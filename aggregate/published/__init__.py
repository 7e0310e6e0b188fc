"""What the paper and its authors' notebooks print, as data with its source, and where text and code disagree.

Nothing here is measured by drfarm. Numbers are in the CSV files beside this, sources in `sources.json`, disagreements
in `deviations.json`; the sentences of the paper that these numbers can decide are checks, declared in code.
"""

from aggregate.published.catalogue import (
    PublishedDataset,
    PublishedModel,
    dataset_named,
    model_named,
    published_datasets,
    published_models,
)
from aggregate.published.claims import Claim, Verdict, paper_claims
from aggregate.published.deviations import Deviation, HowTo, deviations, deviations_of
from aggregate.published.deviations_table import deviations_table, options_table
from aggregate.published.numbers import (
    published_accuracies,
    published_cka,
    published_read_off,
    published_redundancy,
    published_spread,
    published_table1,
    published_top1,
)
from aggregate.published.sources import Source, sources

__all__ = [
    "Claim",
    "Deviation",
    "HowTo",
    "PublishedDataset",
    "PublishedModel",
    "Source",
    "Verdict",
    "dataset_named",
    "deviations",
    "deviations_of",
    "deviations_table",
    "model_named",
    "options_table",
    "paper_claims",
    "published_accuracies",
    "published_cka",
    "published_datasets",
    "published_models",
    "published_read_off",
    "published_redundancy",
    "published_spread",
    "published_table1",
    "published_top1",
    "sources",
]
