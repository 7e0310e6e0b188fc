"""Make the small store of format 1 that must be readable for ever: run once per format, with an empty folder."""

import sys

import numpy as np

from store import FeatureStore, open_store
from store.testing import make_cka_row, make_key, make_probe_row


def write_features(features: FeatureStore, codec: str, *, chunks: int | None = None, masked: int | None = None, **key):
    writer = features.create(
        make_key(**key),
        width=5,
        labels=np.arange(7) % 3,
        sample_ids=[f"caf\u00e9/{i}.png" for i in range(7)],
        classes=["a", "b", "c"],
        codec=codec,
        rows_per_chunk=3,
    )
    values = ((np.arange(35).reshape(7, 5) - 10) / 8).astype(np.float32)
    for view, chunk in writer.missing()[:chunks]:
        start, stop = writer.span(chunk)
        rows = [masked] if masked is not None and start <= masked < stop else []
        writer.write_chunk(view, chunk, values[start:stop] + view, rows)
    if not writer.missing():
        writer.seal()


def main(url: str) -> None:
    store = open_store(url, create=True)
    write_features(store.features, "lz4", layer="a/b", dtype="float16", n_views=2)
    write_features(store.features, "zstd", layer="c", masked=4)
    write_features(store.features, "none", layer="d", chunks=1)
    for batch in range(2):
        rows = [make_probe_row(f"b{batch}", f"p{i}", accuracy=i / 4) for i in (2 * batch, 2 * batch + 1)]
        store.results.write("probes", f"b{batch}", rows)
    store.results.compact("probes")
    store.results.write("cka", "b0", [make_cka_row("b0", "c0", value=None)])
    store.results.record_failure("bad", {"error": "boom"})
    store.put_study("frozen", {"study": "frozen"})


if __name__ == "__main__":
    main(sys.argv[1])
