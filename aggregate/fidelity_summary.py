"""The fidelity table in a few numbers, ready to be shown. Pure (no I/O)."""

import json
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from aggregate.errors import InvalidTable
from aggregate.fidelity import FIDELITY_SCHEMA, NOTES
from aggregate.published import Claim, paper_claims

SAME: Final = 0.005
"""DR is printed to two decimals: what is closer is the same number."""

TITLES: Final = {
    "table1": "Table 1: DR at delta 0.9",
    "imagenet": "Top-1 on ImageNet",
    "redundancy": "DR at delta 0.9 of other networks, methods and data sets",
    "accuracy": "Accuracies of probes",
    "spread": "Standard deviations over seeds",
    "read_off": "Accuracies that are known about only",
    "cka_part_whole": "CKA of a part with the whole layer",
    "cka_pair": "CKA of two parts",
}
"""Values of the column `table`, in the order of a report."""

_NUMBER: Final = ("table", "model", "dataset", "method", "n_neurons", "fraction", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFidelity:
    """What became of the numbers of one table."""

    name: str
    """Value of the column `table`."""
    title: str
    """In words."""
    n_numbers: int
    """Numbers that are carried, printed or only drawn as a curve."""
    n_recomputed: int
    """Those that the authors' accuracies give again, here or once before."""
    n_here: int
    """Those of them whose accuracies are carried, so that the computation is made here."""
    n_as_printed: int | None
    """Printed ones that the authors' rule gives exactly, to the printed decimals; None where nothing is recomputed."""
    n_printed: int
    """Printed ones among those that are recomputed."""
    n_same_by_strict: int | None
    """Those that Eq. 1 leaves as the authors' rule has them; None where nothing is recomputed."""
    n_measured: int
    """Numbers that the store measured itself."""
    n_cells: int
    """Its values for them: a number has one for each solver, protocol and representation."""
    mean_difference: float | None
    """Mean absolute difference of those values; None where there is none."""
    largest: dict[str, Any] | None
    """Row of the largest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelitySummary:
    """What a reader wants to know first."""

    tables: tuple[TableFidelity, ...]
    """One for each table that has numbers, in the order of `TITLES`."""
    claims: tuple[Claim, ...]
    """Sentences of the paper, checked on the authors' numbers."""
    notes: tuple[str, ...]
    """What of the store was left out, and why."""

    @property
    def n_numbers(self) -> int:
        """Numbers that are carried."""
        return sum(table.n_numbers for table in self.tables)

    @property
    def n_measured(self) -> int:
        """Numbers that the store measured itself."""
        return sum(table.n_measured for table in self.tables)

    @property
    def verdicts(self) -> dict[str, int]:
        """Sentences by verdict."""
        found = [claim.verdict for claim in self.claims]
        return {verdict: found.count(verdict) for verdict in _VERDICTS if verdict in found}

    @property
    def sentences(self) -> tuple[str, ...]:
        """Say it in words, the most important first."""
        lines = []
        for table in self.tables:
            if table.name == "table1" and table.n_as_printed is not None and table.n_same_by_strict is not None:
                lines.append(
                    f"Table 1: the authors' rule gives {table.n_as_printed} of {table.n_printed} entries as printed "
                    f"({table.n_here} computed here, the others once, from a notebook); by Eq. 1 "
                    f"{table.n_recomputed - table.n_same_by_strict} of them are other numbers."
                )
        verdicts = self.verdicts
        said = ", ".join(f"{count} {_VERDICTS[verdict]}" for verdict, count in verdicts.items())
        lines.append(f"Of {len(self.claims)} sentences of the paper, checked on its authors' own numbers: {said}.")
        if self.n_measured:
            shown = [t for t in self.tables if t.mean_difference is not None]
            parts = "; ".join(f"{t.title}: {t.mean_difference:.3f} on average" for t in shown)
            lines.append(f"This store measured {self.n_measured} of {self.n_numbers} numbers. Differences: {parts}.")
        else:
            lines.append(f"None of the {self.n_numbers} numbers was measured here.")
        return tuple(lines)


_VERDICTS: Final = {
    "holds": "hold",
    "partly": "hold partly",
    "does not hold": "do not hold",
    "can't be decided": "can't be decided",
}


def fidelity_summary(table: pa.Table) -> FidelitySummary:
    """Count what a fidelity table says.

    Parameters
    ----------
    table
        As `aggregate.fidelity` returns it.

    Raises
    ------
    InvalidTable
        If a column is missing.
    """
    missing = sorted(set(FIDELITY_SCHEMA.names) - set(table.column_names))
    if missing:
        raise InvalidTable(f"a summary needs the whole table of `fidelity`; missing: {', '.join(missing)}")
    rows = table.to_pylist()
    groups = {name: [row for row in rows if row["table"] == name] for name in TITLES}
    metadata = table.schema.metadata or {}
    return FidelitySummary(
        tables=tuple(_summary(name, group) for name, group in groups.items() if group),
        claims=paper_claims(),
        notes=tuple(json.loads(metadata.get(NOTES, b"[]"))),
    )


def _summary(name: str, rows: list[dict[str, Any]]) -> TableFidelity:
    numbers = {tuple(row[key] for key in _NUMBER): row for row in rows}
    again = [row for row in numbers.values() if row["nearest"] is not None]
    printed = [row for row in again if row["published"] is not None]
    ours = [row for row in rows if row["difference"] is not None]
    sizes = [abs(row["difference"]) for row in ours]
    return TableFidelity(
        name=name,
        title=TITLES[name],
        n_numbers=len(numbers),
        n_recomputed=len(again),
        n_here=sum(row["recomputed_from"] == "accuracies" for row in again),
        n_as_printed=sum(_same(row["nearest"], row["published"]) for row in printed) if again else None,
        n_printed=len(printed),
        n_same_by_strict=sum(_same(row["nearest"], row["strict"]) for row in again) if again else None,
        n_measured=len({tuple(row[key] for key in _NUMBER) for row in ours}),
        n_cells=len(ours),
        mean_difference=sum(sizes) / len(sizes) if sizes else None,
        largest=max(ours, key=lambda row: abs(row["difference"])) if ours else None,
    )


def _same(first: float | None, second: float | None) -> bool:
    return first is not None and second is not None and abs(first - second) < SAME
