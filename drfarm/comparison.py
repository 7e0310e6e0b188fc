"""Comparing two models, layers, methods or studies: who is meant by A and B, and where their results are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

import aggregate
from drfarm.api import DEFAULT_DELTAS
from drfarm.importing import importable
from drfarm.outputs import study_results
from drfarm.planning import plan_study
from drfarm.study import load_study
from store import InvalidRequest, Store, UnknownName, open_store
from store.schema import CKA, PROBES

_WIDE = ("class_accuracy", "predicted_count")
_STUDY_FILES = (".yaml", ".yml")
FORM = "a model, model/layer, names such as model=...,layer=...,method=..., or a study file"
"""What A and B may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Differences of A and B, and what was left out."""

    table: pa.Table
    """`aggregate.DIFFERENCE_SCHEMA`, or `VALUE_DIFFERENCE_SCHEMA` where values were compared."""
    notes: tuple[str, ...]
    """Curves that have no partner."""
    confidence: float
    """Level of the intervals."""
    adjusted: bool
    """Whether verdicts are adjusted for being several."""

    def _repr_html_(self) -> str:
        from drfarm.notebook import comparison_html

        return comparison_html(self)

    def shown(self) -> "aggregate.TextTable":
        """Return it as a table for people."""
        return aggregate.difference_table(self.table, self.notes, confidence=self.confidence, adjusted=self.adjusted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operand:
    """One side as it was written."""

    label: str
    text: str
    study: Path | None
    bare: str | None
    """A model, or model/layer."""
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """Where a side looks."""

    probes: pa.Table
    cka: pa.Table
    deltas: tuple[float, ...]


def compare(
    a: str,
    b: str,
    *,
    store: str | Path | None = None,
    deltas: Sequence[float] | None = None,
    rule: aggregate.Rule = "strict",
    at: Literal["k", "fraction"] | None = None,
    confidence: float = 0.95,
    adjust: bool = False,
) -> Comparison:
    """Compare DR of A with DR of B, or their accuracy and CKA at equal sizes, with intervals and verdicts in words.

    Parameters
    ----------
    a, b
        Each a model, ``model/layer``, or names such as ``model=...,layer=...,method=...,protocol=...``, or a study
        file, alone or with such names after it: ``study.yaml,method=pca``. What only one side says holds for both.
    store
        Where results are; instead of the stores of studies where these are compared.
    deltas
        Thresholds; by default those of the studies, else 0.8, 0.9, 0.95.
    rule
        Rule of DR.
    at
        Compare values at equal ``k`` or equal ``fraction`` instead of DR.
    confidence
        Level of the intervals.
    adjust
        Adjust verdicts for all rows at once, by Holm's method.

    Raises
    ------
    InvalidRequest
        If A or B is not understood, names what is not there, or nothing of them can be compared.
    """
    operands = _operand(a, "A"), _operand(b, "B")
    if store is None and all(o.study is None for o in operands):
        raise InvalidRequest("give a store with --store, or two study files.")
    if at is not None and deltas:
        raise InvalidRequest("thresholds are for DR, and values at equal sizes have none: leave out delta, or at.")
    whole = None if store is None else open_store(store)
    results = {o.label: _results(o, whole) for o in operands if o.study is not None or whole is not None}
    of_a, of_b = (results.get(o.label) or next(iter(results.values())) for o in operands)
    sides = [_side(o, of) for o, of in zip(operands, (of_a, of_b), strict=True)]
    if at is not None:
        table, notes = aggregate.value_differences(*sides, at=at, confidence=confidence, adjust=adjust)
    else:
        levels = list(deltas) if deltas else sorted({*of_a.deltas, *of_b.deltas})
        table, notes = aggregate.differences(*sides, deltas=levels, rule=rule, confidence=confidence, adjust=adjust)
    return Comparison(table=table, notes=notes, confidence=confidence, adjusted=adjust)


def _operand(text: str, label: str) -> _Operand:
    parts = [part.strip() for part in str(text).split(",")]
    study, bare, names = None, None, {}
    for position, part in enumerate(parts):
        name, sign, value = part.partition("=")
        if sign and name.strip() in aggregate.SIDE_NAMES:
            if name.strip() in names:
                raise InvalidRequest(f"{label}: {name.strip()} is said twice in {text!r}: say it once.")
            names[name.strip()] = value.strip()
        elif part and position == 0 and part.endswith(_STUDY_FILES):
            study = Path(part)
        elif part and position == (0 if study is None else 1):
            bare = part
        elif sign:
            raise UnknownName.among("name to select by", name.strip(), aggregate.SIDE_NAMES, where=f"{label}, {text!r}")
        else:
            raise InvalidRequest(f"{label}: expected {FORM}, got {text!r}.")
    return _Operand(label=label, text=str(text), study=study, bare=bare, names=names)


def _results(operand: _Operand, store: Store | None) -> _Results:
    if operand.study is None:
        assert store is not None  # only then is it asked for
        probes = store.results.table("probes", columns=[c for c in PROBES.names if c not in _WIDE])
        return _Results(probes=probes, cka=store.results.table("cka", columns=CKA.names), deltas=DEFAULT_DELTAS)
    study = load_study(operand.study)
    with _beside(operand.study):
        found = study_results(plan_study(study, store_url=None if store is None else store.url))
    return _Results(probes=found.probes, cka=found.cka, deltas=study.deltas)


@contextmanager
def _beside(file: Path) -> Iterator[None]:
    with importable(file.absolute().parent):
        yield


def _side(operand: _Operand, results: _Results) -> aggregate.Side:
    where = dict(operand.names)
    if operand.bare is not None:
        for name, value in _model_and_layer(operand, results).items():
            if where.setdefault(name, value) != value:
                raise InvalidRequest(f"{operand.label}: {name} is said twice in {operand.text!r}: say it once.")
    return aggregate.Side(probes=results.probes, cka=results.cka, where=where, label=operand.label)


def _model_and_layer(operand: _Operand, results: _Results) -> dict[str, str]:
    """Read a model, or model/layer, where both names may hold slashes."""
    text = str(operand.bare)
    models = {
        m for table in (results.probes, results.cka) for m in table["model"].unique().to_pylist() if m is not None
    }
    if text in models:
        return {"model": text}
    for at, sign in enumerate(text):
        if sign == "/" and text[:at] in models:
            return {"model": text[:at], "layer": text[at + 1 :]}
    name, sign, _ = text.partition("=")
    if sign and "/" not in name and text not in models:
        raise UnknownName.among("name to select by", name, aggregate.SIDE_NAMES, where=f"{operand.label}, {text!r}")
    near = text if "/" not in text else text.partition("/")[0]
    raise UnknownName.among("model", near, models, where=operand.label)
