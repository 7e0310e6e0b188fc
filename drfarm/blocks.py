"""Grouping subsets into tasks by what they cost. Pure (no I/O)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probe import SgdProtocol, Subset

TARGET_S = 10.0
"""A task is filled up to this many predicted seconds ..."""
MOST_S = 120.0
"""... and a neuron order that costs more than this is split by size."""

# Measured on one core of the machines in docs/performance.md: useful multiply-adds of stacked probes, and what a step
# costs whatever is in the stack (reading its rows, the softmax, forty calls).
_FLOP_PER_S = 55e9
_STEP_S = 6e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCost:
    """What decides the time of probes on one representation pair."""

    n_train: int
    """Training rows."""
    width: int
    """Neurons."""
    n_classes: int
    """Classes."""
    protocol: SgdProtocol
    """Budget."""

    def seconds(self, sizes: Iterable[int]) -> float:
        """Return the predicted time of one stack on one core, in seconds."""
        flop = 4.0 * self.n_train * self.n_classes * sum(sizes)
        steps = -(-self.n_train // self.protocol.batch_size)
        return self.protocol.epochs * (flop / _FLOP_PER_S + steps * _STEP_S)


def plan_blocks(subsets: Iterable[Subset], cost: ProbeCost) -> list[tuple[tuple[Subset, ...], float]]:
    """Group the subsets of one representation pair into blocks.

    Subsets of one (method, seed) nest and share matrix products, so they stay together unless they cost more than
    `MOST_S`; several such stacks share a block, and with it the reading of the representation, up to `TARGET_S`.

    Returns
    -------
    list of (tuple of Subset, float)
        Each subset once, with the block's predicted seconds; dearest first.
    """
    stacks: dict[tuple[str, int], list[Subset]] = {}
    for subset in sorted(subsets):
        stacks.setdefault((subset.method, subset.seed), []).append(subset)
    pieces = [piece for stack in stacks.values() for piece in _split(stack, cost)]
    blocks: list[tuple[tuple[Subset, ...], float]] = []
    block: list[Subset] = []
    block_s = 0.0
    for piece, seconds in pieces:
        if block and block_s + seconds > TARGET_S:
            blocks.append((tuple(block), block_s))
            block, block_s = [], 0.0
        block += piece
        block_s += seconds
    if block:
        blocks.append((tuple(block), block_s))
    return sorted(blocks, key=lambda b: -b[1])


def _split(stack: Sequence[Subset], cost: ProbeCost) -> list[tuple[list[Subset], float]]:
    """Cut one stack into pieces below `MOST_S` where that is possible, largest sizes first."""
    seconds = cost.seconds(s.n_neurons for s in stack)
    if seconds <= MOST_S or len(stack) == 1:
        return [(list(stack), seconds)]
    pieces: list[list[Subset]] = [[]]
    for subset in sorted(stack, key=lambda s: -s.n_neurons):
        if pieces[-1] and cost.seconds([*(s.n_neurons for s in pieces[-1]), subset.n_neurons]) > MOST_S:
            pieces.append([])
        pieces[-1].append(subset)
    return [(sorted(p), cost.seconds(s.n_neurons for s in p)) for p in pieces]
