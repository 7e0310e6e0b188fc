"""Sentences of the paper about CKA, as checks on the printed values."""

from functools import cache
from math import log
from typing import Final, NamedTuple

from aggregate.published.claims import Check, Part
from aggregate.published.numbers import published_cka

_Curve = dict[int, float]


@cache
def _values() -> dict[tuple[str, str, str, str], _Curve]:
    """Return size to CKA by (kind, model, method, data set), sizes rising."""
    found: dict[tuple[str, str, str, str], _Curve] = {}
    for row in published_cka().sort_by("n_neurons").to_pylist():
        found.setdefault((row["kind"], row["model"], row["method"], row["dataset"]), {})[row["n_neurons"]] = row[
            "value"
        ]
    return found


def _tenth() -> tuple[list[Part], str]:
    parts = []
    for (kind, model, _, dataset), curve in _values().items():
        if (kind, model) == ("part_whole", "resnet50-AT"):
            value = _between(curve, 204)
            parts.append(Part(f"{dataset} {value:.3f}", value > 0.9))
    return parts, "read between the printed 128 and 256 neurons, linear in the logarithm of the size"


def _between(curve: _Curve, size: int) -> float:
    low = max(n for n in curve if n <= size)
    high = min(n for n in curve if n > size)
    share = log(size / low) / log(high / low)
    return curve[low] + share * (curve[high] - curve[low])


def _pairs() -> tuple[list[Part], str]:
    values, parts = [], []
    for model, size, name in (("resnet50-AT", 204, "10 %"), ("resnet50", 409, "20 %")):
        for (kind, which, _, dataset), curve in _values().items():
            if (kind, which) == ("pair", model):
                values.append(curve[size])
                parts.append(Part(f"{model} {dataset}, {name}: {curve[size]:.3f}", round(curve[size], 1) >= 0.8))
    return parts, f"between {min(values):.3f} and {max(values):.3f}"


def _robust_needs_fewer() -> tuple[list[Part], str]:
    pairs = _beside(("resnet50-AT", "random"), ("resnet50", "random"))
    leads = [pair.first - pair.second for pair in pairs]
    return [pair.part() for pair in pairs], f"its lead is {min(leads):.3f} to {max(leads):.3f}"


def _matryoshka_lower() -> tuple[list[Part], str]:
    pairs = _beside(("resnet50", "random"), ("resnet50-mrl", "random"))
    exceptions = [pair.size for pair in pairs if pair.first <= pair.second]
    note = f"the {len(exceptions)} exceptions are all at {max(exceptions)} neurons or fewer" if exceptions else ""
    return [pair.part() for pair in pairs], note


class _Pair(NamedTuple):
    dataset: str
    size: int
    first: float
    second: float

    def part(self) -> Part:
        """Hold the first against the second."""
        what = f"{self.dataset} {self.size} neurons: {self.first:.3f} against {self.second:.3f}"
        return Part(what, self.first > self.second)


def _beside(first: tuple[str, str], second: tuple[str, str]) -> list[_Pair]:
    """Pair CKA with the whole layer of two (model, method), at every data set and size."""
    return [
        _Pair(dataset, size, value, _values()["part_whole", *second, dataset][size])
        for (kind, model, method, dataset), curve in _values().items()
        if kind == "part_whole" and (model, method) == first
        for size, value in curve.items()
    ]


CHECKS: Final = (
    Check(
        id="cka-tenth",
        sentence="CKA of 10 % of the adversarially trained ResNet50's neurons with the whole layer is above 0.9.",
        where="Fig. 1",
        reading="above 0.9 at 204 of 2,048 neurons on each data set",
        deviations=("D15",),
        parts=_tenth,
    ),
    Check(
        id="cka-fewer",
        sentence="The adversarially trained ResNet50 reaches a level of CKA with far fewer neurons than the other.",
        where="section 2.1, Fig. 1",
        reading="its CKA with the whole layer is higher at every size and data set",
        deviations=("D9", "D15"),
        parts=_robust_needs_fewer,
    ),
    Check(
        id="cka-pairs",
        sentence=(
            "Any two 10 % of the adversarially trained ResNet50's neurons have a CKA of about 0.8, and so have any two "
            "20 % of the standard one's."
        ),
        where="section 2.2, Fig. 2",
        reading="0.8 or more, to one decimal",
        deviations=("D15",),
        parts=_pairs,
    ),
    Check(
        id="cka-matryoshka",
        sentence="Random parts of the Matryoshka network have a much lower CKA with the layer than standard ones.",
        where="appendix A, Fig. 9",
        reading="lower at every size and data set",
        deviations=("D9", "D15"),
        parts=_matryoshka_lower,
    ),
)
"""In the order of the paper."""
