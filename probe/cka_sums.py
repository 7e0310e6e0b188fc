"""Sums over rows from which debiased CKA follows, for any set of rows: they add up and subtract. Pure (no I/O).

Let rows x be taken about any fixed reference, S and T be parts, p_i = ||x_i,S||^2 and q_i = ||x_i,T||^2. Centring n
rows at their own mean, delta away from the reference, with r_i = x_i,S . delta_S and a = ||delta_S||^2 (r*, a* for T),
gives p'_i = p_i - 2 r_i + a, hence

    C'        = C - n delta delta'
    sum p'    = sum p - n a
    sum p' q' = sum p q - 2 sum p r* - 2 sum r q + 4 delta_S' C[S, T] delta_T + a* sum p + a sum q - 3 n a a*

with sum r q = sum over a in S of delta_a (X' q)_a. The unbiased HSIC follows as derived in `probe.cka_debiased`. So the
estimate of all rows but some costs one product of those rows, exactly, and no third or fourth moments (d x d x d) are
ever there: p and q are summed for the parts and sizes in question.

Sums over S x T of a d x d matrix W at K sizes are the diagonal of J_S' W J_T, where J (d x K) marks the first k of a
part: one thin product W J serves all parts. Directions M have coordinates z = x M and are another set of neurons.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace, to_numpy
from probe.cka import above, ratio
from probe.cka_parts import Comparison, Part, in_float64, least, reach, row_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be added up. A *base* is a set of coordinates: 0 the neurons, others one matrix of directions each."""

    directions: tuple[Any, ...]
    """Per base: directions as columns, as many as the largest size, shape (d, coordinates); None for the neurons."""
    marks: tuple[Any, ...]
    """Per base: J, shape (coordinates, columns): 1 where a coordinate belongs to a part at a size."""
    places: tuple[tuple[int, slice], ...]
    """Per part, the whole layer last: its base, and its columns of J (one for each size; one for the whole layer)."""
    products: tuple[tuple[int, int], ...]
    """Pairs of parts whose HSIC is needed, the base of the first not after that of the second."""
    comparisons: tuple[tuple[int, int], ...]
    """Parts against parts, the whole layer by its number."""
    reaches: tuple[float, ...]
    """Per part: see `reach`."""

    @classmethod
    def of(
        cls, xp: Any, parts: Sequence[Part], comparisons: Sequence[Comparison], sizes: Sequence[int], width: int
    ) -> "Plan":
        """Plan the sums for comparisons of parts of a layer of ``width`` neurons, in the library ``xp``."""
        ends = np.array(sizes)
        directions: list[Any] = [None]
        marks: list[list[NDArray[np.float64]]] = [[]]
        places = []
        for part in parts:
            base = 0
            position = np.full(width, width)  # never taken up
            if part.ndim == 1:
                position[part] = np.arange(len(part))
            else:
                base, position = len(marks), np.arange(ends[-1])
                directions.append(xp.asarray(part[:, : ends[-1]].astype(np.float64)))
                marks.append([])
            start = len(sizes) * len(marks[base])
            marks[base].append((position[:, None] < ends).astype(np.float64))
            places.append((base, slice(start, start + len(sizes))))
        start = len(sizes) * len(marks[0])
        marks[0].append(np.ones((width, 1)))
        places.append((0, slice(start, start + 1)))
        whole = len(parts)
        named = tuple((a, whole if b is None else b) for a, b in comparisons)
        needed = {(p, p) for pair in named for p in pair} | {
            (a, b) if (places[a][0], a) <= (places[b][0], b) else (b, a) for a, b in named
        }
        return cls(
            directions=tuple(directions),
            marks=tuple(xp.asarray(np.concatenate(m, axis=1)) for m in marks),
            places=tuple(places),
            products=tuple(sorted(needed | {(whole, whole)})),
            comparisons=named,
            reaches=(*map(reach, parts), 1.0),
        )

    @property
    def bases(self) -> list[tuple[int, int]]:
        """Pairs of bases that products are made of."""
        return sorted({(self.places[p][0], self.places[q][0]) for p, q in self.products})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Sums over a set of rows, about a reference that is the same for all sets: they add up and subtract."""

    n: int
    """Rows."""
    first: dict[int, Any]
    """Per base: sum of x, shape (coordinates,)."""
    second: dict[tuple[int, int], Any]
    """Per pair of bases: X' Z, shape (coordinates, coordinates)."""
    third: dict[tuple[int, int], Any]
    """Per pair of bases, both ways: X' P with P the p_i of the second base's columns, shape (coordinates, columns)."""
    trace: dict[int, Any]
    """Per part: sum p, shape (sizes,)."""
    product: dict[tuple[int, int], Any]
    """Per product of parts: sum p q, shape (sizes,)."""

    def plus(self, other: "Sums", sign: int = 1) -> "Sums":
        """Return the sums over both sets of rows; with sign -1, without those of ``other``."""
        found = {
            f.name: {k: v + sign * getattr(other, f.name)[k] for k, v in getattr(self, f.name).items()}
            for f in dataclasses.fields(self)
            if f.name != "n"
        }
        return Sums(n=self.n + sign * other.n, **found)


_ROWS = 4096
"""Rows that are taken into float64 at a time."""


def row_sums(plan: Plan, x: Any, chosen: NDArray[np.int64], mean: Any) -> Sums:
    """Return the sums over chosen rows, ``mean`` being the reference."""
    return added(_block_sums(plan, in_float64(block) - mean) for block in _blocks(x, chosen))


def _blocks(x: Any, chosen: NDArray[np.int64]) -> Iterator[Any]:
    xp = namespace(x)
    for block in row_blocks(len(chosen), _ROWS):
        yield xp.take(x, xp.asarray(chosen[block]), axis=0)


def added(sums: Iterable[Sums]) -> Sums:
    """Return the sums over all sets of rows, of which there is at least one; one set is held at a time."""
    return reduce(Sums.plus, sums)


def _block_sums(plan: Plan, x: Any) -> Sums:
    xp = namespace(x)
    along = [x if matrix is None else x @ matrix for matrix in plan.directions]
    norms = [(z * z) @ mark for z, mark in zip(along, plan.marks, strict=True)]
    own = [norms[base][:, columns] for base, columns in plan.places]
    both_ways = {*plan.bases, *((v, u) for u, v in plan.bases)}
    return Sums(
        n=x.shape[0],
        first={u: xp.sum(z, axis=0) for u, z in enumerate(along)},
        second={(u, v): along[u].T @ along[v] for u, v in plan.bases},
        third={(u, v): along[u].T @ norms[v] for u, v in both_ways},
        trace={p: xp.sum(own[p], axis=0) for p in range(len(own))},
        product={(p, q): xp.sum(own[p] * own[q], axis=0) for p, q in plan.products},
    )


def estimates(plan: Plan, sums: Sums) -> NDArray[np.float64]:
    """Return debiased CKA of every comparison at every size, shape (comparisons, sizes), from sums over n rows."""
    n_sizes = max(columns.stop - columns.start for _, columns in plan.places)
    if sums.n < 4:
        return np.full((len(plan.comparisons), n_sizes), np.nan)
    hsic, trace = _hsic(plan, sums)
    whole = len(plan.places) - 1
    own = {
        p: above(hsic[p, p], least(trace[p], trace[whole], plan.reaches[p]))
        for p in {i for pair in plan.comparisons for i in pair}
    }
    values = []
    for a, b in plan.comparisons:
        cross = hsic[a, b] if (a, b) in hsic else hsic[b, a]
        values.append(to_numpy(ratio(cross, own[a], own[b])))
    return np.stack(values) if values else np.empty((0, n_sizes))


def _hsic(plan: Plan, sums: Sums) -> tuple[dict[tuple[int, int], Any], list[Any]]:
    """Return n (n - 3) HSIC of every product, and the trace of every part's scatter; each of shape (sizes,)."""
    xp = namespace(sums.first[0])
    n = sums.n
    shift = {u: s / n for u, s in sums.first.items()}
    marks = [[plan.marks[u][:, c], shift[u][:, None] * plan.marks[u][:, c]] for u, c in plan.places]
    lengths = [xp.sum(marked * marked, axis=0) for _, marked in marks]  # a
    trace = [sums.trace[p] - n * a for p, a in enumerate(lengths)]
    found = {}
    for u, v in plan.bases:
        scatter = sums.second[u, v] - n * shift[u][:, None] * shift[v][None, :]
        scatter *= scatter
        squares = scatter @ plan.marks[v]
        shifted = sums.second[u, v] @ (shift[v][:, None] * plan.marks[v])
        for p, q in plan.products:
            (base_p, at_p), (base_q, at_q) = plan.places[p], plan.places[q]
            if (base_p, base_q) != (u, v):
                continue
            norms = (
                sums.product[p, q]
                - 2 * xp.sum(marks[p][1] * sums.third[u, v][:, at_q], axis=0)
                - 2 * xp.sum(marks[q][1] * sums.third[v, u][:, at_p], axis=0)
                + 4 * xp.sum(marks[p][1] * shifted[:, at_q], axis=0)
                + lengths[q] * sums.trace[p]
                + lengths[p] * sums.trace[q]
                - 3 * n * lengths[p] * lengths[q]
            )
            cross = xp.sum(marks[p][0] * squares[:, at_q], axis=0)
            found[p, q] = cross - n / (n - 2) * norms + trace[p] * trace[q] / ((n - 1) * (n - 2))
    return found, trace


def row_mean(x: Any) -> Any:
    """Return the mean of each neuron in float64, shape (d,): the reference; any point near it would do."""
    blocks = (in_float64(x[block, :]) for block in row_blocks(x.shape[0], _ROWS))
    return sum(namespace(x).sum(block, axis=0) for block in blocks) / x.shape[0]
