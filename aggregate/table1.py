"""Table 1 of the paper: width, ImageNet accuracy and DR of six networks on four data sets; or of one's own. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pyarrow as pa

from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._redundancy import REDUNDANCY_SCHEMA, Rule, redundancy
from aggregate._table1_cast import Cast, Network, nothing_there, own_cast, paper_cast
from aggregate._table_notes import (
    AMBIGUOUS,
    RULE_MEANINGS,
    constant_notes,
    quantisation_notes,
    sign_notes,
    undefined_notes,
    whole_notes,
)
from aggregate._text_table import Column, Format, TextTable, check_format, csv_text, write_text_table
from aggregate._whole import method_rank
from aggregate.errors import InvalidOption

Models: TypeAlias = Literal["paper", "all"]

TABLE1_SCHEMA: Final = pa.schema(
    [
        ("network", pa.string()),
        ("imagenet_top1_percent", pa.float64()),
        ("target", pa.string()),
        *(field for field in REDUNDANCY_SCHEMA if field.name != "measure"),
    ]
)
"""`network` and `target` are the paper's names, or the store's own; the rest as in the view `redundancy`."""


class _Line(NamedTuple):
    """What the first columns of a row say; sorts the rows."""

    rank: int
    """Place of the network."""
    layer: str
    """Name of the layer, empty where the network has one."""
    identity: str
    """First characters of the ids, where one name has several."""
    width: int
    """Neurons in the layer."""
    label: str
    """Name of the network."""
    top1: str
    """Accuracy on ImageNet, if the paper has it."""


def table1(
    probes: pa.Table,
    fmt: Format,
    *,
    delta: float = 0.9,
    rules: Sequence[Rule] = ("nearest",),
    models: Models = "paper",
    roles: Mapping[str, str] | None = None,
) -> str:
    """Write Table 1 of the paper from a store's results.

    A row is a network (and a layer, where several were measured), a column a data set; where there are several solvers
    or protocols each has columns of its own, and several ids under one name have a row each. Of several methods, the
    first of `random`, `first`, `ranked`, `random_independent`, PCA and projections is taken. The default rule is the
    one that the paper's numbers are made by; Eq. 1 is `strict`.

    Parameters
    ----------
    probes
        View `probes`.
    fmt
        `csv` (`TABLE1_SCHEMA`, every number in full), `md` or `tex` (needs the LaTeX packages booktabs and inputenc
        utf8).
    delta
        Level of the ratio, in [0, 1].
    rules
        Among `strict`, `nearest`, `interpolated`; several stand side by side.
    models
        `paper`: its six networks and four data sets, in its order, under its names; what the store lacks stays empty,
        and a note names it. `all`: the store's own, ImageNet accuracies where the paper has them.
    roles
        Name of a network or data set in the authors' accuracies (`resnet50`, `cifar10`) to a name in the store, which
        is otherwise found by that name or the zoo's.

    Raises
    ------
    InvalidOption
        If an option or a role is unknown, or the store has nothing of the paper's cast.
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    check_format(fmt)
    if models not in ("paper", "all"):
        raise InvalidOption(f"models must be `paper` or `all`, got {models!r}")
    if not rules:
        raise InvalidOption("Table 1 has one rule at least, got none: `nearest` is the paper's, `strict` is Eq. 1")
    known = redundancy(probes, None, deltas=[delta], rules=rules).to_pylist()
    here = list(dict.fromkeys(str(row["model"]) for row in known))
    sets = list(dict.fromkeys(str(row["dataset"]) for row in known))
    cast = paper_cast(here, sets, roles or {}) if models == "paper" else own_cast(here, sets)
    rows = [row for row in known if row["model"] in cast.models and row["dataset"] in cast.datasets]
    if models == "paper" and not rows:
        raise InvalidOption(nothing_there(here, sets))
    methods = sorted({str(row["method"]) for row in rows}, key=method_rank)
    rows = [row for row in rows if str(row["method"]) == methods[0]] if methods else []
    if fmt == "csv":
        named = sorted((_named(row, cast) for row in rows), key=lambda row: cast.models[row["model"]].rank)
        return csv_text(pa.Table.from_pylist(named, schema=TABLE1_SCHEMA))
    return write_text_table(_layout(rows, cast, rules=tuple(dict.fromkeys(rules)), delta=delta), fmt)


def _named(row: Mapping[str, Any], cast: Cast) -> dict[str, Any]:
    network = cast.models[row["model"]]
    return {
        **{name: row[name] for name in TABLE1_SCHEMA.names if name in row},
        "network": network.label,
        "imagenet_top1_percent": network.published.imagenet_top1 if network.published else None,
        "target": cast.datasets[row["dataset"]],
    }


def _layout(rows: list[dict[str, Any]], cast: Cast, *, rules: tuple[Rule, ...], delta: float) -> TextTable:
    variants = varying(rows, ("solver", "protocol"))
    kinds = sorted({_kind(row, variants) for row in rows}) or [""]
    columns = [(head, kind, rule) for head in cast.datasets.values() for kind in kinds for rule in rules]
    short = shorten(identity for row in rows for identity in id_pair(row))
    rivals: dict[tuple[Any, ...], set[IdPair]] = defaultdict(set)
    layers: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for row in rows:
        rivals[_place(row)].add(id_pair(row))
        layers[row["model"]].add((str(row["layer"]), row["width"]))
    lines: dict[_Line, dict[tuple[str, str, Rule], str]] = defaultdict(dict)
    for row in rows:
        network = cast.models[row["model"]]
        line = _Line(
            rank=network.rank,
            layer=str(row["layer"]) if len(layers[row["model"]]) > 1 else "",
            identity=id_label(id_pair(row), rivals[_place(row)], short),
            width=row["width"],
            label=network.label,
            top1=_top1(network),
        )
        lines[line][cast.datasets[row["dataset"]], _kind(row, variants), row["rule"]] = _cell(row)
    for network in cast.absent:
        width = network.published.width if network.published else 0
        lines[_Line(network.rank, "", "", width, network.label, _top1(network))] = {}
    ambiguous = any(len(pairs) > 1 for pairs in rivals.values())
    return TextTable(
        leads=("model", "width d", "ImageNet-1k top-1"),
        columns=tuple(_column(*column, rules=rules, delta=delta) for column in columns),
        rows=tuple(
            (
                ", ".join(filter(None, [line.label, line.layer, line.identity])),
                str(line.width),
                line.top1,
                *(lines[line].get(column, "") for column in columns),
            )
            for line in sorted(lines)
        ),
        notes=tuple(
            _notes(
                rows, rules=rules, variants=variants, lines=lines, missing=_missing(lines, columns), ambiguous=ambiguous
            )
        ),
    )


def _column(head: str, kind: str, rule: Rule, *, rules: tuple[Rule, ...], delta: float) -> Column:
    name = " ".join(filter(None, [head, kind]))
    return Column(group=name, head=rule) if rules[1:] else Column(group=f"DR for δ = {delta:g}", head=name)


def _missing(
    lines: Mapping[_Line, Mapping[tuple[str, str, Rule], str]], columns: Sequence[tuple[str, str, Rule]]
) -> list[str]:
    """Name what has no cell: data sets that no row has, then networks and the data sets that they lack."""
    heads = list(dict.fromkeys(column[0] for column in columns))
    gaps = {line: [h for h in heads if not any(column[0] == h for column in lines[line])] for line in sorted(lines)}
    nowhere = [head for head in heads if all(head in found for found in gaps.values())]
    some = {line: [head for head in found if head not in nowhere] for line, found in gaps.items()}
    return [*nowhere, *(f"{line.label} on {', '.join(found)}" for line, found in some.items() if found)]


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "layer", "width", "dataset", "solver", "protocol"))


def _kind(row: Mapping[str, Any], variants: tuple[str, ...]) -> str:
    return "/".join(str(row[name]) for name in variants)


def _top1(network: Network) -> str:
    percent = network.published.imagenet_top1 if network.published else None
    return "" if percent is None else f"{percent:.2f} %"


def _cell(row: Mapping[str, Any]) -> str:
    if row["dr"] is not None:
        return f"{row['dr']:.2f}"
    if row["bracket_high"] is None:
        return "—"
    return "never" if row["bracket_high"] == 0 else f"< {row['bracket_high']:.2f}"


def _notes(
    rows: list[dict[str, Any]],
    *,
    rules: tuple[Rule, ...],
    variants: tuple[str, ...],
    lines: Collection[_Line],
    missing: list[str],
    ambiguous: bool,
) -> list[str]:
    notes = [f"DR ({rule}): {RULE_MEANINGS[rule]}." for rule in rules]
    if "nearest" in rules:
        notes.append("The paper's Table 1 has the nearest rule, on its own coarse grid.")
    notes += quantisation_notes(rows)
    if any(line.top1 for line in lines):
        notes.append("ImageNet-1k top-1: as the paper and its notebooks print it, not measured here.")
    if missing:
        notes.append(f"Not measured: {'; '.join(missing)}.")
    seeds = sorted({row["n_seeds"] for row in rows if row["n_seeds"]})
    if seeds:
        notes.append(f"Seeds: {seeds[0]}" + (f" to {seeds[-1]}." if seeds[1:] else "."))
    notes += [*sign_notes(rows), *whole_notes(rows), *undefined_notes(rows), *constant_notes(rows, variants)]
    return [*notes, *([AMBIGUOUS] if ambiguous else [])]
