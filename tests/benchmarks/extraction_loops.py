"""What extraction is measured on and held against: JPEG files, a bare forward loop, timm's own procedure."""

import os
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image, ImageFilter

from extract import (
    DatasetSpec,
    ExtractionReport,
    ExtractOptions,
    LayerSpec,
    ModelSpec,
    load_model,
    plan_extraction,
    run_extraction,
)
from extract._allocator import keep_freed_memory

SMALL, PHOTOGRAPH = (32, 32), (500, 375)
"""Width and height."""


def jpegs(root: Path, n: int, size: tuple[int, int], *, distinct: int = 64) -> DatasetSpec:
    """Write n JPEG files of two classes: smooth noise, which compresses as photographs do; some are the same file."""
    rng = np.random.default_rng(0)
    kinds = []
    for i in range(min(n, distinct)):
        noise = rng.integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.UnsharpMask())
        kinds.append(root / f"{i:03d}.jpg")
        root.mkdir(parents=True, exist_ok=True)
        image.save(kinds[-1], quality=90)
    for name in ("a", "b"):
        (root / "train" / name).mkdir(parents=True)
    for i in range(n):
        os.link(kinds[i % len(kinds)], root / "train" / "ab"[i % 2] / f"{i:06d}.jpg")
    return DatasetSpec(name="images", source=f"folder:{root}", splits={"train": "train"})


def bare_loop(spec: ModelSpec, device: str, n: int, *, batch_size: int, precision: torch.dtype | None = None) -> float:
    """Return images a second of the network alone: a batch that is there already, again and again."""
    if device == "cpu":
        keep_freed_memory()
    loaded = load_model(spec)
    model = loaded.module.to(device).to(memory_format=torch.channels_last)
    model.reset_classifier(0)
    x = _random(loaded.input_shape, device, batch_size)

    def run(steps):
        with torch.inference_mode(), torch.autocast(device, precision, enabled=precision is not None):
            for _ in range(steps):
                model(x)
        _wait(device)

    run(2)
    steps = max(1, n // batch_size)
    began = time.perf_counter()
    run(steps)
    return steps * batch_size / (time.perf_counter() - began)


def timm_procedure(
    network: str, device: str, *, batch_size: int, precision: torch.dtype, n_warm: int = 10, n_steps: int = 40
) -> float:
    """Return images a second as timm's ``benchmark.py --bench inference --channels-last --amp --use-train-size`` does.

    The whole network with its head, on one batch of random input that lies on the device, mixed precision, cuDNN free
    to try its algorithms; 10 steps to warm up, then 40, the clock stopped after each
    (https://github.com/huggingface/pytorch-image-models/blob/main/benchmark.py; its batch is 256).
    """
    model = timm.create_model(network).eval().to(device).to(memory_format=torch.channels_last)
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        x = _random(timm.data.resolve_data_config(model=model, use_test_size=False)["input_size"], device, batch_size)

        def step():
            with torch.autocast(device, precision):
                model(x)
            _wait(device)

        with torch.no_grad():
            for _ in range(n_warm):
                step()
            began = time.perf_counter()
            for _ in range(n_steps):
                step()
            return n_steps * batch_size / (time.perf_counter() - began)
    finally:
        torch.backends.cudnn.benchmark = before


def _random(shape: tuple[int, ...], device: str, batch_size: int) -> torch.Tensor:
    return torch.randn(batch_size, *shape, device=device).contiguous(memory_format=torch.channels_last)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def extraction(
    models: list[ModelSpec], data: DatasetSpec, device: str, place: Path, *, batch_size: int, **settings: str
) -> ExtractionReport:
    """Run the extraction itself, decode and write included."""
    options = ExtractOptions(batch_size=batch_size, device=device, **settings)
    return run_extraction(plan_extraction(models, [data], [LayerSpec()], options), str(place), options)
