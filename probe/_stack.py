"""How nested probes share matrix products: the layout of one stack. Pure (no I/O).

All probes of a stack read prefixes of one neuron order, so a panel of neurons that begins at neuron s is needed only by
the probes with k > s. Sorted by falling size those are the first m, and one product serves them all:

    logits[:m C]  +=  W_p (m C x width) @ X_p' (width x batch)        forward
    dW_p           =  G[:m C] (m C x batch) @ X_p (batch x width)     backward

Panels lie on one fixed grid: 0, 32, 64, 128, 192, ... (two of 32 neurons for the many small subsets, then 64 wide).
Zeros are computed only inside a probe's last panel: 1.03 to 1.20 of the useful products on the paper's grid at d = 4096
to 384 and 10 or more classes (`Stack.waste`).

The grid does not depend on what is stacked, panels and batches are filled up with zeros, and every product has at least
`MIN_ROWS` rows. So a product's inner dimension does not depend on what else is in the stack, BLAS stays off the paths
it keeps for narrow matrices, and each probe's numbers are added up in one order: weights are the same bits alone or
stacked, on one thread or eight (`tests/probe/test_sgd.py` holds this).
"""

from dataclasses import dataclass

PANEL = 64
"""Neurons of a panel from the third on, and the multiple to which rows of a batch are filled up."""

NARROW = 32
"""Neurons of the first two panels: half of the paper's grid at d = 384 has fewer."""

MIN_ROWS = 16
"""A product with fewer rows takes another path in BLAS, with another order of addition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One block of neurons and the weights on it."""

    start: int
    """First neuron."""
    stop: int
    """One past its last neuron; those beyond the layer are zeros."""
    n_rows: int
    """Rows of its weights: classes times the slots that reach it (at least `MIN_ROWS`)."""
    offset: int
    """Where its weights begin in the flat buffer."""

    @property
    def width(self) -> int:
        """Neurons in it, a multiple of `NARROW`."""
        return self.stop - self.start

    @property
    def end(self) -> int:
        """One past its weights in the flat buffer."""
        return self.offset + self.n_rows * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The layout of nested probes over one layer."""

    width: int
    """Neurons in the layer, d."""
    n_classes: int
    """Classes, C."""
    sizes: tuple[int, ...]
    """Subset sizes in falling order."""
    n_copies: int
    """Slots of one size, side by side: one for each step size that is tried."""
    n_slots: int
    """Places for a probe: ``sizes`` times ``n_copies``, and those that only fill up to `MIN_ROWS` rows."""
    panels: tuple[Panel, ...]
    """Neuron panels that at least one probe reaches."""

    @property
    def n_probes(self) -> int:
        """Slots with a probe; they come first."""
        return len(self.sizes) * self.n_copies

    @property
    def n_weights(self) -> int:
        """Length of the flat buffer of all panels' weights, a multiple of `NARROW`."""
        return self.panels[-1].end

    @property
    def reach(self) -> int:
        """Neurons of all panels."""
        return self.panels[-1].stop

    @property
    def waste(self) -> float:
        """Computed over useful products of a step whose batch needs no filling: >= 1."""
        return self.n_weights / (self.n_classes * self.n_copies * sum(self.sizes))

    def size(self, slot: int) -> int:
        """Return the neurons of the probe in a slot."""
        return self.sizes[slot // self.n_copies]

    def rows(self, slot: int) -> slice:
        """Return where a slot's classes lie among the rows of every panel, and of the scores."""
        return slice(slot * self.n_classes, (slot + 1) * self.n_classes)


def filled_up(n: int) -> int:
    """Return the next multiple of `PANEL`."""
    return -(-n // PANEL) * PANEL


def panel_edges(n_neurons: int) -> tuple[tuple[int, int], ...]:
    """Return (start, stop) of every panel of the fixed grid that begins before neuron ``n_neurons``."""
    narrow = [(0, NARROW), (NARROW, 2 * NARROW)]
    wide = [(s, s + PANEL) for s in range(2 * NARROW, n_neurons, PANEL)]
    return tuple(edge for edge in (*narrow, *wide) if edge[0] < n_neurons)


def plan_stack(sizes: tuple[int, ...], *, width: int, n_classes: int, n_copies: int = 1) -> Stack:
    """Lay out probes of the given distinct sizes (1 to width), each ``n_copies`` times, over one layer."""
    falling = tuple(sorted(sizes, reverse=True))
    least = -(-MIN_ROWS // n_classes)
    panels = []
    offset = 0
    for start, stop in panel_edges(falling[0]):
        n_slots = max(n_copies * sum(k > start for k in falling), least)
        panels.append(Panel(start=start, stop=stop, n_rows=n_slots * n_classes, offset=offset))
        offset = panels[-1].end
    return Stack(
        width=width,
        n_classes=n_classes,
        sizes=falling,
        n_copies=n_copies,
        n_slots=max(n_copies * len(falling), least),
        panels=tuple(panels),
    )
