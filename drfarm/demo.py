"""The quick start: pre-train a small network on some digits, and make the study that measures it on the others.

Real training on real scans (the 1,797 handwritten digits that scikit-learn ships), nothing fetched from anywhere.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from drfarm.progress import Reporter
from extract import DatasetSpec, ModelSpec, load_model, make_transform, open_samples, transform_version
from store import InvalidRequest
from store.whole_file import whole_file

if TYPE_CHECKING:
    import torch

SOURCE = "timm:resnet10t"
INPUT_SIZE = 32
EPOCHS = 12
_BATCH = 64
_SEED = 0
_MEAN, _STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

_STUDY = """\
# Made by `drfarm demo`: a network pre-trained on the digits 0-4, measured on the digits 5-9.
study: demo
store: ./store
models:
  - name: resnet10t-digits04
    source: timm:resnet10t
    args: {num_classes: 5}
    weights: ./resnet10t-digits04.safetensors
    input_size: 32
    mean: [0.5, 0.5, 0.5]
    std: [0.5, 0.5, 0.5]
    tags: {upstream: digits 0-4, loss: cross-entropy}
layers: [layer2, layer3, penultimate]
datasets:
  - name: digits59
    source: sklearn:digits
    classes: [5, 6, 7, 8, 9]
    splits: {train: train, test: test}
subsets:
  methods: [random]
  fractions: [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0]
  seeds: 5
measures:
  - {measure: accuracy, solver: sgd, protocol: paper}
  - {measure: cka, k: every}
  - {measure: cka_pair}
deltas: [0.8, 0.9, 0.95]
"""


def make_demo(folder: Path, reporter: Reporter) -> Path:
    """Pre-train the network and write its study file, as far as they are not there; return the study file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InvalidRequest(f"the folder {folder} can't be made: {e.strerror}. Choose another with --folder.") from e
    weights = folder / "resnet10t-digits04.safetensors"
    if not weights.exists():
        accuracy = _pretrain(weights, reporter)
        reporter.message(f"pre-trained on the digits 0-4: accuracy {accuracy:.3f} on their test split")
    study = folder / "study.yaml"
    if not study.exists():
        study.write_text(_STUDY, encoding="utf-8")
    return study


def _pretrain(file: Path, reporter: Reporter) -> float:
    """Train on the digits 0-4, keep the weights, and return the accuracy on their test split."""
    import torch
    from safetensors.torch import save_file

    spec = ModelSpec(
        name="demo",
        source=SOURCE,
        arguments={"num_classes": 5},
        weights=f"random:{_SEED}",
        input_size=INPUT_SIZE,
        mean=_MEAN,
        std=_STD,
    )
    network = load_model(spec).module.requires_grad_(True)
    train, test = _images("train"), _images("test")
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=4e-3, epochs=EPOCHS, steps_per_epoch=-(-len(train[0]) // _BATCH)
        )
        with reporter.stage("pre-train", EPOCHS, "epochs") as meter:
            network.train()
            for _ in range(EPOCHS):
                for rows in torch.randperm(len(train[0])).split(_BATCH):
                    optimiser.zero_grad()
                    loss = torch.nn.functional.cross_entropy(network(train[0][rows]), train[1][rows])
                    loss.backward()
                    optimiser.step()
                    schedule.step()
                meter.advance(1)
    network.eval()
    with torch.inference_mode():
        accuracy = (network(test[0]).argmax(1) == test[1]).double().mean().item()
    with whole_file(file) as partial:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, partial)
    return float(accuracy)


def _images(split: str) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return the prepared images of the digits 0-4, shape (n, 3, side, side), and their labels, shape (n,)."""
    import numpy as np
    import torch

    spec = DatasetSpec(
        name="digits04",
        source="sklearn:digits",
        splits={"train": "train", "test": "test"},
        classes=tuple(str(c) for c in range(5)),
    )
    samples = open_samples(spec, split)
    transform = make_transform(transform_version("test"), input_size=INPUT_SIZE, mean=_MEAN, std=_STD)
    pixels = np.stack([transform.pixels(samples.image(i)) for i in range(len(samples))])
    return transform.normaliser("cpu")(torch.from_numpy(pixels)), torch.from_numpy(samples.labels)
