"""Reading a complete representation; every byte is held against the ledger before it is used."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import obstore
from numpy.typing import DTypeLike, NDArray
from obstore.store import MemoryStore

from store.codecs import Checksum, Codec, checksum
from store.errors import Corrupt, InvalidRequest, NotFound
from store.grid import Grid
from store.keys import RepresentationKey
from store.ledger import ChunkEntry
from store.objects import ObstoreObjects

_READERS = min(4, os.cpu_count() or 1)
"""Threads that read one view: reading, hashing and decoding release the interpreter."""


class Features:
    """One complete representation: shape (view, sample, neuron). Made by `FeatureStore.open`."""

    def __init__(
        self,
        objects: ObstoreObjects,
        key: RepresentationKey,
        grid: Grid,
        codec: Codec,
        *,
        layer_width: int,
        classes: tuple[str, ...],
        digests: Mapping[str, str],
        entries: Mapping[tuple[int, int], ChunkEntry],
    ) -> None:
        self._objects = objects
        self._codec = codec
        self._digests = digests
        self._entries = entries
        self.key = key
        self.grid = grid
        self.layer_width = layer_width
        """Neurons of the whole layer: more than ``width`` where only some are kept."""
        self.classes = classes

    def __repr__(self) -> str:
        k = self.key
        width = f"{self.width}" if k.neurons is None else f"{self.width:,} of {self.layer_width:,}"
        return (
            f"<Features {k.model} / {k.layer} on {k.dataset} {k.split}: {self.n_views} view(s) x "
            f"{self.n_samples} samples x {width} neurons, {k.dtype}, id {self.id[:12]}>"
        )

    @property
    def id(self) -> str:
        """Content address."""
        return self.key.id

    @property
    def width(self) -> int:
        """Neurons that are stored."""
        return self.grid.width

    @property
    def n_samples(self) -> int:
        """Rows of a view, masked ones included."""
        return self.grid.n_samples

    @property
    def n_views(self) -> int:
        """Passes."""
        return self.grid.n_views

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored dtype."""
        return np.dtype(self.key.dtype)

    @property
    def nbytes(self) -> int:
        """Size of all views in memory, in bytes."""
        return self.n_views * self.n_samples * self.width * self.dtype.itemsize

    @property
    def stored_bytes(self) -> int:
        """Size of all chunks in the store, in bytes."""
        return sum(e.n_bytes for e in self._entries.values())

    def written(self, view: int) -> str:
        """Return a digest of the chunks that the ledger has of a view: other bytes under the same id have another."""
        held = [self._entries[view, chunk].checksum for chunk in range(self.grid.n_chunks)]
        return checksum(f"{self._objects.url} {view} {held}".encode())

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of each row, shape (n_samples,), int64, an index into ``classes``."""
        return np.asarray(self._small("labels"), dtype=np.int64)

    @cached_property
    def neurons(self) -> NDArray[np.int64] | None:
        """Index in the layer of each neuron that is stored, shape (width,), int64, ascending; None where all are."""
        if self.key.neurons is None:
            return None
        return np.asarray(self._small("neuron"), dtype=np.int64)

    @cached_property
    def sample_ids(self) -> list[str]:
        """Which sample each row is."""
        return [str(s) for s in self._small("sample_id")]

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """False for rows that are masked because their sample could not be decoded, shape (n_samples,)."""
        valid = np.ones(self.n_samples, dtype=bool)
        for entry in self._entries.values():
            valid[list(entry.masked)] = False
        return valid

    def numpy(
        self, view: int = 0, *, neurons: NDArray[np.int64] | None = None, dtype: DTypeLike | None = None
    ) -> NDArray[Any]:
        """Read one view, each chunk held against its checksum.

        Parameters
        ----------
        view
            Which pass, from 0.
        neurons
            Order (or subset) of what is stored to keep, as columns from 0 to width - 1, shape (k,); chosen chunk by
            chunk, so that no second copy of the representation is made.
        dtype
            Result's dtype; the stored one where it is None.

        Returns
        -------
        ndarray
            Shape (n_samples, width) or (n_samples, k), C-contiguous.

        Raises
        ------
        Corrupt
            If a chunk is not what was written, or is gone; the message names it.
        InvalidRequest
            If there is no such view or neuron.
        """
        self._check_view(view)
        if neurons is not None:
            neurons = self._checked_neurons(neurons)
        columns = self.width if neurons is None else len(neurons)
        out = np.empty((self.n_samples, columns), dtype=dtype or self.dtype)
        readers = min(_READERS, self.grid.n_chunks)

        def read(first: int) -> None:
            scratch = _Scratch()
            for chunk in range(first, self.grid.n_chunks, readers):
                start, stop = self.grid.span(chunk)
                self._read_rows(view, chunk, out[start:stop], neurons, scratch)

        if readers == 1:
            read(0)
            return out
        with ThreadPoolExecutor(readers) as pool:
            for done in [pool.submit(read, first) for first in range(readers)]:
                done.result()
        return out

    def blocks(self, view: int = 0) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Read one view chunk by chunk, each held against its checksum.

        Yields
        ------
        tuple
            Rows as (start, stop), and their activations, shape (stop - start, width), in the stored dtype.
        """
        self._check_view(view)
        scratch = _Scratch()
        for chunk in range(self.grid.n_chunks):
            start, stop = self.grid.span(chunk)
            out = np.empty((stop - start, self.width), dtype=self.dtype)
            self._read_rows(view, chunk, out, None, scratch)
            yield start, stop, out

    def check_chunk(self, view: int, chunk: int) -> None:
        """Read one chunk and hold it against the ledger; `Corrupt` names it."""
        self._read_chunk(view, chunk, np.empty((self.grid.chunk_rows, self.width), dtype=self.dtype), _Scratch())

    def dask(self, view: int = 0) -> Any:
        """Return one view as a lazy Dask array, a block a chunk, each held against its checksum when it is read."""
        import dask.array as da

        self._check_view(view)
        spans = [self.grid.span(c) for c in range(self.grid.n_chunks)]
        return da.map_blocks(
            _dask_block,
            chunks=(tuple(stop - start for start, stop in spans), (self.width,)),
            dtype=self.dtype,
            meta=np.empty((0, 0), dtype=self.dtype),
            name=f"features-{self.id}-{view}",
            features=self,
            view=view,
        )

    def xarray(self) -> Any:
        """Return an xarray data set, lazily: ``activations`` (view, sample, neuron), a Dask block a chunk.

        Coordinates of the samples are ``labels``, ``sample_id`` and, where rows are masked, ``valid``; rows are chosen
        by position, ``ds.sel(sample=slice(0, 100))``, by class, ``ds.sel(sample=ds.labels == 3)``, or by name,
        ``ds.sel(sample_id="test/000007")``, where names are unique. Where only some neurons of the layer are kept, the
        coordinate ``neuron`` holds their indices in it, and ``ds.sel(neuron=...)`` takes these. Attributes say what it
        is. Blocks are held against their checksums when they are read. Any Zarr reader opens the group at ``key.path``
        too, but looks at no ledger.
        """
        import dask.array as da
        import xarray as xr

        views = da.stack([self.dask(v) for v in range(self.n_views)])
        about = {
            "long_name": f"activations of {self.key.model} at {self.key.layer}",
            "units": "1",  # as CF conventions say that a quantity has no unit
            "model": self.key.model,
            "layer": self.key.layer,
        }
        coords: dict[str, Any] = {
            "labels": ("sample", self.labels, {"long_name": "class, an index into the attribute classes"}),
            "sample_id": ("sample", np.array(self.sample_ids, dtype=object), {"long_name": "which sample a row is"}),
        }
        if not self.valid.all():
            coords["valid"] = ("sample", self.valid, {"long_name": "false where a sample could not be decoded"})
        if self.neurons is not None:
            coords["neuron"] = ("neuron", self.neurons, {"long_name": "index in the layer"})
        dataset = xr.Dataset(
            {"activations": (("view", "sample", "neuron"), views, about)},
            coords=coords,
            attrs={**self.key.to_dict(), "id": self.id, "classes": list(self.classes)},
        )
        if len(set(self.sample_ids)) < self.n_samples:
            return dataset
        return dataset.set_xindex("sample_id")

    def chunk_object(self, view: int, chunk: int) -> str:
        """Return the name of a chunk's object in the store."""
        return f"{self.key.path}/activations/{self.grid.object_name(view, chunk)}"

    def check_small(self) -> None:
        """Hold the metadata, labels, sample ids and kept neurons against the ledger; `Corrupt` names the object."""
        for name in self._digests:
            self._small_object(name)

    def small_objects(self) -> list[str]:
        """Return the names of the objects that `check_small` looks at."""
        return list(self._digests)

    def check_small_object(self, name: str) -> None:
        """Hold one of `small_objects` against the ledger; `Corrupt` names it."""
        self._small_object(name)

    def _check_view(self, view: int) -> None:
        if not 0 <= view < self.n_views:
            raise InvalidRequest(f"{self!r}: there is no view {view}; views are 0 to {self.n_views - 1}.")

    def _checked_neurons(self, neurons: NDArray[np.int64]) -> NDArray[np.int64]:
        chosen = np.asarray(neurons)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise InvalidRequest(
                f"{self!r}: neurons must be a list of indices, got {chosen.dtype} of shape {chosen.shape}."
            )
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < self.width:
            raise InvalidRequest(f"{self!r}: neurons are 0 to {self.width - 1}, got {chosen.min()} to {chosen.max()}.")
        return chosen.astype(np.int64, copy=False)

    def _read_rows(
        self, view: int, chunk: int, out: NDArray[Any], neurons: NDArray[np.int64] | None, scratch: "_Scratch"
    ) -> None:
        """Fill ``out``, the rows of one chunk."""
        if neurons is None and out.dtype == self.dtype and len(out) == self.grid.chunk_rows:
            self._read_chunk(view, chunk, out, scratch)
            return
        block = scratch.block(self.grid.chunk_rows, self.width, self.dtype)
        self._read_chunk(view, chunk, block, scratch)
        out[:] = block[: len(out)] if neurons is None else block[: len(out), neurons]

    def _read_chunk(self, view: int, chunk: int, out: NDArray[Any], scratch: "_Scratch") -> None:
        """Fill ``out``, C-contiguous, shape (chunk_rows, width)."""
        name, entry = self.chunk_object(view, chunk), self._entries[view, chunk]
        direct = self._codec.cname is None and entry.n_bytes == out.nbytes
        data = out.reshape(-1).view(np.uint8) if direct else scratch.raw(entry.n_bytes)
        try:
            digest = Checksum()
            self._objects.read_into(name, data.data, digest.update)
        except NotFound as e:
            raise self._gone(name) from e
        self._held(name, digest.text, entry.checksum)
        if not direct:
            self._codec.decode(data.data, out)

    def _gone(self, name: str) -> Corrupt:
        return Corrupt(
            f"{self._objects.url}: {name} is in the ledger but not in the store. Run `drfarm store verify --discard` "
            "and then the study again: it is made anew."
        )

    def _held(self, name: str, got: str, expected: str) -> None:
        if got != expected:
            raise Corrupt(
                f"{self._objects.url}: {name} is not what was written (checksum {got}, the ledger has {expected}). Run "
                "`drfarm store verify --discard` and then the study again: it is made anew."
            )

    def _small_object(self, name: str) -> bytes:
        try:
            data = self._objects.get(name)
        except NotFound as e:
            raise self._gone(name) from e
        self._held(name, checksum(data), self._digests[name])
        return data

    def _small(self, array: str) -> NDArray[Any]:
        """Decode a small array from the very bytes that were held against the ledger."""
        import zarr
        from zarr.storage import ObjectStore

        memory = MemoryStore()
        path = f"{self.key.path}/{array}"
        for name in self._digests:
            if name.startswith(f"{path}/"):
                obstore.put(memory, name, self._small_object(name))
        return np.asarray(zarr.open_array(ObjectStore(memory, read_only=True), path=path, mode="r")[:])


class _Scratch:
    """Buffers of one reading thread, kept from chunk to chunk: fresh pages cost as much as the copy."""

    def __init__(self) -> None:
        self._raw: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._block: NDArray[Any] | None = None

    def raw(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return a buffer of this size; the last one is given up."""
        if len(self._raw) < n_bytes:
            self._raw = np.empty(n_bytes, np.uint8)
        return self._raw[:n_bytes]

    def block(self, rows: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a chunk to decode into; the last one is given up."""
        if self._block is None:
            self._block = np.empty((rows, width), dtype=dtype)
        return self._block


def _dask_block(*, features: Features, view: int, block_id: tuple[int, ...]) -> NDArray[Any]:
    """Read the rows of one chunk."""
    chunk = block_id[0]
    start, stop = features.grid.span(chunk)
    out = np.empty((stop - start, features.width), dtype=features.dtype)
    features._read_rows(view, chunk, out, None, _Scratch())  # noqa: SLF001 - the class's own block function
    return out
