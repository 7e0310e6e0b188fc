"""Sentences of the paper about accuracy, as checks on the printed accuracies."""

from functools import cache
from itertools import pairwise
from typing import Final

from aggregate.published.claims import Check, Part
from aggregate.published.numbers import published_accuracies, published_read_off, published_spread

_SLACK: Final = 1e-9
"""Differences of printed decimals are compared with this much room for their binary rounding."""

_Curve = dict[float, float]


@cache
def curves() -> dict[tuple[str, str], _Curve]:
    """Return fraction to accuracy of every printed curve of random subsets, by (model, data set), fractions rising."""
    found: dict[tuple[str, str], _Curve] = {}
    for row in published_accuracies().sort_by("fraction").to_pylist():
        if row["method"] == "random":
            found.setdefault((row["model"], row["dataset"]), {})[row["fraction"]] = row["accuracy"]
    return found


@cache
def read_off() -> dict[tuple[str, str, str, float], float]:
    """Return the approximate accuracies by (model, data set, method, fraction)."""
    rows = published_read_off().to_pylist()
    return {(r["model"], r["dataset"], r["method"], r["fraction"]): r["accuracy"] for r in rows}


def _twenty_percent() -> tuple[list[Part], str]:
    part, whole = (curves()["resnet50", "cifar10"][f] for f in (0.2, 1.0))
    robust = curves()["resnet50-AT", "cifar10"]
    parts = [
        Part(f"{part:.4f} against {whole:.4f}: {100 * (part - whole):+.1f} points", whole - part <= 0.05 + _SLACK),
        Part(f"ratio {part / whole:.3f}", part / whole >= 0.95 - _SLACK),
    ]
    return parts, (
        f"the adversarially trained ResNet50: {100 * (robust[0.2] - robust[1.0]):+.1f} points, ratio "
        f"{robust[0.2] / robust[1.0]:.3f}"
    )


def _pca() -> tuple[list[Part], str]:
    parts = []
    for (model, dataset, method, fraction), pca in read_off().items():
        if method == "pca":
            random = curves().get((model, dataset), {}).get(fraction)
            random = random if random is not None else read_off()[model, dataset, "random", fraction]
            parts.append(Part(f"{dataset} {random:.2f} against about {pca:.2f}", pca - random <= 0.05 + _SLACK))
    return parts, ""


def _projection() -> tuple[list[Part], str]:
    parts = []
    for (model, dataset, method, fraction), projected in read_off().items():
        if method == "random_projection_uniform" and (model, dataset) in curves():
            random = curves()[model, dataset][fraction]
            what = f"{dataset} about {projected:.2f} against {random:.2f} of as many neurons"
            parts.append(Part(what, random - projected > 0.05))
    return parts, "their matrix was uniform, not normal"


def _narrow() -> tuple[list[Part], str]:
    part, whole = (read_off()["resnet50-ff8", "cifar10", "random", f] for f in (0.75, 1.0))
    what = f"cifar10, 6 of 8 neurons: about {part:.3f} of {whole:.2f}, ratio {part / whole:.2f}"
    return [Part(what, part / whole < 0.9)], "the next size that was probed is all 8; other data sets are not carried"


def _gap() -> tuple[list[Part], str]:
    parts = []
    for model in ("resnet50", "resnet50-AT"):
        first, second = curves()[model, "imagenet"], curves()[model, "imagenetv2"]
        whole = first[1.0] - second[1.0]
        for fraction in sorted(set(first) - {1.0}):
            gap = first[fraction] - second[fraction]
            what = f"{model} at {fraction:g}: {100 * gap:.1f} points against {100 * whole:.1f}"
            parts.append(Part(what, abs(gap - whole) <= 0.02 + _SLACK))
    return parts, ""


def _bars() -> tuple[list[Part], str]:
    rows = published_spread().to_pylist()
    parts = [
        Part(
            f"{r['model']} {r['dataset']} at {r['fraction']:g}: {100 * r['std']:.1f} points", r["std"] <= 0.02 + _SLACK
        )
        for r in rows
    ]
    worst = max(rows, key=lambda row: row["std"])
    return parts, (
        f"largest: {100 * worst['std']:.1f} points ({worst['model']}, {worst['dataset']}, fraction "
        f"{worst['fraction']:g})"
    )


def _monotone() -> tuple[list[Part], str]:
    parts = []
    for (model, dataset), curve in curves().items():
        steps = list(curve.items())
        for (low, before), (high, after) in pairwise(steps):
            what = f"{model} {dataset} {low:g} to {high:g}: {before:.3f} to {after:.3f}"
            parts.append(Part(what, after >= before - _SLACK))
    return parts, "steps of the printed means, networks with dropout and DeCov among them"


CHECKS: Final = (
    Check(
        id="twenty-percent",
        sentence="A linear probe on 20 % of the ResNet50's neurons comes within 5 % of the whole layer on CIFAR10.",
        where="abstract",
        reading="at most 5 points, and a ratio of at least 0.95",
        deviations=("D7", "D9", "D11"),
        parts=_twenty_percent,
    ),
    Check(
        id="follows-pca",
        sentence="Above 20 % random neurons closely follow as many leading principal components.",
        where="section 2.2, Fig. 2",
        reading="standard ResNet50 at 20 %: components lead by at most 5 points",
        deviations=("D4", "D7", "D20"),
        parts=_pca,
    ),
    Check(
        id="random-projection",
        sentence="Random projections do significantly worse than random neurons.",
        where="section 2.2, Fig. 3",
        reading="standard ResNet50 at 80 %: more than 5 points worse",
        deviations=("D2", "D4"),
        parts=_projection,
    ),
    Check(
        id="ff8",
        sentence="The ResNet50_ff8 needs more than 90 % of its neurons to come close to the whole layer.",
        where="section 3.2, Fig. 6",
        reading="the largest part that was probed stays below 0.9 of the whole",
        deviations=("D14",),
        parts=_narrow,
    ),
    Check(
        id="v2-gap",
        sentence="The gap between ImageNet and ImageNetV2 is maintained as neurons are dropped.",
        where="appendix F, Fig. 20",
        reading="at every fraction within 2 points of the gap of the whole network",
        deviations=("D4", "D21"),
        parts=_gap,
    ),
    Check(
        id="small-bars",
        sentence="Error bars are very low: performance is stable across random picks.",
        where="section 2.1",
        reading="standard deviation over seeds of at most 2 points",
        deviations=("D7",),
        parts=_bars,
    ),
    Check(
        id="monotone",
        sentence="Accuracy monotonically increases with more neurons.",
        where="section 4",
        reading="no step of a printed curve falls",
        deviations=("D4", "D6", "D7"),
        parts=_monotone,
    ),
)
"""In the order of the paper, by and large."""
