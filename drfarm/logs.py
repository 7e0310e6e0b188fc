"""Logs as lines of JSON on stderr, and what may never stand in one. The driver, its workers and the scheduler share it.

The form is chosen once for a command, and its processes inherit it through the environment.
"""

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, get_args

from store import JSON, UnknownName

LogFormat = Literal["text", "json"]
FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
VARIABLE = "DRFARM_LOG_FORMAT"
"""The environment variable through which worker processes know the form."""
FIELDS = ("time", "level", "event", "study", "stage", "batch", "worker", "message")
"""What every line has, in this order; null where it does not apply. A line may have more behind them."""

_HIDDEN = "***"
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_SHORTEST = 6
"""A shorter value of such a variable is no secret, and may be a part of any word."""
_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_PARAMETER = re.compile(
    r"(?i)\b([\w-]*(?:secret|password|passwd|token|signature|credential|access_key(?:_id)?)[\w-]*\s*=\s*)[^&\s,;'\"]+"
)


def choose_format(name: str) -> None:
    """Choose the form of the logs, for this process and those that it starts.

    Raises
    ------
    UnknownName
        If there is no such form.
    """
    if name not in FORMATS:
        raise UnknownName.among("log format", name, FORMATS)
    os.environ[VARIABLE] = name


def chosen_format() -> str:
    """Return the form that was chosen; ``text`` where none was."""
    return os.environ.get(VARIABLE, "text")


@contextlib.contextmanager
def choice_kept() -> Iterator[None]:
    """Give back afterwards the form that held before: a command's choice is for it alone."""
    given = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        if given is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = given


def without_secrets(text: str) -> str:
    """Return a text without credentials: of an address, of a parameter, or of this process's environment."""
    for name in _SECRET_VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST:
            text = text.replace(value, _HIDDEN)
    if "://" in text:
        text = _USERINFO.sub(f"{_HIDDEN}@", text)
    return _PARAMETER.sub(rf"\g<1>{_HIDDEN}", text) if "=" in text else text


def line(
    event: str,
    message: str,
    *,
    level: str = "info",
    study: str | None = None,
    stage: str | None = None,
    batch: str | None = None,
    worker: str | None = None,
    **more: JSON,
) -> str:
    """Return one event of this moment as a line of JSON: `FIELDS`, then what else is given, then a line feed."""
    values = (level, event, study, stage, batch, worker, message)
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {**dict(zip(FIELDS, (time, *values), strict=True)), **more}
    return json.dumps({name: _told(value) for name, value in record.items()}, ensure_ascii=False) + "\n"


def _told(value: JSON) -> JSON:
    """Return a value as it may stand in a line: without secrets, and null for what JSON has no number for."""
    match value:
        case str():
            return without_secrets(value)
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [_told(v) for v in value]
        case dict():
            return {k: _told(v) for k, v in value.items()}
    return value


def write_line(
    event: str,
    message: str,
    *,
    level: str = "info",
    study: str | None = None,
    stage: str | None = None,
    batch: str | None = None,
    worker: str | None = None,
    **more: JSON,
) -> None:
    """Write one event to stderr, in one piece: lines of several processes do not mix."""
    text = line(event, message, level=level, study=study, stage=stage, batch=batch, worker=worker, **more)
    sys.stderr.write(text)
    sys.stderr.flush()
