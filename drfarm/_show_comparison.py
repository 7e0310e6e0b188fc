"""How the command shows a comparison: lines for a terminal, Markdown, CSV and JSON. Pure."""

import io
import json

import aggregate
from drfarm._show import text_table
from drfarm.comparison import Comparison


def comparison_text(found: Comparison, output_format: str) -> str:
    """Write a comparison; ``csv`` and ``json`` have every column, ``table`` and ``md`` are for people."""
    if output_format == "json":
        return json.dumps({"rows": found.table.to_pylist(), "notes": found.notes}, indent=1) + "\n"
    if output_format == "csv":
        return _csv(found)
    shown = found.shown()
    if output_format == "md":
        return aggregate.write_text_table(shown, "md")
    header = [*shown.leads, *(column.head for column in shown.columns)]
    return "\n".join([text_table(header, shown.rows), "", *shown.notes]) + "\n"


def _csv(found: Comparison) -> str:
    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(found.table, sink, csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue().decode()
