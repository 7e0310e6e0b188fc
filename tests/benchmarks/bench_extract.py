"""Extraction against the bare forward loop of the same network, what a shared decode saves, and memory over a long run.

On a machine without a GPU the network takes every core, and decoding takes its share of them: two rows tell what is
left of the loop's rate, for small images and for photographs, and the stage reports say where the time went. In two
more rows the network, in the loop as in the extraction, has one thread less than there are cores.
"""

import gc
import sys
import tempfile
from pathlib import Path

import psutil
import torch
from extraction_loops import PHOTOGRAPH, SMALL, bare_loop, extraction, jpegs
from rows import Row

from extract import ExtractOptions, LayerSpec, ModelSpec, plan_extraction, run_extraction

BATCH = 64


def bench(*, n_images=1024, n_photographs=768, n_long=50_000, network="mobilenetv2_100", small_network="test_resnet"):
    """Return rows for throughput, a shared decode and memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return [
            _throughput(root / "small", n_images, SMALL, network, device),
            _throughput(root / "photographs", n_photographs, PHOTOGRAPH, network, device),
            *_with_a_core_to_spare(root, n_images, n_photographs, network, device),
            _shared_decode(root, n_photographs, small_network, device),
            _memory(root / "long", n_long, small_network, device),
        ]


def _with_a_core_to_spare(root, n_images, n_photographs, network, device):
    before = torch.get_num_threads()
    if device == "cuda" or before < 2:
        return []
    torch.set_num_threads(before - 1)
    try:
        return [
            _throughput(root / f"spare-{name}", n, size, network, device, bar=0.9)
            # Twice as many photographs: for the first batch the network waits, whatever their number.
            for name, n, size in (("small", n_images, SMALL), ("photographs", 2 * n_photographs, PHOTOGRAPH))
        ]
    finally:
        torch.set_num_threads(before)


def _throughput(root, n, size, network, device, *, bar=None):
    data = jpegs(root, n, size)
    spec = ModelSpec(name="network", source=f"timm:{network}", weights="random:0")
    extraction([spec], data, device, root / "warm", batch_size=BATCH)
    # The machine's speed drifts: the loop runs before and after.
    before = bare_loop(spec, device, n, batch_size=BATCH)
    report = extraction([spec], data, device, root / "store", batch_size=BATCH)
    loop = max(before, bare_loop(spec, device, n, batch_size=BATCH))
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
    data = jpegs(root / "shared", n, PHOTOGRAPH)
    specs = [
        ModelSpec(name=f"n{seed}", source=f"timm:{network}", weights=f"random:{seed}", input_size=32) for seed in (0, 1)
    ]
    extraction(specs[:1], data, device, root / "shared-warm", batch_size=BATCH)
    alone = [extraction([s], data, device, root / f"alone-{s.name}", batch_size=BATCH).elapsed_s for s in specs]
    both = extraction(specs, data, device, root / "both", batch_size=BATCH)
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
    data = jpegs(root, n, SMALL)
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
