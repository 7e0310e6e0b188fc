"""Which sentences of the paper hold by the numbers that its authors printed: small checks, computed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, NamedTuple, TypeAlias

Verdict: TypeAlias = Literal["holds", "partly", "does not hold", "can't be decided"]


class Part(NamedTuple):
    """One comparison that a sentence comes down to."""

    what: str
    """What was compared, with its numbers."""
    held: bool | None
    """None where the numbers decide neither way: two values that are equal on the grid, or a missing control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence of the paper, and what the authors' numbers say of it."""

    id: str
    """A short name."""
    sentence: str
    """What the paper says, in its words or shortened."""
    where: str
    """Where it says so."""
    reading: str
    """What was checked: the sentence with its tolerance."""
    parts: tuple[Part, ...]
    """The comparisons."""
    note: str
    """What else the numbers say; empty if nothing."""
    deviations: tuple[str, ...]
    """Deviations that bear on it."""

    @property
    def verdict(self) -> Verdict:
        """Holds if every part that can be decided does; undecided parts stand aside."""
        decided = [part.held for part in self.parts if part.held is not None]
        if not decided:
            return "can't be decided"
        if all(decided):
            return "holds"
        return "partly" if any(decided) else "does not hold"

    @property
    def counts(self) -> str:
        """Say how many parts hold, and how many are undecided."""
        held = sum(part.held is True for part in self.parts)
        decided = sum(part.held is not None for part in self.parts)
        undecided = len(self.parts) - decided
        return f"{held} of {decided}" + (f", {undecided} undecided" if undecided else "")

    @property
    def evidence(self) -> str:
        """Say what decided it: all parts where they are few, else the first that do not hold; and the note."""
        if len(self.parts) <= _FEW:
            return "; ".join(filter(None, [*(part.what for part in self.parts), self.note]))
        against = [part.what for part in self.parts if part.held is False]
        more = len(against) - _FEW
        return "; ".join(filter(None, [*against[:_FEW], f"and {more} more" if more > 0 else "", self.note]))


_FEW: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A declared claim: what stands in the paper, and the computation."""

    id: str
    """A short name."""
    sentence: str
    """What the paper says."""
    where: str
    """Where it says so."""
    reading: str
    """What is checked."""
    deviations: tuple[str, ...]
    """Deviations that bear on it."""
    parts: Callable[[], tuple[list[Part], str]]
    """Computes the parts and a note from the published numbers."""


@cache
def paper_claims() -> tuple[Claim, ...]:
    """Check every declared sentence of the paper on the numbers that its authors printed.

    The verdicts are on those numbers, not on anything measured by drfarm.
    """
    from aggregate.published._claims_accuracy import CHECKS as ACCURACY
    from aggregate.published._claims_redundancy import CHECKS as REDUNDANCY
    from aggregate.published._claims_similarity import CHECKS as SIMILARITY

    claims = []
    for check in (*ACCURACY, *SIMILARITY, *REDUNDANCY):
        parts, note = check.parts()
        words = {name: getattr(check, name) for name in ("id", "sentence", "where", "reading", "deviations")}
        claims.append(Claim(**words, parts=tuple(parts), note=note))
    return tuple(claims)
