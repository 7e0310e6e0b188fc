"""The main findings in words, chosen by rules from what was measured: never more than the numbers say. Pure (no I/O).

One method, one protocol and one threshold are spoken of (random subsets and 0.9 where they are there), by Eq. 1 (the
rule `strict`).
What weakens a finding (few seeds, coarse grids, curves that never reach the threshold) follows as a caution.
"""

from collections import Counter
from statistics import median
from typing import Any

import pyarrow as pa

from aggregate._runs import Measure
from aggregate._whole import method_rank
from aggregate.report._cautions import cautions
from aggregate.report._content import Finding, ReportInput
from aggregate.report._kept import Kept, kept_at

MAIN_DELTA = 0.9
_HALF, _FEW, _TENTH = 0.5, 0.2, 0.1
_WORDS = {"accuracy": "accuracy", "cka": "CKA with the whole layer", "cka_pair": "CKA of two parts"}

Row = dict[str, Any]


def findings(report: ReportInput) -> tuple[Finding, ...]:
    """Say what the results show, the main finding first and cautions last.

    Where nothing was measured, the only finding says so.
    """
    probes, cka = _rows(report.probes), _rows(report.cka)
    if probes is None and cka is None:
        failed = sum(failure.n_jobs for failure in report.failures)
        also = f" {failed:,} results failed: see below." if failed else ""
        return (Finding(text=f"Nothing has been measured yet.{also}", about="main"),)
    found: list[Finding] = []
    measure: Measure = "cka" if probes is None else "accuracy"
    table = cka if probes is None else probes
    half = _of_first_method(kept_at(table, _HALF, measure=measure))
    if half:
        found.append(Finding(text=_half(half, measure), about="main"))
    rows = spoken_of(report.redundancy)
    if rows:
        found += [Finding(text=text, about="redundancy") for text in _range_of(rows)]
    if cka is not None:
        tenth = _of_first_method(kept_at(cka, _TENTH, measure="cka"))
        if tenth:
            found.append(Finding(text=_similarity(tenth), about="cka"))
    if probes is not None:
        found += [Finding(text=text, about="methods") for text in _methods(kept_at(probes, _FEW, measure="accuracy"))]
    if not found:
        n = sum(table.num_rows for table in (probes, cka) if table is not None)
        found.append(Finding(text=f"{n:,} results are there, but no curve that a finding could rest on.", about="main"))
    elif found[0].about != "main":
        found[0] = Finding(text=found[0].text, about="main")
    return (*found, *cautions(report, rows))


def spoken_of(redundancy: pa.Table) -> list[Row]:
    """Return the rows that findings are about: strict, one threshold, one measure, one method."""
    rows = [row for row in redundancy.to_pylist() if row["rule"] == "strict"]
    for column, best in (
        ("measure", lambda value: list(_WORDS).index(value)),
        ("delta", lambda value: abs(value - MAIN_DELTA)),
        ("method", lambda value: method_rank(str(value))),
    ):
        if rows:
            chosen = min({row[column] for row in rows}, key=best)
            rows = [row for row in rows if row[column] == chosen]
    main = _most_common([(row["solver"], row["protocol"]) for row in rows])
    return [row for row in rows if (row["solver"], row["protocol"]) == main]


def _rows(table: pa.Table | None) -> pa.Table | None:
    return table if table is not None and table.num_rows else None


def _of_first_method(kept: list[Kept]) -> list[Kept]:
    if not kept:
        return []
    first = min({str(one.key.method) for one in kept}, key=method_rank)
    kept = [one for one in kept if str(one.key.method) == first]
    main = _most_common([(one.key.solver, one.key.protocol) for one in kept])
    return [one for one in kept if (one.key.solver, one.key.protocol) == main]


def _most_common(protocols: list[tuple[str | None, str | None]]) -> tuple[str | None, str | None] | None:
    """Return the protocol of most curves, of equals the first by name: findings never mix two."""
    counts = Counter(protocols)
    return min(counts, key=lambda pair: (-counts[pair], pair[0] or "", pair[1] or ""), default=None)


def _half(kept: list[Kept], measure: Measure) -> str:
    of_what = f"{_WORDS[measure]}" if measure == "accuracy" else "similarity (CKA)"
    subset = _subset(str(kept[0].key.method))
    if len(kept) == 1:
        one = kept[0]
        size = f"{one.n_neurons:,} of the {one.key.width:,}"
        return f"{subset} {size} neurons of {_layer(one.key)} keep {_percent(one)} of the whole layer's {of_what}."
    ratios = [one.ratio for one in kept]
    low, high = min(kept, key=lambda one: one.ratio), max(kept, key=lambda one: one.ratio)
    return (
        f"{subset} half of the neurons keeps {_share(median(ratios))} of the whole layer's {of_what}: the median of "
        f"{len(kept)} curves, from {_percent(low)} for {_layer(low.key)} to {_percent(high)} for {_layer(high.key)}."
    )


def _range_of(rows: list[Row]) -> list[str]:
    """Say between what DR lies, and whose it is least and most."""
    first = rows[0]
    how = ", ".join(filter(None, [first["method"], first["solver"], first["protocol"]]))
    head = f"At δ = {first['delta']:g}, by Eq. 1 on {_WORDS[first['measure']]} ({how})"
    known = sorted((row for row in rows if row["dr"] is not None), key=lambda row: (row["dr"], *_names(row)))
    censored = len(rows) - len(known)
    short = f" {censored} of {len(rows)} curves never reach it and have no DR." if censored else ""
    if not known:
        return [f"{head}, no curve reaches the threshold: DR is not known for any of {len(rows)} curves."]
    if len(known) == 1:
        return [f"{head}, the DR of {_where(known[0])} is {_dr(known[0])}.{short}"]
    least, most = known[0], known[-1]
    texts = []
    if least["dr"] == most["dr"]:
        texts.append(f"{head}, DR is {least['dr']:.2f} for each of {len(known)} curves.{short}")
    else:
        middle = median(row["dr"] for row in known)
        texts.append(
            f"{head}, DR lies between {_dr(least)} for {_where(least)} and {_dr(most)} for {_where(most)}; the median "
            f"of {len(known)} curves is {middle:.2f}.{_overlap(least, most)}{short}"
        )
    return [*texts, *_by_dataset(known)]


def _overlap(least: Row, most: Row) -> str:
    if least["ci_high"] is None or most["ci_low"] is None:
        return ""
    if least["ci_high"] < most["ci_low"]:
        return " The 95 % intervals of the least and the most redundant do not overlap."
    return " The 95 % intervals of the least and the most redundant overlap: their order may be chance."


def _by_dataset(known: list[Row]) -> list[str]:
    """Order the data sets, if the same curves were measured on each of them."""
    by_set: dict[str, dict[tuple[Any, ...], float]] = {}
    for row in known:
        curve = (row["model"], row["layer"], row["solver"], row["protocol"])
        by_set.setdefault(str(row["dataset"]), {})[curve] = row["dr"]
    shared = set.intersection(*(set(curves) for curves in by_set.values()))
    if len(by_set) < 2 or len(shared) < 2:
        return []
    medians = sorted(
        ((median(curves[curve] for curve in shared), name) for name, curves in by_set.items()), reverse=True
    )
    if medians[0][0] - medians[-1][0] < 0.01:
        return []
    listed = ", ".join(f"{name} {value:.2f}" for value, name in medians)
    return [f"Over the {len(shared)} curves measured on every data set, the median DR is: {listed}."]


def _similarity(kept: list[Kept]) -> str:
    subset = _subset(str(kept[0].key.method))
    if len(kept) == 1:
        return (
            f"{subset} tenth of the neurons of {_layer(kept[0].key)} has CKA {_number(kept[0])} with the whole layer."
        )
    low, high = min(kept, key=lambda one: one.value), max(kept, key=lambda one: one.value)
    middle = median(one.value for one in kept)
    return (
        f"{subset} tenth of the neurons has CKA {middle:.2f} with the whole layer: the median of {len(kept)} curves, "
        f"from {_number(low)} for {_layer(low.key)} to {_number(high)} for {_layer(high.key)}."
    )


def _methods(kept: list[Kept]) -> list[str]:
    """Compare every other method with the first, on the curves that both have, at a fifth of the dimensions."""
    by_method: dict[str, dict[tuple[Any, ...], Kept]] = {}
    for one in kept:
        by_method.setdefault(str(one.key.method), {})[one.key._replace(method=None)] = one
    names = sorted(by_method, key=method_rank)
    texts = []
    for name in names[1:]:
        shared = [curve for curve in by_method[names[0]] if curve in by_method[name]]
        if not shared:
            continue
        gains = [by_method[name][curve].value - by_method[names[0]][curve].value for curve in shared]
        better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        clear = sum(_apart(by_method[name][curve], by_method[names[0]][curve]) for curve in shared)
        difference = f"{median(gains):+.3f}"
        if len(gains) > 1:
            difference = f"{difference} in the median, from {min(gains):+.3f} to {max(gains):+.3f}"
        texts.append(
            f"At a fifth of the dimensions {name} is more accurate than {names[0]} in {better} of {len(shared)} curves "
            f"and less in {worse} (difference {difference}); "
            f"in {clear} of them the intervals over seeds are apart."
        )
    return texts


def _apart(one: Kept, other: Kept) -> bool:
    (low, high) = sorted((one, other), key=lambda kept: kept.ratio)
    return low.high < high.low  # False where an interval is not known


def _subset(method: str) -> str:
    return {"random": "A random", "first": "The first", "ranked": "The best-ranked"}.get(method, f"A {method}")


def _layer(key: Any) -> str:
    return f"{key.model} / {key.layer} on {key.dataset}"


def _where(row: Row) -> str:
    return f"{row['model']} / {row['layer']} on {row['dataset']}"


def _names(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("model", "layer", "dataset", "solver", "protocol"))


def _share(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _percent(one: Kept) -> str:
    if one.low != one.low:
        return f"{_share(one.ratio)} ({_seeds(one.n_seeds)}, no interval)"
    return f"{_share(one.ratio)} ({100 * one.low:.1f}–{100 * one.high:.1f})"


def _number(one: Kept) -> str:
    return f"{one.value:.2f}" if one.low != one.low else f"{one.value:.2f} ({one.low:.2f}–{one.high:.2f})"


def _dr(row: Row) -> str:
    interval = "no interval" if row["ci_low"] is None else f"{row['ci_low']:.2f}–{row['ci_high']:.2f}"
    return f"{row['dr']:.2f} ({interval})"


def _seeds(n: int) -> str:
    return "one seed" if n == 1 else f"{n} seeds"
