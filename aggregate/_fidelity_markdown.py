"""The fidelity table as Markdown: a summary, the sentences, then the numbers, curves one line each. Pure (no I/O)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from aggregate._labels import shorten
from aggregate._text_table import TextTable, write_text_table
from aggregate.fidelity_summary import TITLES, FidelitySummary
from aggregate.published import deviations, sources

Row: TypeAlias = dict[str, Any]

_BY_NEURONS: Final = ("cka_part_whole",)
"""Tables whose sizes were chosen as numbers of neurons."""
_CURVE: Final = ("model", "dataset", "method", "source")
_CELL: Final = ("our_model", "our_method", "solver", "protocol", "train_id", "test_id")
_LEGEND: Final = (
    "Nearest: the authors' rule on their accuracies; Eq. 1 and interpolated: on the same accuracies.",
    "*: computed once, from a notebook whose accuracies are not carried.",
)
_OURS: Final = (
    "Ours: by the rule nearest on the authors' sizes, and by Eq. 1 on all measured sizes.",
    "Difference: ours by nearest less what is printed (less nearest where nothing is).",
    "A cell is named by its solver, protocol and the beginning of its test representation's id; csv and json have all.",
)


def markdown(summary: FidelitySummary, rows: list[Row], *, with_claims: bool, only: str | None) -> str:
    """Write the summary, the sentences and the rows."""
    blocks = ["# Fidelity: the paper's numbers", *(_lines(summary.sentences) if only is None else [])]
    if only is None:
        blocks += [_overview(summary)]
    if summary.notes and rows:
        blocks += [_lines(summary.notes)[0]]
    if with_claims:
        blocks += ["## Sentences of the paper, by its authors' own numbers", _claims(summary)]
    for name, title in TITLES.items():
        mine = [row for row in rows if row["table"] == name]
        if mine:
            blocks += [f"## {title}", *(_dr(mine) if name in ("table1", "redundancy") else _curves(mine))]
    named = {d for row in rows for d in row["deviations"]}
    if with_claims:
        named |= {d for claim in summary.claims for d in claim.deviations}
    blocks += [
        "## Deviations that are named",
        _table(["", "about", "the paper", "code or notebooks"], _deviations(named)),
    ]
    used = list(dict.fromkeys(row["source"] for row in rows))
    if used:
        blocks += ["## Sources", *_lines([f"{sources()[key].what}: {sources()[key].place}" for key in used])]
    return "\n\n".join(blocks) + "\n"


def _lines(sentences: Iterable[str]) -> list[str]:
    return ["\n".join(f"- {_escape(sentence)}" for sentence in sentences)]


def _overview(summary: FidelitySummary) -> str:
    heads = ["numbers", "carried", "recomputed", "as printed", "Eq. 1 the same", "ours", "mean difference", "largest"]
    body = []
    for entry in summary.tables:
        again = entry.n_as_printed is not None
        body.append(
            [
                entry.title,
                str(entry.n_numbers),
                f"{entry.n_recomputed} ({entry.n_here} here)" if again else "",
                f"{entry.n_as_printed} of {entry.n_printed}" if again and entry.n_printed else "",
                f"{entry.n_same_by_strict} of {entry.n_recomputed}" if again else "",
                str(entry.n_measured or ""),
                _signed(entry.mean_difference, sign=False),
                "" if entry.largest is None else f"{_signed(entry.largest['difference'])} ({_name(entry.largest)})",
            ]
        )
    return _table(heads, body)


def _name(row: Row) -> str:
    size = "" if row["n_neurons"] is None else f", {row['n_neurons']} neurons"
    return f"{row['model']}, {row['dataset']}{size}, {row['solver'] or row['protocol'] or 'biased'}"


def _claims(summary: FidelitySummary) -> str:
    heads = ["sentence", "where", "read as", "verdict", "parts", "numbers", "deviations"]
    body = [
        [c.sentence, c.where, c.reading, c.verdict, c.counts, c.evidence, " ".join(c.deviations)]
        for c in summary.claims
    ]
    return _table(heads, body)


def _deviations(named: set[str]) -> list[list[str]]:
    return [[d.id, d.title, d.paper, d.released] for d in deviations() if d.id in named]


def _dr(rows: list[Row]) -> Iterator[str]:
    measured = any(row["our_model"] for row in rows)
    printed = any(row["published"] is not None for row in rows)
    short = shorten(row["test_id"] for row in rows)
    heads = ["model", "data set", "method", *(["printed"] if printed else []), "nearest", "Eq. 1", "interpolated"]
    heads += ["ours, nearest", "ours, Eq. 1", "difference", "measured by"] if measured else []
    body = []
    for row in rows:
        star = "*" if row["recomputed_from"] == "notebooks" else ""
        cells = [row["model"], row["dataset"], row["method"], *([_number(row["published"], 3)] if printed else [])]
        cells += [f"{_number(row['nearest'], 3)}{star}", f"{_number(row['strict'], 3)}{star}"]
        cells += [_number(row["interpolated"], 2) + (star if row["interpolated"] is not None else "")]
        if measured:
            cells += [_number(row["ours"], 3), _number(row["ours_strict"], 3), _signed(row["difference"])]
            cells += [_who(row, short) if row["our_model"] else ""]
        body.append([*cells, " ".join(row["deviations"])])
    yield _table([*heads, "deviations"], body, *(_LEGEND + (_OURS if measured else ())))


def _who(row: Row, short: dict[str | None, str]) -> str:
    names = [row["our_model"], row["solver"], row["protocol"]]
    return ", ".join(filter(None, [*names, f"test {short[row['test_id']]}", f"{row['n_seeds']} seeds"]))


def _curves(rows: list[Row]) -> Iterator[str]:
    """One line for each curve of the authors, and beneath it one for each of ours."""
    short = shorten(row["test_id"] for row in rows)
    body = []
    for place, group in _grouped(rows, _CURVE):
        numbers = list({row["n_neurons"]: row for row in group}.values())
        touched = sorted({d for row in numbers for d in row["deviations"]}, key=lambda d: int(d[1:]))
        model, dataset, method, _ = place
        body.append([model, dataset, method, "printed", " · ".join(map(_point, numbers)), " ".join(touched)])
        for cell, mine in _grouped([row for row in group if row["our_model"]], _CELL):
            values = [f"{_at(row)} {row['ours']:.3f} ({_signed(row['difference'])})" for row in mine]
            who = [*filter(None, cell[:-2]), f"test {short[cell[-1]]}"]
            body.append(["", "", "", f"ours: {', '.join(who)}", " · ".join(values), ""])
    size = "neurons" if rows[0]["table"] in _BY_NEURONS else "fraction"
    heads = ["model", "data set", "method", "whose", f"{size}: value (ours: and difference)", "deviations"]
    yield _table(heads, body)


def _grouped(rows: list[Row], names: tuple[str, ...]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    yield from groups.items()


def _point(row: Row) -> str:
    sign = {"about": "≈ ", "below": "< "}.get(row["precision"], "")
    digits = 4 if row["source"] in ("cifar", "spread", "paper", "imagenet-top1") else 3
    return f"{_at(row)} {sign}{row['published']:.{digits}f}"


def _at(row: Row) -> str:
    if row["fraction"] is None:
        return ""
    return f"{row['n_neurons']}:" if row["table"] in _BY_NEURONS else f"{row['fraction']:g}:"


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text[:-1] if digits > 2 and text.endswith("0") else text


def _signed(value: float | None, *, sign: bool = True) -> str:
    if value is None:
        return ""
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def _table(heads: Sequence[str], body: Iterable[Sequence[str]], *notes: str) -> str:
    rows = tuple(tuple(cells) for cells in body)
    return write_text_table(TextTable(leads=tuple(heads), columns=(), rows=rows, notes=notes), "md").rstrip("\n")


def _escape(text: str) -> str:
    """Keep a name from being read as Markdown."""
    text = text.replace("\\", "\\\\").replace("\n", " ")
    for sign in "|*`<[_":
        text = text.replace(sign, "\\" + sign)
    return text
