"""The batch size of a job: the caller's, else what it was begun with, else the best that trials on the device find."""

import time
from typing import TYPE_CHECKING

from extract._batch_size import CPU_BATCH, find_batch_size
from extract._batches import Batch
from extract._buffers import host_tensor
from extract._device import choose_device
from extract._forward import ForwardPass
from extract._work import Work
from extract.spec import ExtractOptions
from store import Store, canonical_json, content_id

if TYPE_CHECKING:
    import torch

_RUNS = 3
"""Runs of which the fastest counts."""


def settled_batch_size(work: Work, store: Store, options: ExtractOptions) -> int:
    """Return the batch size of a job; one that is found is kept in the store, where the first to put it wins."""
    if options.batch_size is not None:
        return options.batch_size
    device = choose_device(options.device)
    name = f"batch-size/{content_id([canonical_json(sorted(work.job.ids)).decode(), device.type])[:32]}"
    held = store.settings.get(name)
    if held is None:
        size = CPU_BATCH if device.type == "cpu" else measured_batch_size(work, options, device)
        held = store.settings.put_new(name, {"batch_size": size, "device": device.type, "job": work.job.name})
    return int(held["batch_size"])


def measured_batch_size(work: Work, options: ExtractOptions, device: "torch.device") -> int:
    """Return the batch size that a network runs best with on a device, from trials."""
    forward = ForwardPass(
        work.loaded.module,
        [work.job.layers[i].layer for i in work.layers],
        work.transform,
        device=device,
        name=work.job.name,
        kept=work.kept,
        precision=options.precision,
    )

    def seconds(n: int) -> float | None:
        pixels = host_tensor((n, *work.transform.pixel_shape), pinned=device.type == "cuda").zero_()
        best = float("inf")
        for _ in range(_RUNS):
            began = time.perf_counter()
            forward.launch(pixels, Batch(start=0, stop=n)).wait()
            best = min(best, time.perf_counter() - began)
            if forward.most_images:
                forward.most_images = 0
                return None
        return best

    with forward:
        return find_batch_size(seconds)
