"""Extraction against the bare forward loop of the same network, what a shared decode saves, and memory over a long run.

On a machine without a GPU the network takes every core, and decoding takes its share of them: two rows tell what is
left of the loop's rate, for small images and for photographs, and the stage reports say where the time went. In two
more rows the network, in the loop as in the extraction, has one thread less than there are cores.
"""

import gc
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image, ImageFilter
from rows import Row

from extract import (
    DatasetSpec,
    ExtractOptions,
    LayerSpec,
    ModelSpec,
    load_model,
    plan_extraction,
    run_extraction,
)
from extract._allocator import keep_freed_memory

BATCH = 64
SMALL, PHOTOGRAPH = (32, 32), (500, 375)


def bench(*, n_images=1024, n_photographs=768, n_long=50_000, network="mobilenetv2_100", small_network="test_resnet"):
    """Return rows for throughput, a shared decode and memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = [
            _throughput(root / "small", n_images, SMALL, network, device),
            _throughput(root / "photographs", n_photographs, PHOTOGRAPH, network, device),
            *_with_a_core_to_spare(root, n_images, n_photographs, network, device),
            _shared_decode(root, n_photographs, small_network, device),
            _memory(root / "long", n_long, small_network, device),
        ]
        if device == "cuda":
            rows += [_on_gpu(root / f"gpu-{name}", name) for name in ("resnet50", "vit_small_patch16_224")]
    return rows


def _images(root: Path, n: int, size: tuple[int, int], *, distinct: int = 64) -> DatasetSpec:
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


def _loop(spec: ModelSpec, device: str, n: int, *, precision: torch.dtype | None = None) -> float:
    """Return images a second of the network alone: a batch that is there already, again and again."""
    if device == "cpu":
        keep_freed_memory()
    loaded = load_model(spec)
    model = loaded.module.to(device).to(memory_format=torch.channels_last)
    model.reset_classifier(0)
    x = torch.randn(BATCH, *loaded.input_shape, device=device).contiguous(memory_format=torch.channels_last)

    def run(steps):
        with torch.inference_mode(), torch.autocast(device, precision, enabled=precision is not None):
            for _ in range(steps):
                model(x)
        if device == "cuda":
            torch.cuda.synchronize()

    run(2)
    steps = max(1, n // BATCH)
    began = time.perf_counter()
    run(steps)
    return steps * BATCH / (time.perf_counter() - began)


def _run(models, data, device, place, **settings):
    options = ExtractOptions(batch_size=BATCH, device=device, **settings)
    return run_extraction(plan_extraction(models, [data], [LayerSpec()], options), str(place), options)


def _with_a_core_to_spare(root, n_images, n_photographs, network, device):
    before = torch.get_num_threads()
    if device == "cuda" or before < 2:
        return []
    torch.set_num_threads(before - 1)
    try:
        return [
            _throughput(root / f"spare-{name}", n, size, network, device, bar=0.9)
            for name, n, size in (("small", n_images // 2, SMALL), ("photographs", n_photographs // 2, PHOTOGRAPH))
        ]
    finally:
        torch.set_num_threads(before)


def _throughput(root, n, size, network, device, *, bar=None):
    data = _images(root, n, size)
    spec = ModelSpec(name="network", source=f"timm:{network}", weights="random:0")
    _run([spec], data, device, root / "warm")
    # The machine's speed drifts: the loop runs before and after.
    before = _loop(spec, device, n)
    report = _run([spec], data, device, root / "store")
    loop = max(before, _loop(spec, device, n))
    print(f"  {network}, {size[0]} x {size[1]}: {report.stages}", file=sys.stderr)
    return Row(
        what=f"extraction of {n:,} JPEGs of {size[0]} x {size[1]}, {network}, {device}, "
        f"{torch.get_num_threads()} thread(s)",
        ours=f"{report.images_per_s:,.0f} images/s",
        baseline=f"bare forward loop {loop:,.0f} images/s",
        ratio=report.images_per_s / loop,
        # Without a GPU, decoding photographs takes cores from the network: the stage report says how many seconds.
        bar=0.9 if device == "cuda" or size == SMALL else bar,
    )


def _shared_decode(root, n, network, device):
    data = _images(root / "shared", n, PHOTOGRAPH)
    specs = [
        ModelSpec(name=f"n{seed}", source=f"timm:{network}", weights=f"random:{seed}", input_size=32) for seed in (0, 1)
    ]
    _run(specs[:1], data, device, root / "shared-warm")
    alone = [_run([s], data, device, root / f"alone-{s.name}").elapsed_s for s in specs]
    both = _run(specs, data, device, root / "both")
    print(f"  shared: {both.stages}", file=sys.stderr)
    return Row(
        what=f"two networks over {n:,} photographs, decoded once",
        ours=f"{both.elapsed_s:.2f} s",
        baseline=f"the slower alone {max(alone):.2f} s",
        ratio=both.elapsed_s / max(alone),
        bar=1.15,
        at_least=False,
    )


def _memory(root, n, network, device):
    data = _images(root, n, SMALL)
    spec = ModelSpec(name="network", source=f"timm:{network}", weights="random:0", input_size=32)
    options = ExtractOptions(batch_size=256, device=device)
    jobs = plan_extraction([spec], [data], [LayerSpec()], options)
    process, seen = psutil.Process(), []

    def look(done, total):
        seen.append((done / total, process.memory_info().rss))

    gc.collect()
    run_extraction(jobs, str(root / "store"), options, look)
    early = max(rss for share, rss in seen if share <= 0.2)
    late = max(rss for share, rss in seen if share >= 0.8)
    return Row(
        what=f"memory of the process over {n:,} images, the last fifth against the first",
        ours=f"{late / 2**20:,.0f} MiB",
        baseline=f"{early / 2**20:,.0f} MiB",
        ratio=late / early,
        bar=1.05,
        at_least=False,
    )


def _on_gpu(root, network):
    """Return images a second against the network alone on random input, mixed precision: how timm measures itself."""
    data = _images(root, 20_000, PHOTOGRAPH)
    spec = ModelSpec(name="network", source=f"timm:{network}", weights="random:0")
    report = _run([spec], data, "cuda", root / "store", precision="float16")
    loop = _loop(spec, "cuda", 20_000, precision=torch.float16)
    print(f"  {network}: {report.stages}", file=sys.stderr)
    return Row(
        what=f"{network} at 224, float16 arithmetic, photographs",
        ours=f"{report.images_per_s:,.0f} images/s",
        baseline=f"the network alone {loop:,.0f} images/s",
        ratio=report.images_per_s / loop,
        bar=0.9,
    )
