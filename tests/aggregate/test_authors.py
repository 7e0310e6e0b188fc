"""The authors' printed accuracies give the authors' printed DR (rule nearest), and Eq. 1's (rule strict)."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv

from aggregate import redundancy

ACCURACIES = Path(__file__).parents[3] / "shared" / "reference" / "authors_accuracies.csv"

# nearest (as Table 1 prints), Eq. 1, linear interpolation; at delta = 0.9, recomputed from the accuracies of the
# authors' notebooks. The fractions are the nominal ones: k = int(fraction d) is up to one neuron less.
PUBLISHED = {
    ("vgg16_bn", "cifar10"): (0.95, 0.90, 0.94),
    ("vgg16_bn-AT", "cifar10"): (0.90, 0.90, 0.91),
    ("resnet18", "cifar10"): (0.80, 0.70, 0.79),
    ("resnet18-AT", "cifar10"): (0.80, 0.70, 0.75),
    ("resnet50", "cifar10"): (0.90, 0.80, 0.86),
    ("resnet50-AT", "cifar10"): (0.90, 0.90, 0.91),
    ("wrn50_2", "cifar10"): (0.95, 0.90, 0.94),
    ("wrn50_2-AT", "cifar10"): (0.90, 0.90, 0.91),
    ("vit_s16-1k", "cifar10"): (0.70, 0.50, 0.66),
    ("vit_s32-1k", "cifar10"): (0.70, 0.50, 0.68),
    ("vgg16_bn", "cifar100"): (0.80, 0.80, 0.84),
    ("vgg16_bn-AT", "cifar100"): (0.80, 0.80, 0.80),
    ("resnet18", "cifar100"): (0.50, 0.50, 0.58),
    ("resnet18-AT", "cifar100"): (0.50, 0.50, 0.56),
    ("resnet50", "cifar100"): (0.50, 0.50, 0.60),
    ("resnet50-AT", "cifar100"): (0.80, 0.80, 0.84),
    ("wrn50_2", "cifar100"): (0.80, 0.80, 0.82),
    ("wrn50_2-AT", "cifar100"): (0.80, 0.70, 0.79),
    ("vit_s16-1k", "cifar100"): (0.50, 0.20, 0.47),
    ("vit_s32-1k", "cifar100"): (0.50, 0.50, 0.50),
}


@pytest.mark.shared_data
@pytest.mark.skipif(not ACCURACIES.exists(), reason=f"needs the authors' accuracies at {ACCURACIES.name}")
@pytest.mark.parametrize(
    ("rule", "column", "tolerance"), [("nearest", 0, 0.006), ("strict", 1, 0.006), ("interpolated", 2, 0.012)]
)
def test_every_cell_of_cifar10_and_cifar100(rule, column, tolerance):
    table = csv.read_csv(ACCURACIES)
    for name, value in (("protocol", "imported"), ("train_id", None), ("test_id", None)):
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    got = redundancy(table, None, deltas=[0.9], rules=[rule]).to_pylist()
    found = {(row["model"], row["dataset"]): row["dr"] for row in got}
    assert found.keys() == PUBLISHED.keys()
    for cell, expected in PUBLISHED.items():
        assert found[cell] == pytest.approx(expected[column], abs=tolerance), cell
