"""Operations of a forward pass, against torch's own counter and against the published numbers."""

import subprocess
import sys

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from extract._operations import CountOperations


class Grouped(nn.Module):
    """Grouped, dilated and transposed convolutions, and a batched product."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(4, 8, 3, groups=2, dilation=2, stride=2)
        self.b = nn.ConvTranspose2d(8, 6, 3, stride=2)

    def forward(self, x):
        x = self.b(self.a(x)).flatten(2)
        return x @ x.transpose(1, 2)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "grouped"])
def test_it_agrees_with_torch(name):
    model = Grouped() if name == "grouped" else timm.create_model(name)
    x = torch.zeros(2, 4 if name == "grouped" else 3, *([32, 32] if name == "grouped" else [160, 160]))
    model.eval()
    with torch.inference_mode():
        with FlopCounterMode(display=False) as theirs:
            model(x)
        with CountOperations() as ours:
            model(x)
    assert ours.flop == theirs.get_total_flops() > 1e5


def test_resnet18_has_1_8_billion_multiply_adds():
    with torch.inference_mode(), CountOperations() as counted:
        timm.create_model("resnet18").eval()(torch.zeros(1, 3, 224, 224))
    assert counted.flop / 2e9 == pytest.approx(1.81, abs=0.01)  # the paper protocol's table


def test_counting_brings_no_compiler_along():
    code = (
        "import sys, torch; from extract._operations import CountOperations\n"
        "with torch.inference_mode(), CountOperations() as counted: torch.nn.Linear(3, 4)(torch.zeros(2, 3))\n"
        "print(counted.flop, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "48 False"
