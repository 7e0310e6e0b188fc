"""The Zarr v3 group of a representation, built in memory by Zarr itself and then put object by object.

Putting finished objects makes creation idempotent: two nodes that open one representation write the same bytes, and
nothing that is there is ever removed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import obstore
from numpy.typing import NDArray
from obstore.store import MemoryStore

from store.codecs import Codec
from store.grid import Grid
from store.keys import RepresentationKey

FILL_VALUE = np.nan
"""A chunk that is missing reads as NaN, never as 0: layers after a ReLU hold real zeros."""


def group_objects(
    key: RepresentationKey,
    grid: Grid,
    codec: Codec,
    *,
    labels: NDArray[np.int64],
    sample_ids: Sequence[str],
    classes: Sequence[str],
    neurons: NDArray[np.int64] | None = None,
) -> dict[str, bytes]:
    """Return every object of the group but the chunks of ``activations``: full name -> bytes.

    Where only some neurons of a layer are kept, the coordinate ``neuron`` holds their indices in it.
    """
    import zarr
    from zarr.storage import ObjectStore

    memory = MemoryStore()
    group = zarr.create_group(
        ObjectStore(memory),
        path=key.path,
        attributes={**key.to_dict(), "id": key.id, "classes": list(classes)},
    )
    dtype = np.dtype(key.dtype)
    group.create_array(
        "activations",
        shape=(grid.n_views, grid.n_samples, grid.width),
        chunks=(1, grid.chunk_rows, grid.width),
        dtype=dtype,
        fill_value=FILL_VALUE,
        compressors=codec.zarr_compressors(dtype),
        dimension_names=("view", "sample", "neuron"),
    )
    one_chunk = (max(1, grid.n_samples),)
    label_array = group.create_array(
        "labels", shape=(grid.n_samples,), chunks=one_chunk, dtype="int64", dimension_names=("sample",)
    )
    label_array[:] = labels
    names: Any = np.array(list(sample_ids), dtype=np.dtypes.StringDType())
    id_array = group.create_array(
        "sample_id", shape=(grid.n_samples,), chunks=one_chunk, dtype=names.dtype, dimension_names=("sample",)
    )
    id_array[:] = names
    if neurons is not None:
        kept = group.create_array(
            "neuron", shape=neurons.shape, chunks=neurons.shape, dtype="int64", dimension_names=("neuron",)
        )
        kept[:] = neurons
    objects: dict[str, bytes] = {}
    for page in obstore.list(memory):
        for info in page:
            objects[info["path"]] = obstore.get(memory, info["path"]).bytes().to_bytes()
    return dict(sorted(objects.items()))
