"""The update against torch.optim.SGD, one parameter group per step size."""

import pytest
import torch

from probe import SGD_PROTOCOLS
from probe._update import Update

N = 64 * 10


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_steps_are_torchs(fused, several):
    protocol = SGD_PROTOCOLS["paper"]
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(N, generator=generator)
    mask = (torch.rand(N, generator=generator) > 0.3).float()
    start *= mask
    scale = torch.cat([torch.ones(N // 2), torch.full((N // 2,), 0.3)]) if several else None
    flat = start.clone()
    flat.grad = torch.empty(N)
    update = Update(flat, mask, scale, protocol, fused=fused)
    halves = [start[: N // 2].double().clone(), start[N // 2 :].double().clone()]
    groups = [{"params": [h], "lr": 0.0} for h in halves]
    plain = torch.optim.SGD(groups, momentum=protocol.momentum, weight_decay=protocol.weight_decay)
    with torch.inference_mode():
        for rate in (0.1, 0.1, 0.01, 0.01, 0.1):
            gradient = torch.randn(N, generator=generator)
            flat.grad.copy_(gradient)
            update.set_rate(rate)
            update.step()
            for group, half, part in zip(plain.param_groups, halves, (gradient * mask).double().chunk(2), strict=True):
                half.grad = part.clone()
                group["lr"] = rate
            if several:
                plain.param_groups[1]["lr"] = 0.3 * rate
            plain.step()
    torch.testing.assert_close(flat.double(), torch.cat(halves), atol=1e-6, rtol=1e-6)
    assert not bool((flat * (1 - mask)).any())
    assert float((flat - start).abs().max()) > 0.1
