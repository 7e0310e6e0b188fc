"""Sentences of the paper about DR, as checks on the printed DR and on DR recomputed from the printed accuracies."""

from functools import cache
from typing import Final, NamedTuple

from aggregate.published._claims_accuracy import curves, read_off
from aggregate.published.catalogue import published_models
from aggregate.published.claims import Check, Part
from aggregate.published.numbers import published_redundancy, published_table1
from aggregate.published.recomputed import recomputed_redundancy

_DELTA: Final = 0.9
_SAME: Final = 0.005
"""DR is printed to two decimals."""


class _Rules(NamedTuple):
    strict: float
    nearest: float


@cache
def _dr() -> dict[tuple[str, str], _Rules]:
    """Return DR of random subsets by (model, data set): from carried accuracies, else as recomputed from notebooks."""
    found = {}
    for table in (published_redundancy(), recomputed_redundancy(_DELTA)):
        for row in table.to_pylist():
            if row["method"] == "random":
                found[row["model"], row["dataset"]] = _Rules(strict=row["strict"], nearest=row["nearest"])
    return found


def _datasets() -> tuple[str, ...]:
    return tuple(dict.fromkeys(published_table1()["dataset"].to_pylist()))


def _compare(pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> tuple[list[Part], str]:
    """Compare the first of each pair with the second: higher by Eq. 1 holds, equal on the grid decides nothing."""
    parts, higher, lower = [], 0, 0
    for first, second in pairs:
        a, b = _dr()[first], _dr()[second]
        what = f"{' '.join(first)} {a.strict:.2f} against {' '.join(second)} {b.strict:.2f}"
        parts.append(Part(what, None if abs(a.strict - b.strict) < _SAME else a.strict > b.strict))
        higher += a.nearest - b.nearest > _SAME
        lower += b.nearest - a.nearest > _SAME
    by_theirs = f"by the rule nearest {higher} higher, {len(pairs) - higher - lower} equal, {lower} lower"
    return parts, by_theirs


def _table1() -> tuple[list[Part], str]:
    parts, falls = [], []
    for row in published_table1().to_pylist():
        ours = _dr()[row["model"], row["dataset"]]
        same = abs(ours.strict - row["dr"]) < _SAME
        parts.append(
            Part(f"{row['model']} {row['dataset']}: {row['dr']:.2f} printed, {ours.strict:.2f} by Eq. 1", same)
        )
        falls += [] if same else [row["dr"] - ours.strict]
    nearest = sum(
        abs(_dr()[r["model"], r["dataset"]].nearest - r["dr"]) < _SAME for r in published_table1().to_pylist()
    )
    if not falls:
        return parts, ""
    return parts, (
        f"{len(falls)} of {len(parts)} entries differ, by {min(falls, key=abs):.2f} to {max(falls, key=abs):.2f}; by "
        f"the rule nearest {nearest} of {len(parts)} are as printed"
    )


def _robust() -> tuple[list[Part], str]:
    return _compare([(("resnet50-AT", d), ("resnet50", d)) for d in _datasets()])


def _robust_elsewhere() -> tuple[list[Part], str]:
    return _compare([((f"{m}-AT", d), (m, d)) for m in ("resnet18", "wrn50_2", "vgg16_bn") for d in _datasets()])


def _upstream() -> tuple[list[Part], str]:
    return _compare([((f"{m}-21k", d), (f"{m}-1k", d)) for m in ("vit_s16", "vit_s32") for d in _datasets()])


def _task() -> tuple[list[Part], str]:
    return _compare(
        [
            ((model, easy), (model, hard))
            for model in ("resnet50", "resnet50-AT")
            for easy in ("cifar10", "pets")
            for hard in ("cifar100", "flowers")
        ]
    )


def _regularisers() -> tuple[list[Part], str]:
    parts, lines = [], []
    networks = [m.name for m in published_models() if m.name.startswith(("resnet50-dropout", "resnet50-decov"))]
    for dataset in _datasets():
        rules = [_dr()[name, dataset].strict for name in networks]
        wholes = [curves()[name, dataset][1.0] for name in networks]
        standard = (
            curves().get(("resnet50", dataset), {}).get(1.0, read_off().get(("resnet50", dataset, "random", 1.0)))
        )
        # Every network of this group was probed with a budget of its own; none without a regulariser was.
        spread = f"{min(rules):.2f}" + (f" to {max(rules):.2f}" if max(rules) > min(rules) else "")
        parts.append(Part(f"{dataset}: DR by Eq. 1 {spread} over strengths", None))
        beside = "" if standard is None else f" (standard ResNet50, full budget: {standard:.2f})"
        lines.append(f"{dataset} {min(wholes):.2f} to {max(wholes):.2f}{beside}")
    return parts, (
        "no network without a regulariser was probed with this budget, so there is nothing to compare with; whole "
        f"layers reach {', '.join(lines)}"
    )


def _thirty() -> tuple[list[Part], str]:
    shown = [m for m in published_models() if m.in_paper]
    without = sum(m.name != "resnet50-linf" for m in shown)
    return [Part(f"the text names {len(shown)}", len(shown) == 30)], f"{without} without the linf network of a footnote"


CHECKS: Final = (
    Check(
        id="table1",
        sentence="Table 1 is DR as Eq. 1 defines it, at delta 0.9.",
        where="Table 1, Eq. 1",
        reading="each printed entry equals Eq. 1 on the authors' own accuracies",
        deviations=("D1", "D7", "D12"),
        parts=_table1,
    ),
    Check(
        id="robust",
        sentence="Across all data sets the adversarially trained ResNet50 is more redundant than the standard one.",
        where="section 2.1, Fig. 1",
        reading="higher DR(0.9) by Eq. 1; equal on their grid decides nothing",
        deviations=("D1", "D9"),
        parts=_robust,
    ),
    Check(
        id="robust-elsewhere",
        sentence="Adversarially trained networks of other architectures are more redundant too.",
        where="Fig. 4, Fig. 15",
        reading="ResNet18, WRN50-2, VGG16: higher DR(0.9) by Eq. 1; equal on their grid decides nothing",
        deviations=("D1", "D7", "D8", "D10"),
        parts=_robust_elsewhere,
    ),
    Check(
        id="upstream",
        sentence="Networks pre-trained on ImageNet-21k are more redundant than those of ImageNet-1k.",
        where="section 3.1, Fig. 5, Fig. 16",
        reading="both ViTs: higher DR(0.9) by Eq. 1; equal on their grid decides nothing",
        deviations=("D1", "D4", "D7", "D12"),
        parts=_upstream,
    ),
    Check(
        id="task",
        sentence="For both kinds of training Flowers and CIFAR100 need a larger fraction than CIFAR10 and Pets.",
        where="section 2.1",
        reading="ResNet50, standard and adversarial: lower DR(0.9) by Eq. 1; equal on their grid decides nothing",
        deviations=("D1", "D4", "D17"),
        parts=_task,
    ),
    Check(
        id="regularisers",
        sentence="Dropout and DeCov have almost no effect on diffused redundancy.",
        where="appendix G, Figs. 21, 22",
        reading="DR(0.9) against a network without them, probed alike",
        deviations=("D4", "D6", "D7"),
        parts=_regularisers,
    ),
    Check(
        id="thirty",
        sentence="30 pre-trained networks are analysed.",
        where="section 3",
        reading="networks that the text names",
        deviations=("D18",),
        parts=_thirty,
    ),
)
"""In the order of the paper, by and large."""
