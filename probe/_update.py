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
        self._momentum, self._decay_rate = protocol.momentum, protocol.weight_decay
        self._rate = 0.0
        # The kernel adds the decay itself, but for one number only.
        self._decays = not fused or scale is not None
        if self._decays:
            self._spare = torch.empty_like(parameters)
        self._velocity = torch.zeros_like(parameters)
        self._rate_tensor = None if fused else torch.zeros((), device=parameters.device)

    def set_rate(self, rate: float) -> None:
        """Set r, the step size of probes with s = 1."""
        self._rate = rate
        if self._rate_tensor is not None:
            self._rate_tensor.fill_(rate)

    def step(self) -> None:
        """Take one step."""
        import torch

        # Each line rounds once: whether a number is in a vector or in the tail of one does not matter.
        self._gradient.mul_(self._kept)
        if self._decays:
            torch.mul(self._parameters, self._decay, out=self._spare)
            self._gradient.add_(self._spare)
        if self._rate_tensor is None:
            # The kernel of torch.optim.SGD(fused=True), called without the class: making that imports torch's compiler,
            # three seconds in every worker.
            torch.ops.aten._fused_sgd_(
                [self._parameters],
                [self._gradient],
                [self._velocity],
                weight_decay=0.0 if self._decays else self._decay_rate,
                momentum=self._momentum,
                lr=self._rate,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )
            return
        self._velocity.mul_(self._momentum).add_(self._gradient)
        torch.mul(self._velocity, self._rate_tensor, out=self._spare)
        self._parameters.sub_(self._spare)
