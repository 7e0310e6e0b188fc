"""The update of `torch.optim.SGD` for all probes of a stack at once, in one flat buffer."""

from typing import TYPE_CHECKING

from probe.protocols import SgdProtocol

if TYPE_CHECKING:
    import torch


class Update:
    """Heavy-ball steps on a flat buffer of parameters, whose ``grad`` is filled before each.

    Probes may have step sizes r_i = s_i r of their own. With v_i scaled by s_i (v' = s v), the steps

        v' <- m v' + s (g + decay w),        w <- w - r v'

    are those of ``torch.optim.SGD`` at r_i, and share one r: one fused update does them all.

    Parameters
    ----------
    parameters
        Shape (n,), float32; ``grad`` is a buffer of the same shape. Its length must be a multiple of 64 bytes: the
        fused update shares work among threads in that unit, and a scalar tail would be rounded differently.
    mask
        1 for a parameter of a probe, 0 for filling, shape (n,).
    scale
        s_i of each parameter's probe, shape (n,); None where all are 1.
    protocol
        Momentum and weight decay.
    fused
        Use torch's fused kernel; otherwise tensors only, which a CUDA graph can hold.
    """

    def __init__(
        self,
        parameters: "torch.Tensor",
        mask: "torch.Tensor",
        scale: "torch.Tensor | None",
        protocol: SgdProtocol,
        *,
        fused: bool,
    ) -> None:
        import torch

        assert parameters.grad is not None
        self._parameters, self._gradient = parameters, parameters.grad
        self._kept = mask if scale is None else mask * scale
        self._decay = protocol.weight_decay if scale is None else self._kept * protocol.weight_decay
        self._momentum = protocol.momentum
        self._optimiser = self._rate = None
        # The kernel adds the decay itself, but for one number only.
        self._decays = not fused or scale is not None
        if self._decays:
            self._spare = torch.empty_like(parameters)
        if fused:
            self._optimiser = torch.optim.SGD(
                [parameters],
                lr=0.0,
                momentum=protocol.momentum,
                weight_decay=0.0 if self._decays else protocol.weight_decay,
                fused=True,
            )
        else:
            self._rate = torch.zeros((), device=parameters.device)
            self._velocity = torch.zeros_like(parameters)

    def set_rate(self, rate: float) -> None:
        """Set r, the step size of probes with s = 1."""
        if self._optimiser is not None:
            self._optimiser.param_groups[0]["lr"] = rate
        else:
            assert self._rate is not None
            self._rate.fill_(rate)

    def step(self) -> None:
        """Take one step."""
        import torch

        # Each line rounds once: whether a number is in a vector or in the tail of one does not matter.
        self._gradient.mul_(self._kept)
        if self._decays:
            torch.mul(self._parameters, self._decay, out=self._spare)
            self._gradient.add_(self._spare)
        if self._optimiser is not None:
            self._optimiser.step()
            return
        assert self._rate is not None
        self._velocity.mul_(self._momentum).add_(self._gradient)
        torch.mul(self._velocity, self._rate, out=self._spare)
        self._parameters.sub_(self._spare)
