"""What every column of the views means: told by ``drfarm query --schema`` and held equal to the documentation."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

import aggregate
from store.schema import CKA, PROBES, REPRESENTATIONS
from store.timings import TIMINGS
from store.views import FAILURES

SCHEMA_OF: Final[dict[str, pa.Schema]] = {
    "representations": REPRESENTATIONS,
    "probes": PROBES,
    "cka": CKA,
    "redundancy": aggregate.REDUNDANCY_SCHEMA,
    "timings": TIMINGS,
    "failures": FAILURES,
}
"""The views that a query can name, with their columns."""

_SQL_TYPES: Final[dict[pa.DataType, str]] = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.list_(pa.float64()): "DOUBLE[]",
    pa.list_(pa.int64()): "BIGINT[]",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}

_NAMES = {
    "model": "name of the network, as the study has it",
    "layer": "layer, as named in the network, or penultimate",
    "dataset": "name of the data set, as the study has it",
}
_RESULT = {
    "study": "study whose run computed it; another that shares the job does not compute it again",
    **_NAMES,
    "seed": "seed of the subset",
    "n_neurons": "size k of the subset, in neurons (for a projection: in dimensions)",
    "width": "neurons d of the layer",
    "fraction": "n_neurons / width",
    "batch_id": "batch that it was computed in",
    "train_id": "id of the representation that was fitted on",
    "test_id": "id of the representation that was measured on",
    "job_id": "identity of the job; the same in every store",
    "elapsed_s": "seconds that it took; its share of them where many were computed at once",
    "method": "how neurons are chosen: random, random_independent, first, pca, pca_least, random_projection, "
    "random_projection_uniform, ranked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view that a query can name."""

    name: str
    """Its name."""
    meaning: str
    """What one row of it is."""
    columns: dict[str, str]
    """Meaning of every column, in order."""


def _view(name: str, meaning: str, shared: dict[str, str], **own: str) -> View:
    meanings = {**shared, **own}
    return View(name=name, meaning=meaning, columns={c: meanings[c] for c in SCHEMA_OF[name].names})


VIEWS: Final[tuple[View, ...]] = (
    _view(
        "representations",
        "one row for each representation: activations of a layer for one split of a data set",
        _NAMES,
        split="split of the data set, such as train",
        width="neurons that are stored",
        n_samples="samples of the split",
        n_views="passes that are stored: 1 for a transform without randomness",
        dtype="float32 or float16",
        bytes="bytes that its chunks take in the store",
        complete="whether all of it is written: only then it is readable",
        id="content address: sha256 of everything that decides the values",
        created_at="when it was begun (UTC)",
        layer_width="neurons of the whole layer",
        gathered="whether only some of the layer's neurons are stored",
    ),
    _view(
        "probes",
        "one row for each probe: a classifier fitted on a subset of neurons",
        _RESULT,
        solver="sgd, ridge or logistic",
        protocol="named settings of the solver, and the validation rows where there are some; imported for rows "
        "that were measured elsewhere; ends with +random-labels for a control",
        accuracy="share of the test samples that are classified right; null where the probe diverged",
        n_test="test samples",
        class_accuracy="accuracy of each class; null off the study's sizes where a curve has every k",
        predicted_count="how often each class was predicted; null where class_accuracy is",
        val_accuracy="accuracy on the validation rows, where there are some",
        converged="false where an sgd probe diverged; of logistic, whether the tolerance was reached",
        hyperparameter="step size or penalty that was given or chosen on validation rows (of ridge, lambda)",
        gradient_norm="certificate of a logistic fit: the largest entry of the gradient",
    ),
    _view(
        "cka",
        "one row for each CKA value: a subset against the whole layer, or two subsets",
        _RESULT,
        kind="part_whole or pair",
        seed_b="seed of the second subset; null for part_whole",
        value="CKA, 1 where the two are alike; null where it is undefined (all neurons of the subset are constant)",
        n_samples="samples that it is computed on",
        estimator="biased, debiased or minibatch",
        ci_low="lower end of the 95 % interval; of the debiased estimator",
        ci_high="upper end of the 95 % interval; of the debiased estimator",
    ),
    _view(
        "redundancy",
        "one row for each curve, threshold and rule: DR = 1 - k*/d (Eq. 1)",
        _RESULT,
        measure="accuracy, cka or cka_pair",
        solver="of accuracy: sgd, ridge or logistic",
        protocol="of accuracy: named settings of the solver; of cka: its estimator, null for the biased one",
        delta="threshold: share of the whole layer's value that a subset must reach",
        rule="strict (Eq. 1), nearest (what the authors' code did) or interpolated",
        dr="diffused redundancy; null where no measured size reaches the threshold",
        n_neurons="k*, the subset's size; null where dr is",
        bracket_low="DR is at least this, whatever the sizes between those measured do",
        bracket_high="DR is below this: the largest size that is too small",
        ci_low="lower end of the 95 % interval over seeds; null for fewer than two seeds",
        ci_high="upper end of the 95 % interval over seeds",
        n_seeds="seeds behind the sizes that decide",
        censored="true where no measured size reaches the threshold, so that DR is only bounded",
        whole_method="method whose k = d gives the whole layer's value; null where it is 1, or there is none",
        n_undefined="sizes that are left out because a value of theirs is null",
    ),
    _view(
        "timings",
        "one row for each batch of results: who computed it, and when",
        {},
        kind="probes or cka",
        batch_id="the batch, as in probes and cka",
        n_jobs="results in it",
        worker="process that computed it, as HOST:PID; null for batches of earlier versions",
        started_at="when work on it began (UTC)",
        finished_at="when it was written (UTC)",
        elapsed_s="seconds between the two",
    ),
    _view(
        "failures",
        "one row for each piece of work that failed and has not succeeded since",
        {},
        study="study whose run it was",
        stage="extract or probe",
        what="what was tried, as the command tells it",
        error="why it failed",
        attempts="how often it was tried",
        failed_at="when it failed for the last time (UTC)",
        log="the last lines of its worker's log",
        batch_id="what it is kept under; `drfarm retry` finds it",
    ),
)
"""Every view, with the meaning of every column."""


def view_schema() -> pa.Table:
    """Return the columns of all views: view, column, type (DuckDB's name), meaning."""
    return pa.Table.from_pylist(
        [
            {"view": v.name, "column": c, "type": sql_type(SCHEMA_OF[v.name].field(c).type), "meaning": meaning}
            for v in VIEWS
            for c, meaning in v.columns.items()
        ]
    )


def schema_text(views: tuple[View, ...] = VIEWS) -> str:
    """Return the columns of all views as text for a terminal."""
    blocks = []
    for view in views:
        types = {c: sql_type(SCHEMA_OF[view.name].field(c).type) for c in view.columns}
        wide, typed = max(map(len, types)), max(map(len, types.values()))
        lines = [f"  {c:<{wide}}  {types[c]:<{typed}}  {meaning}" for c, meaning in view.columns.items()]
        blocks.append("\n".join([f"{view.name}: {view.meaning}", *lines]))
    return "\n\n".join(blocks)


def schema_markdown() -> str:
    """Return the columns of all views as Markdown: a heading, a sentence and a table for each."""
    blocks = []
    for view in VIEWS:
        rows = [
            f"| `{c}` | {sql_type(SCHEMA_OF[view.name].field(c).type)} | {meaning} |"
            for c, meaning in view.columns.items()
        ]
        head = f"### `{view.name}`\n\n{view.meaning[0].upper()}{view.meaning[1:]}."
        blocks.append("\n".join([head, "", "| column | type | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(blocks)


def sql_type(kind: pa.DataType) -> str:
    """Return what DuckDB calls a type of the views."""
    return _SQL_TYPES[kind]
