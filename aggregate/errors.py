"""What can go wrong in `aggregate`.

::

    store.errors.DrfarmError
      AggregateError                             everything this package raises on purpose
        InvalidTable      (+ InvalidRequest)     an input table lacks a column or holds an impossible value
        InvalidOption     (+ InvalidRequest)     a delta, rule, format or path that cannot be used
        ConflictingResults (+ ValueError)        one job, two clearly different results

`InvalidTable` and `InvalidOption` mean that the call must change; `ConflictingResults` that the results must.
All take positional arguments only, so that they survive pickling between processes.
"""

from store.errors import DrfarmError, InvalidRequest


class AggregateError(DrfarmError):
    """Root of the errors that `aggregate` raises."""


class InvalidTable(AggregateError, InvalidRequest):
    """An input table lacks a column, or holds a value that no measurement can give."""


class InvalidOption(AggregateError, InvalidRequest):
    """An option has a value outside what is allowed."""


class ConflictingResults(AggregateError, ValueError):
    """The same subset, under the same protocol and ids, has results too far apart to be one measurement."""
