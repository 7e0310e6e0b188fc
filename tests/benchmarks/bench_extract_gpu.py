"""Extraction of photographs on a GPU, at timm's batch: against the bare forward loop, and timm's own procedure.

Without a GPU there is nothing to measure, and no row.
"""

import sys
import tempfile
from pathlib import Path

import torch
from extraction_loops import PHOTOGRAPH, bare_loop, extraction, jpegs, timm_procedure
from rows import Row

from extract import ModelSpec

NETWORKS = ("resnet50", "vit_small_patch16_224")


def bench(*, n_images=20_000, networks=NETWORKS, batch_size=256, device="cuda", precision="float16", **steps):
    """Return two rows for each network: against the bare loop, and against timm's procedure."""
    if device == "cuda" and not torch.cuda.is_available():
        print("  no CUDA device here: no rows", file=sys.stderr)
        return []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = jpegs(root / "images", n_images, PHOTOGRAPH)
        for network in networks:
            spec = ModelSpec(name="network", source=f"timm:{network}", weights="random:0")
            settings = {"batch_size": batch_size, "precision": precision}
            extraction([spec], data, device, root / f"warm-{network}", **settings)
            report = extraction([spec], data, device, root / network, **settings)
            print(f"  {network}: {report.stages}", file=sys.stderr)
            dtype = getattr(torch, precision)
            for what, rate, bar in (
                ("bare forward loop", bare_loop(spec, device, n_images, batch_size=batch_size, precision=dtype), 0.9),
                (
                    "timm's benchmark",
                    timm_procedure(network, device, batch_size=batch_size, precision=dtype, **steps),
                    None,
                ),
            ):
                rows.append(
                    Row(
                        what=f"{network} at 224, mixed with {precision}, batch {batch_size}: {n_images:,} photographs",
                        ours=f"{report.images_per_s:,.0f} images/s",
                        baseline=f"{what} {rate:,.0f} images/s",
                        ratio=report.images_per_s / rate,
                        bar=bar,
                    )
                )
    return rows
