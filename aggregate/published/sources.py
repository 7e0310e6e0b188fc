"""Where each published number stands."""

from dataclasses import dataclass
from functools import cache

from aggregate.published._files import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place that numbers were taken from."""

    key: str
    """What the column `source` of a table holds."""
    what: str
    """What the numbers are."""
    repository: str | None
    """Repository of the notebook or code; None for the paper itself."""
    commit: str | None
    """Its commit; None where the place is known and the commit is not."""
    file: str | None
    """Notebook, without its ending."""
    cells: str | None
    """Cells of the notebook."""

    @property
    def place(self) -> str:
        """Say where it stands, in one line."""
        parts = [self.repository or "the paper", self.commit and f"at {self.commit}", self.file]
        return " ".join(filter(None, [*parts, self.cells and f"cells {self.cells}"]))


@cache
def sources() -> dict[str, Source]:
    """Return every source by its key."""
    return {key: Source(key=key, **entry) for key, entry in read_json("sources.json").items()}
