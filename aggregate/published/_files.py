"""Reading the data files of this package."""

import json
from importlib.resources import files
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import csv


def read_csv(name: str, schema: pa.Schema) -> pa.Table:
    """Read a CSV file of this package; an empty field is null."""
    convert = csv.ConvertOptions(column_types=schema, include_columns=schema.names, strings_can_be_null=True)
    return csv.read_csv(BytesIO(files("aggregate.published").joinpath(name).read_bytes()), convert_options=convert)


def read_json(name: str) -> Any:
    """Read a JSON file of this package."""
    return json.loads(files("aggregate.published").joinpath(name).read_text(encoding="utf-8"))
