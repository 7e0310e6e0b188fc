"""Sizes that a study adds where DR is decided, from the results so far: the bracket of k* is cut until it is narrow."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import NamedTuple, Self

import aggregate
from drfarm.study import Study
from drfarm.targets import Target
from probe import Method, ProbeSetting, Sizes, parse_method, sizes_of
from store import Store


class _Cell(NamedTuple):
    """What the results of one curve have in common."""

    train_id: str
    test_id: str
    solver: str
    protocol: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """The curves of a store, and what a study asks of their brackets."""

    deltas: tuple[float, ...]
    """Thresholds whose k* is looked for; none where the study does not refine."""
    to: float
    """Width of a bracket that is narrow enough, as a fraction of the layer."""
    accuracies: Mapping[_Cell, Mapping[int, Mapping[int, float]]]
    """Accuracy by cell, size and seed."""
    done: Collection[str]
    """Jobs that are in the store."""

    @classmethod
    def read(cls, study: Study, store: Store | None, done: Collection[str]) -> Self:
        """Read the curves that a study's refinement looks at: none where it has none."""
        refine = study.subsets.refine
        if refine is None:
            return cls(deltas=(), to=1.0, accuracies={}, done=done)
        found: dict[_Cell, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        if store is not None:
            columns = [*_Cell._fields, "n_neurons", "seed", "accuracy"]
            table = store.results.table("probes", columns=columns)
            for *cell, k, seed, accuracy in zip(*(table[c].to_pylist() for c in columns), strict=True):
                if accuracy is not None:
                    found[_Cell(*cell)][k][seed] = accuracy
        deltas = study.deltas if refine.delta is None else (refine.delta,)
        return cls(deltas=deltas, to=refine.to, accuracies=found, done=done)

    def extended(
        self, sizes: Sizes, target: Target, setting: ProbeSetting, method: Method, seeds: Sequence[int]
    ) -> Sizes:
        """Return the sizes and those to be measured next; the same sizes while some of them are still missing.

        Only sizes that all seeds have count, so an interrupted round is finished before the next begins, and the sizes
        do not depend on the order in which results came.
        """
        if not self.deltas or setting.control is not None or len(sizes) == target.width:
            return sizes
        measured = self.accuracies.get(_cell(setting, method.label), {})
        complete = [k for k in measured if all(setting.job_id(method.label, s, k) in self.done for s in seeds)]
        if not set(sizes) <= set(complete):
            return sizes
        curve = self._ratios(setting, method.label, complete, seeds, target.width)
        resolution = max(1, floor(self.to * target.width))
        added: set[int] = set()
        for delta in self.deltas:
            added |= set(
                aggregate.next_sizes(
                    tuple(curve),
                    tuple(curve.values()),
                    delta=delta,
                    width=target.width,
                    resolution=resolution,
                    proposal=self._proposal(setting, method.label, target, delta),
                )
            )
        return sizes_of({*sizes, *(k for k in added if k <= max(sizes))})

    def _ratios(
        self, setting: ProbeSetting, method: str, sizes: Sequence[int], seeds: Sequence[int], width: int
    ) -> dict[int, float]:
        """Return the mean ratio to the whole layer by rising size; empty where the whole is not known."""
        curve = self.accuracies[_cell(setting, method)]
        whole = _mean(curve.get(width, {}), seeds) or self._whole(setting, width)
        if not whole:
            return {}
        means = {k: _mean(curve[k], seeds) for k in sorted(sizes)}
        return {k: m / whole for k, m in means.items() if m is not None}

    def _whole(self, setting: ProbeSetting, width: int) -> float | None:
        """Return the whole layer's accuracy by any order of all its neurons: the layer is the same."""
        for cell, curve in sorted(self.accuracies.items()):
            same = cell._replace(method="") == _cell(setting, "")
            if same and not parse_method(cell.method).projects and width in curve:
                return _mean(curve[width], tuple(curve[width]))
        return None

    def _proposal(self, setting: ProbeSetting, method: str, target: Target, delta: float) -> int | None:
        """Return k* of ridge's curve at every size, if the study has one: a guess that the solver itself decides."""
        if setting.solver == "ridge":
            return None
        for other in target.settings:
            curve = self.accuracies.get(_cell(other, method), {}) if other.solver == "ridge" else {}
            whole = _mean(curve.get(target.width, {}), tuple(curve.get(target.width, {})))
            if whole and len(curve) == target.width:
                for k in sorted(curve):
                    mean = _mean(curve[k], tuple(curve[k]))
                    if mean is not None and mean >= delta * whole:
                        return k
        return None


def _cell(setting: ProbeSetting, method: str) -> _Cell:
    return _Cell(setting.train_id, setting.test_id, setting.solver, setting.label, method)


def _mean(by_seed: Mapping[int, float], seeds: Sequence[int]) -> float | None:
    values = [by_seed[s] for s in seeds if s in by_seed]
    return sum(values) / len(values) if values else None
