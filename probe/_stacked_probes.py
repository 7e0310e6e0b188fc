"""Weights of a stack of probes, and the products that score and train them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probe._draws import initial_probe
from probe._products import Products
from probe._stack import Stack, filled_up
from probe._standard import Standard
from probe._update import Update
from probe.protocols import SgdProtocol

if TYPE_CHECKING:
    import torch


class Block:
    """Buffers for one number of rows: features filled up with zeros, class scores, and each panel's part of both."""

    def __init__(self, stack: Stack, n_rows: int, products: Products, device: "torch.device") -> None:
        import torch

        self.n = 0
        self.x = torch.zeros(n_rows, stack.reach, device=device)
        self.scores = torch.empty(stack.n_slots, stack.n_classes, n_rows, device=device)
        self.flat = self.scores.view(-1, n_rows)
        self._products = products
        self._factor = products.factor(self.x)
        self.columns = [self._factor[:, p.start : p.stop] for p in stack.panels]
        self.columns_t = [c.t() for c in self.columns]
        self.rows = [self.flat[: p.n_rows] for p in stack.panels]

    def fill(self, x: "torch.Tensor", rows: "torch.Tensor | None", standard: Standard | None) -> None:
        """Copy rows of features (n, d), all of them by default; what is beyond them is zero."""
        import torch

        self.n = len(x) if rows is None else len(rows)
        if (
            rows is not None
            and x.dtype == torch.float32
            and x.shape[1] == self.x.shape[1]
            and x.device == self.x.device
        ):
            torch.index_select(x, 0, rows, out=self.x[: self.n])
        else:
            columns = min(x.shape[1], self.x.shape[1])
            self.x[: self.n, :columns] = (x if rows is None else x.index_select(0, rows))[:, :columns]
        self.x[self.n :] = 0
        if standard is not None:
            standard.apply_(self.x[: self.n])
        self._products.refresh(self._factor, self.x)


class StackedProbes:
    """Weights and momentum of a stack, and the products that train it."""

    def __init__(
        self,
        stack: Stack,
        protocol: SgdProtocol,
        *,
        seed: int,
        device: "torch.device",
        standard: Standard | None,
    ) -> None:
        import torch

        self.stack = stack
        self.device = device
        rows = stack.n_slots * stack.n_classes
        # One buffer for weights and biases, a multiple of 64 bytes long (see `Update`).
        n_all = stack.n_weights + filled_up(rows)
        flat, mask = torch.zeros(n_all, device=device), torch.zeros(n_all, device=device)
        flat.grad = torch.zeros(n_all, device=device)
        self._w, self._bias = self._views(flat)
        self._gradients, self._bias_gradient = self._views(flat.grad)
        self._draw(protocol.initial_seed(seed), mask)
        self._update = Update(flat, mask, self._scale(protocol), protocol, fused=device.type == "cpu")
        self._products = Products(protocol.precision, device)
        self._standard = standard
        self._row_numbers = torch.arange(protocol.batch_size, device=device)
        self._blocks: dict[int, Block] = {}

    def _views(self, flat: "torch.Tensor") -> tuple[list["torch.Tensor"], "torch.Tensor"]:
        """Return the part of each panel, shape (rows, width), and that of the biases, shape (slots x classes,)."""
        first = self.stack.n_weights
        panels = [flat[p.offset : p.end].view(p.n_rows, p.width) for p in self.stack.panels]
        return panels, flat[first : first + self.stack.n_slots * self.stack.n_classes]

    def _draw(self, seed: int, mask: "torch.Tensor") -> None:
        """Fill in the initial weights of every probe, and 1 in the mask where there is one."""
        masks, bias_mask = self._views(mask)
        for slot in range(self.stack.n_probes):
            k, rows = self.stack.size(slot), self.stack.rows(slot)
            weight, bias = initial_probe(seed, k, self.stack.n_classes)
            self._bias[rows] = bias.to(self.device)
            bias_mask[rows] = 1
            for w, kept, panel in zip(self._w, masks, self.stack.panels, strict=True):
                if panel.start < k:
                    stop = min(k, panel.stop)
                    w[rows, : stop - panel.start] = weight[:, panel.start : stop].to(self.device)
                    kept[rows, : stop - panel.start] = 1

    def _scale(self, protocol: SgdProtocol) -> "torch.Tensor | None":
        """Return each parameter's step size over that of the first rate; None where there is one rate only."""
        import torch

        if len(protocol.rates) == 1:
            return None
        scale = torch.ones(self.stack.n_weights + filled_up(self.stack.n_slots * self.stack.n_classes))
        panels, bias = self._views(scale)
        for slot in range(self.stack.n_probes):
            ratio = protocol.rates[slot % self.stack.n_copies] / protocol.rates[0]
            for part in (*panels, bias):
                part[self.stack.rows(slot)] = ratio  # an empty slice where the panel is beyond the probe
        return scale.to(self.device)

    def block(self, x: "torch.Tensor", rows: "torch.Tensor | None" = None) -> Block:
        """Return rows of features (n, d) as a float32 block, filled up with zeros; the next call may overwrite it."""
        size = filled_up(len(x) if rows is None else len(rows))
        if size not in self._blocks:
            self._blocks[size] = Block(self.stack, size, self._products, self.device)
        self._blocks[size].fill(x, rows, self._standard)
        return self._blocks[size]

    def logits(self, block: Block) -> "torch.Tensor":
        """Return class scores, shape (slot, class, row); they are the block's own."""
        block.flat.copy_(self._bias[:, None].expand_as(block.flat))
        for out, w, x in zip(block.rows, self._w, block.columns_t, strict=True):
            self._products.add(out, w, x)
        return block.scores

    def set_rate(self, rate: float) -> None:
        """Set the step size of the first of the protocol's rates; the others keep their ratio to it."""
        self._update.set_rate(rate)

    def step(self, block: Block, labels: "torch.Tensor") -> None:
        """Take one step of SGD on a block and the labels of its real rows, shape (n,)."""
        import torch

        g, n = self.logits(block), block.n
        # Softmax written out: torch.softmax rounds differently where its threads meet, so with what else is stacked.
        g.sub_(g.amax(1, keepdim=True)).exp_()
        g.div_(g.sum(1, keepdim=True).mul_(n))
        g[:, labels, self._row_numbers[:n]] -= 1.0 / n
        if n < len(block.x):
            g[..., n:] = 0
        for gradient, rows, x in zip(self._gradients, block.rows, block.columns, strict=True):
            self._products.write(gradient, rows, x)
        torch.sum(block.flat, 1, out=self._bias_gradient)
        self._update.step()

    def finite(self) -> "torch.Tensor":
        """Say for each slot whether all of its weights are finite, shape (slot,)."""
        good = self._bias.isfinite()
        for w, panel in zip(self._w, self.stack.panels, strict=True):
            good[: panel.n_rows] &= w.isfinite().all(1)
        return good.view(self.stack.n_slots, self.stack.n_classes).all(1).cpu()

    def keep_in(self, best: "StackedProbes", improved: "torch.Tensor") -> None:
        """Copy the probes marked in ``improved``, shape (slot,), into ``best``."""
        rows = improved.to(self.device).repeat_interleave(self.stack.n_classes)
        best._bias[rows] = self._bias[rows]  # noqa: SLF001 - another of its kind
        for kept, w, panel in zip(best._w, self._w, self.stack.panels, strict=True):  # noqa: SLF001
            kept[rows[: panel.n_rows]] = w[rows[: panel.n_rows]]

    def extract(self, slot: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weights (C, k) and bias (C,) of one probe, on the features as they were given."""
        import torch

        k, rows = self.stack.size(slot), self.stack.rows(slot)
        parts = [w[rows] for w, panel in zip(self._w, self.stack.panels, strict=True) if panel.start < k]
        weight, bias = torch.cat(parts, dim=1)[:, :k].cpu(), self._bias[rows].cpu()
        if self._standard is not None:
            weight, bias = self._standard.folded(weight, bias)
        return weight.numpy().copy(), bias.numpy().copy()
