"""Durations, sizes and names as people write them in cluster settings, and how many jobs a pool keeps. Pure."""

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from drfarm._study_part import Part

_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNITS_BYTES = {
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}


def seconds(value: Any) -> int:
    """Read a duration: ``3h30m``, ``90m``, or as Slurm writes it, ``04:00:00`` and ``1-12:00:00``.

    Raises
    ------
    ValueError
        If it has another form. A bare number is refused: to Slurm it is minutes, to others seconds.
    """
    remedy = "write it with units, such as 3h30m, or in quotes as '04:00:00' or '1-12:00:00'"
    if not isinstance(value, str):
        raise ValueError(f"a duration needs a unit: {remedy}")  # noqa: TRY004 - pydantic tells only these
    text = value.strip()
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]?\d):([0-5]?\d)", text)
    if clock is not None:
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + rest
    parts = re.findall(r"(\d+)([dhms])", text)
    if not parts or "".join(n + unit for n, unit in parts) != text.replace(" ", ""):
        raise ValueError(f"this is no duration: {remedy}")
    return sum(int(n) * _UNITS_S[unit] for n, unit in parts)


def clock(n_seconds: int) -> str:
    """Return a duration as Slurm writes it: ``D-HH:MM:SS``."""
    minutes, rest = divmod(n_seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}"


def n_bytes(value: Any) -> int:
    """Read a size: ``64GiB``, ``500 MB``.

    Raises
    ------
    ValueError
        If it has another form. A bare number is refused: to Slurm it is MiB, to others bytes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS_BYTES:
        raise ValueError(f"a size is a number and a unit ({', '.join(_UNITS_BYTES)}), such as 64GiB")
    return int(float(match[1]) * _UNITS_BYTES[match[2]])


Seconds = Annotated[int, BeforeValidator(seconds), Field(gt=0)]
"""A duration."""
Bytes = Annotated[int, BeforeValidator(n_bytes), Field(gt=0)]
"""A size."""
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,:@/=+-]*$", max_length=253)]
"""A name that goes into a script as it is."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00\r\n]+$", max_length=2000)]
"""One line."""
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class Adaptive(Part):
    """How many jobs a pool has that follows the work."""

    minimum: int = Field(default=0, ge=0)
    """So many always."""
    maximum: int = Field(ge=1)
    """So many at most."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum ({self.minimum}) is more than maximum ({self.maximum})")
        return self


class Scaled(Part):
    """What every pool says: how many jobs (pods, on Kubernetes) it keeps."""

    n_jobs: int | None = Field(default=None, ge=1)
    """So many, always."""
    adaptive: Adaptive | None = None
    """Instead of ``n_jobs``: more while tasks wait, fewer when none does."""

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if (self.n_jobs is None) == (self.adaptive is None):
            raise ValueError("give n_jobs, or adaptive: {minimum: 0, maximum: 8}; exactly one of them")
        return self

    @property
    def fewest(self) -> int:
        """Jobs that it keeps when there is little to do; one at least, as a pool only runs while there is work."""
        return self.n_jobs or max(1, self.adaptive.minimum if self.adaptive else 1)

    @property
    def most(self) -> int:
        """Jobs that it keeps at most."""
        return self.n_jobs or (self.adaptive.maximum if self.adaptive else 1)
