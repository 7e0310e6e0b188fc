"""What weakens the findings: few seeds, coarse grids, curves without an answer, rules that disagree. Pure (no I/O)."""

from typing import Any

from aggregate.report._content import Finding, ReportInput

_FEW_SEEDS = 3
_COARSE = 0.1

Row = dict[str, Any]


def cautions(report: ReportInput, rows: list[Row]) -> tuple[Finding, ...]:
    """Return what to be careful about, most serious first.

    Parameters
    ----------
    rows
        Rows of `redundancy` that the findings are about.
    """
    texts = [
        _failed(report),
        _few_seeds(rows),
        _never(rows),
        _undefined(rows),
        _coarse(rows),
        _rules(report),
        _apart(report),
    ]
    if any(row["ci_low"] is not None for row in rows):
        texts.append(
            "Intervals are 95 % intervals over seeds (the choice of neurons and the training of the probe), one curve "
            "at a time: they do not cover how a network trained anew would differ."
        )
    return tuple(Finding(text=text, about="caution") for text in texts if text)


def _failed(report: ReportInput) -> str:
    n = sum(failure.n_jobs for failure in report.failures)
    return f"{n:,} results failed and are missing: see the failures below." if n else ""


def _few_seeds(rows: list[Row]) -> str:
    few = sum(0 < row["n_seeds"] < _FEW_SEEDS for row in rows if row["n_seeds"] is not None)
    if not few:
        return ""
    return (
        f"{few} of {len(rows)} curves rest on fewer than {_FEW_SEEDS} seeds: their intervals are missing or very wide."
    )


def _never(rows: list[Row]) -> str:
    unknown = sum(row["censored"] and row["bracket_high"] is None for row in rows)
    if not unknown:
        return ""
    return (
        f"{unknown} of {len(rows)} curves have no whole layer to compare with (k = d was not measured, or is 0): no DR."
    )


def _undefined(rows: list[Row]) -> str:
    touched = [row for row in rows if row["n_undefined"]]
    if not touched:
        return ""
    n = sum(row["n_undefined"] for row in touched)
    return (
        f"{n} sizes of {len(touched)} curves are left out because a value is undefined: a probe diverged, for example."
    )


def _coarse(rows: list[Row]) -> str:
    widths = [row["bracket_high"] - row["bracket_low"] for row in rows if row["dr"] is not None]
    coarse = [width for width in widths if width > _COARSE]
    if not coarse:
        return ""
    return (
        f"The measured sizes are coarse: in {len(coarse)} of {len(rows)} curves they leave DR open by more than "
        f"{_COARSE:g}, at most by {max(coarse):.2f}. A study with “refine” narrows this."
    )


def _rules(report: ReportInput) -> str:
    """Say how far the rule of the paper's Table 1 is from Eq. 1."""
    names = (
        "model",
        "layer",
        "dataset",
        "measure",
        "solver",
        "protocol",
        "method",
        "delta",
        "train_id",
        "test_id",
        "width",
    )
    strict: dict[tuple[Any, ...], float] = {}
    nearest: dict[tuple[Any, ...], float] = {}
    for row in report.redundancy.select([*names, "rule", "dr"]).to_pylist():
        if row["dr"] is not None and row["rule"] in ("strict", "nearest"):
            (strict if row["rule"] == "strict" else nearest)[tuple(row[name] for name in names)] = row["dr"]
    shared = strict.keys() & nearest.keys()
    apart = [abs(strict[key] - nearest[key]) for key in shared if abs(strict[key] - nearest[key]) > 1e-9]
    if not apart:
        return ""
    return (
        f"The rule of the paper's Table 1 (nearest) and Eq. 1 (strict) differ in {len(apart)} of {len(shared)} "
        f"entries, by up to {max(apart):.2f}: the table below has both."
    )


def _apart(report: ReportInput) -> str:
    """Say what is kept apart though it has one name."""
    pairs: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    protocols = set()
    names = ("model", "layer", "dataset", "measure", "solver", "protocol", "method")
    for row in report.redundancy.select([*names, "train_id", "test_id"]).to_pylist():
        pairs.setdefault(tuple(row[name] for name in names), set()).add((row["train_id"], row["test_id"]))
        if row["measure"] == "accuracy":
            protocols.add((row["solver"], row["protocol"]))
    texts = []
    if len(protocols) > 1:
        listed = ", ".join(sorted(" ".join(filter(None, pair)) for pair in protocols))
        texts.append(f"Probes of {len(protocols)} protocols are there ({listed}); they are kept apart, never averaged.")
    doubled = sum(len(ids) > 1 for ids in pairs.values())
    if doubled:
        texts.append(
            f"{doubled} names stand for several representations (other weights, transform or data): each is a curve of "
            "its own."
        )
    return " ".join(texts)
