"""How nested probes share matrix products: the layout of one stack. Pure (no I/O).

All probes of a stack read prefixes of one neuron order, so neuron panel p (neurons 64 p to 64 p + 63) is needed only by
the probes with k > 64 p. Sorted by falling size those are the first m_p, and one product serves them all:

    logits[:m_p C]  +=  W_p (m_p C x 64) @ X_p' (64 x batch)        forward
    dW_p             =  G[:m_p C] (m_p C x batch) @ X_p (batch x 64)    backward

Zeros are computed only inside a probe's last panel: 1.07 of the useful products on the paper's grid at d = 2048.

Every product has the same inner dimension whatever else is in the stack (a panel, the batch), and at least
`MIN_ROWS` rows, so BLAS adds up each probe's numbers in one order: weights are the same bits alone or stacked.
"""

from dataclasses import dataclass

PANEL = 64
"""Neurons of a panel."""

MIN_ROWS = 32
"""A product with fewer rows takes another path in BLAS, with another order of addition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One block of neurons and the weights on it."""

    start: int
    """First neuron."""
    stop: int
    """One past the last neuron."""
    n_rows: int
    """Rows of its weights: classes times the probes that reach it (at least `MIN_ROWS`)."""
    offset: int
    """Where its weights begin in the flat buffer."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its weights: (rows, neurons)."""
        return self.n_rows, self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The layout of nested probes over one layer."""

    width: int
    """Neurons in the layer, d."""
    n_classes: int
    """Classes, C."""
    sizes: tuple[int, ...]
    """Subset sizes in falling order, one probe each."""
    n_slots: int
    """Probes with those that only fill up to `MIN_ROWS` rows."""
    panels: tuple[Panel, ...]
    """Neuron panels that at least one probe reaches."""
    n_weights: int
    """Length of the flat buffer of all panels' weights."""

    @property
    def n_probes(self) -> int:
        """Probes in it."""
        return len(self.sizes)


def plan_stack(sizes: tuple[int, ...], *, width: int, n_classes: int) -> Stack:
    """Lay out probes of the given distinct sizes (1 to width) over one layer."""
    falling = tuple(sorted(sizes, reverse=True))
    least = -(-MIN_ROWS // n_classes)
    panels = []
    offset = 0
    for start in range(0, falling[0], PANEL):
        reach = max(sum(k > start for k in falling), least)
        panel = Panel(start=start, stop=min(start + PANEL, width), n_rows=reach * n_classes, offset=offset)
        panels.append(panel)
        offset += panel.n_rows * (panel.stop - panel.start)
    return Stack(
        width=width,
        n_classes=n_classes,
        sizes=falling,
        n_slots=max(len(falling), least),
        panels=tuple(panels),
        n_weights=offset,
    )
