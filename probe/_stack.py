"""How nested probes share matrix products: the layout of one stack. Pure (no I/O).

All probes of a stack read prefixes of one neuron order, so neuron panel p (neurons 64 p to 64 p + 63) is needed only by
the probes with k > 64 p. Sorted by falling size those are the first m_p, and one product serves them all:

    logits[:m_p C]  +=  W_p (m_p C x 64) @ X_p' (64 x batch)        forward
    dW_p             =  G[:m_p C] (m_p C x batch) @ X_p (batch x 64)    backward

Zeros are computed only inside a probe's last panel: 1.09 of the useful products on the paper's grid at d = 2048.

Panels and batches are filled up with zeros to multiples of `PANEL`, and every product has at least `MIN_ROWS` rows. So
a product's inner dimension does not depend on what else is in the stack, BLAS stays off the paths it keeps for narrow
matrices, and each probe's numbers are added up in one order: weights are the same bits alone or stacked, on one thread
or eight (`tests/probe/test_sgd.py` holds this).
"""

from dataclasses import dataclass

PANEL = 64
"""Neurons of a panel, and the multiple to which rows of a batch are filled up."""

MIN_ROWS = 16
"""A product with fewer rows takes another path in BLAS, with another order of addition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One block of neurons and the weights on it."""

    start: int
    """First neuron; the panel has `PANEL`, those beyond the layer are zeros."""
    n_rows: int
    """Rows of its weights: classes times the probes that reach it (at least `MIN_ROWS`)."""
    offset: int
    """Where its weights begin in the flat buffer."""

    @property
    def stop(self) -> int:
        """One past its last neuron, perhaps beyond the layer."""
        return self.start + PANEL

    @property
    def end(self) -> int:
        """One past its weights in the flat buffer."""
        return self.offset + self.n_rows * PANEL


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

    @property
    def n_probes(self) -> int:
        """Probes in it."""
        return len(self.sizes)

    @property
    def n_weights(self) -> int:
        """Length of the flat buffer of all panels' weights."""
        return self.panels[-1].end

    @property
    def reach(self) -> int:
        """Neurons of all panels, a multiple of `PANEL`."""
        return self.panels[-1].stop


def filled_up(n: int) -> int:
    """Return the next multiple of `PANEL`."""
    return -(-n // PANEL) * PANEL


def plan_stack(sizes: tuple[int, ...], *, width: int, n_classes: int) -> Stack:
    """Lay out probes of the given distinct sizes (1 to width) over one layer."""
    falling = tuple(sorted(sizes, reverse=True))
    least = -(-MIN_ROWS // n_classes)
    panels = []
    offset = 0
    for start in range(0, falling[0], PANEL):
        reach = max(sum(k > start for k in falling), least)
        panels.append(Panel(start=start, n_rows=reach * n_classes, offset=offset))
        offset = panels[-1].end
    return Stack(
        width=width,
        n_classes=n_classes,
        sizes=falling,
        n_slots=max(len(falling), least),
        panels=tuple(panels),
    )
