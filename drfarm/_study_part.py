"""What every part of a study file has in common: no unknown keys, no change after it is read."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A mapping in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)
