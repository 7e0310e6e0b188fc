"""Writing and reading a representation against np.save and np.load of the same array, page cache warm."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from rows import Row, best

from extract._allocator import keep_freed_memory
from store import RepresentationKey, open_store


def bench(*, n=163_840, width=1024):
    """Return rows for writing and reading, uncompressed and with the default codec."""
    keep_freed_memory()  # as every extraction job does
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((n, width), dtype=np.float32), 0)
    megabytes = x.nbytes / 1e6
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.npy"
        for codec in ("none", "lz4"):
            place = Path(folder) / codec
            times = [(_saved(file, x), _written(place, x, codec)) for _ in range(5)]
            save, written = (min(t) for t in zip(*times, strict=True))
            features = open_store(place).features.open(_key(0).id)
            times = [(best(lambda: np.load(file), 1), best(features.numpy, 1)) for _ in range(7)]
            load, read = (min(t) for t in zip(*times, strict=True))
            assert np.array_equal(features.numpy(), x)
            gain = "" if codec == "none" else f", {x.nbytes / features.stored_bytes:.2f} times smaller"
            for verb, ours, base, name, bar in (
                ("write", written, save, "np.save", 0.6),
                ("read", read, load, "np.load", 0.8 if codec == "none" else 0.3),
            ):
                rows.append(
                    Row(
                        what=f"{verb} {megabytes:,.0f} MB float32, codec {codec}{gain}, checksums held",
                        ours=f"{megabytes / ours:,.0f} MB/s",
                        baseline=f"{name} {megabytes / base:,.0f} MB/s",
                        ratio=base / ours,
                        bar=bar,
                    )
                )
    return rows


def _saved(file, x):
    """Return the time of np.save to a new file; the last one has just been removed, as for `_written`."""
    file.unlink(missing_ok=True)
    return best(lambda: np.save(file, x), 1)


def _written(place, x, codec):
    """Return the time of writing and sealing the rows of a new representation; its labels and metadata are there."""
    shutil.rmtree(place, ignore_errors=True)
    writer = opened(open_store(place, create=True), x, codec, 0)

    def chunks():
        writer.write_view(0, x)
        writer.seal()

    return best(chunks, 1)


def _key(number):
    return RepresentationKey(
        model="m",
        dataset="d",
        split="train",
        layer="l",
        weights="w",
        architecture="timm:x",
        arguments={},
        pool="avg",
        transform="test-v1",
        transform_seed=None,
        mean=(0.5,),
        std=(0.5,),
        input_size=32,
        dataset_fingerprint=f"f{number}",
        n_views=1,
        dtype="float32",
    )


def write(store, x, codec, number):
    """Write x as a representation and return its id."""
    writer = opened(store, x, codec, number)
    writer.write_view(0, x)
    writer.seal()
    return writer.id


def opened(store, x, codec, number):
    """Open a representation for the rows of x."""
    return store.features.create(
        _key(number), width=x.shape[1], labels=np.arange(len(x)) % 10, sample_ids=[str(i) for i in range(len(x))],
        classes=[str(c) for c in range(10)], codec=codec,
    )  # fmt: skip
