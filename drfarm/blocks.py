"""Grouping subsets into tasks by what they cost. Pure (no I/O)."""

from collections.abc import Iterable

from drfarm.costs import ProbeCost
from probe import RidgeProtocol, SubsetGroup, sizes_of

TARGET_S = 10.0
"""A task is filled up to this many predicted seconds ..."""
MOST_S = 120.0
"""... and subsets of one method and seed that cost more than this are split by size."""
MOST_STACK_BYTES = 2**30
"""So are those whose weights would take more memory than this."""


def plan_blocks(groups: Iterable[SubsetGroup], cost: ProbeCost) -> list[tuple[tuple[SubsetGroup, ...], float]]:
    """Group the subsets of one representation pair into blocks.

    Subsets of one method and seed share matrix products, or a factorisation, so they stay together unless they cost
    more than `MOST_S` or `MOST_STACK_BYTES`; several such groups share a block, and with it the reading of the
    representation, up to `TARGET_S`.

    Returns
    -------
    list of (tuple of SubsetGroup, float)
        Each subset once, with the block's predicted seconds; dearest first.
    """
    ordered = sorted(groups, key=lambda g: (g.method, g.seed, g.sizes[0]))
    pieces = [piece for group in ordered for piece in _split(group, cost)]
    blocks: list[tuple[tuple[SubsetGroup, ...], float]] = []
    block: list[SubsetGroup] = []
    block_s = 0.0
    for piece, seconds in pieces:
        if block and block_s + seconds > TARGET_S:
            blocks.append((tuple(block), block_s))
            block, block_s = [], 0.0
        block.append(piece)
        block_s += seconds
    if block:
        blocks.append((tuple(block), block_s))
    return sorted(blocks, key=lambda b: -b[1])


def _split(group: SubsetGroup, cost: ProbeCost) -> list[tuple[SubsetGroup, float]]:
    """Cut one group into pieces below both limits where that is possible, largest sizes first."""
    seconds = cost.seconds(group.method, group.sizes)
    fits = seconds <= MOST_S and cost.stack_bytes(group.sizes) <= MOST_STACK_BYTES
    whole = isinstance(cost.protocol, RidgeProtocol)  # one factorisation serves every size
    if fits or whole or len(group.sizes) == 1:
        return [(group, seconds)]
    pieces: list[list[int]] = [[]]
    for k in sorted(group.sizes, reverse=True):
        more = [*pieces[-1], k]
        if pieces[-1] and (cost.seconds(group.method, more) > MOST_S or cost.stack_bytes(more) > MOST_STACK_BYTES):
            pieces.append([])
        pieces[-1].append(k)
    return [
        (SubsetGroup(method=group.method, seed=group.seed, sizes=sizes_of(p)), cost.seconds(group.method, p))
        for p in pieces
    ]
