"""Sizes that a study adds where DR is decided, from the results so far: the bracket of k* is cut until it is narrow.

The search is replayed from the study's own sizes in every plan. A round that is measured leads to the next; the first
round that is not is what to measure now. So the sizes follow from the study alone: not from the order in which results
came, from an interruption, or from sizes that another study measured in the same store.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

import aggregate
from drfarm.study import Study
from drfarm.targets import Target
from probe import Method, ProbeSetting, Sizes, sizes_of
from store import Store

_NAMES = ("model", "layer", "dataset")
_COLUMNS = ["solver", "protocol", "method", "train_id", "test_id", "width", "n_neurons", "seed", "accuracy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCurve:
    """The probes of one accuracy measure by one method on one target."""

    setting: ProbeSetting
    """What they have in common."""
    method: Method
    """How subsets are chosen."""
    seeds: Sequence[int]
    """Seeds of each size."""
    sizes: Sizes
    """Sizes, rising."""

    def missing(self, seed: int, done: Collection[str]) -> list[int]:
        """Return the sizes of a seed that are not among the jobs that are done."""
        return [k for k in self.sizes if self.setting.job_id(self.method.label, seed, k) not in done]

    def is_done(self, done: Collection[str]) -> bool:
        """Say whether all seeds have all sizes."""
        return not any(self.missing(seed, done) for seed in self.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """The curves of a store, and what a study asks of their brackets."""

    deltas: tuple[float, ...]
    """Thresholds whose k* is looked for; none where the study does not refine."""
    to: float
    """Width of a bracket that is narrow enough, as a fraction of the layer."""
    curves: Mapping[aggregate.CellKey, aggregate.MeasuredCurve]
    """Mean ratios over the study's seeds, by cell without names."""
    done: Collection[str]
    """Jobs that are in the store."""

    @classmethod
    def read(cls, study: Study, targets: Iterable[Target], store: Store | None, done: Collection[str]) -> Self:
        """Read the curves that a study's refinement looks at: none where it has none."""
        refine = study.subsets.refine
        if refine is None:
            return cls(deltas=(), to=1.0, curves={}, done=done)
        deltas = study.deltas if refine.delta is None else (refine.delta,)
        curves = {} if store is None else _curves(study, targets, store)
        return cls(deltas=deltas, to=refine.to, curves=curves, done=done)

    def begins(self, asked: Iterable[AskedCurve]) -> bool:
        """Say whether all that a study itself asks of a target is measured, so that its curves can be refined.

        They wait for each other: T(whole) of principal components comes from another curve, and so does ridge's
        proposal.
        """
        return bool(self.deltas) and all(curve.is_done(self.done) for curve in asked)

    def refined(self, target: Target, asked: AskedCurve) -> AskedCurve:
        """Return a curve with the sizes that the rounds so far have added, and with those to be measured next."""
        measured = self.curves.get(_cell(target, asked.setting, asked.method.label))
        if asked.setting.control is not None or measured is None or len(asked.sizes) == target.width:
            return asked
        ratios = dict(zip(measured.sizes, measured.mean_ratios, strict=True))
        resolution = max(1, floor(self.to * target.width))
        proposals = {delta: self._proposal(target, asked, delta) for delta in self.deltas}
        sizes = list(asked.sizes)
        while True:
            known = [ratios.get(k) for k in sizes]
            added = {
                k
                for delta, proposal in proposals.items()
                for k in aggregate.next_sizes(
                    sizes, known, delta=delta, width=target.width, resolution=resolution, proposal=proposal
                )
            }
            sizes += sorted(added)
            if not added or not replace(asked, sizes=sizes_of(added)).is_done(self.done):
                return replace(asked, sizes=sizes_of(sizes))

    def _proposal(self, target: Target, asked: AskedCurve, delta: float) -> int | None:
        """Return k* of ridge's curve at every size, if the study has one: a guess that the solver itself decides."""
        for other in target.settings:
            if other.solver != "ridge" or other.control is not None:
                continue
            curve = self.curves.get(_cell(target, other, asked.method.label))
            if curve is not None and len(curve.sizes) == target.width:
                reached = (
                    k for k, r in zip(curve.sizes, curve.mean_ratios, strict=True) if r is not None and r >= delta
                )
                return next(reached, None)
        return None


def _curves(study: Study, targets: Iterable[Target], store: Store) -> dict[aggregate.CellKey, aggregate.MeasuredCurve]:
    """Read the curves of a study's seeds. Names are left out: another study may have given others to the same rows."""
    table = store.results.table("probes", columns=_COLUMNS)
    trained_on = pa.array(sorted({s.train_id for t in targets for s in t.settings}), pa.string())
    mine = pc.and_(
        pc.is_in(table["train_id"], value_set=trained_on),
        pc.is_in(table["seed"], value_set=pa.array(study.subsets.seeds, table.schema.field("seed").type)),
    )
    table = table.filter(mine)
    for name in _NAMES:
        table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return aggregate.measured_curves(table)


def _cell(target: Target, setting: ProbeSetting, method: str) -> aggregate.CellKey:
    return aggregate.CellKey(
        model=None,
        layer=None,
        dataset=None,
        solver=setting.solver,
        protocol=setting.label,
        method=method,
        train_id=setting.train_id,
        test_id=setting.test_id,
        width=target.width,
    )
