"""Sets of neurons: which neurons of a huge layer are kept, named by their content.

neurons/<digest>.int64     little-endian int64: the layer's width, then the indices, ascending

The digest is the sha256 of the object's bytes (behind a word that says what they are), so the name is the checksum, and
a set that is put twice is one object. `RepresentationKey.neurons` is this digest.
"""

import hashlib
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from store._reread import Checked, reread
from store.errors import Corrupt, InvalidRequest, NotFound
from store.objects import ObstoreObjects

ROOT = "neurons"
"""Folder of all sets."""

_WHAT = b"drfarm neuron set 1\0"
"""Goes into the digest before the bytes: another layout would have other digests."""

_NAME = re.compile(rf"{ROOT}/([0-9a-f]{{64}})\.int64\Z")


class NeuronSets:
    """Sets of neurons below one root. Made by `open_store`."""

    def __init__(self, objects: ObstoreObjects) -> None:
        self._objects = objects

    def put(self, indices: NDArray[np.int64], layer_width: int) -> str:
        """Keep a set, atomically; one that is there already is left alone.

        Parameters
        ----------
        indices
            Neurons of the layer, shape (n,), int64, ascending and distinct.
        layer_width
            Neurons of the whole layer.

        Returns
        -------
        str
            Its digest, 64 hexadecimal characters.

        Raises
        ------
        InvalidRequest
            If the indices are no such set.
        """
        data = _encoded(indices, layer_width)
        digest = _digest(data)
        if not self._objects.put_new(object_name(digest), data):
            try:
                self.get(digest)
            except (Corrupt, NotFound):  # damaged, or removed since
                self._objects.put(object_name(digest), data)
        return digest

    def get(self, digest: str) -> tuple[NDArray[np.int64], int]:
        """Return a set's indices, shape (n,), int64, ascending, and the width of the whole layer.

        Raises
        ------
        NotFound
            If there is no such set.
        Corrupt
            If it is not what was written; the message names the object.
        """
        name = object_name(digest)
        try:
            data = self._objects.get(name)
        except NotFound:
            raise NotFound(
                f"{self._objects.url}: there is no set of neurons {digest}. Plan its study again: that puts it there."
            ) from None
        if _digest(data) != digest:
            raise Corrupt(
                f"{self._objects.url}: {name} is not what was written (its digest is {_digest(data)[:12]}...). Run "
                "`drfarm store verify --discard` and then the study again: it is made anew."
            )
        values = np.frombuffer(data, "<i8").astype(np.int64)
        return values[1:], int(values[0])

    def digests(self) -> list[str]:
        """Return the sets that are kept, in order."""
        return [m[1] for o in self._objects.list(ROOT) if (m := _NAME.match(o.key))]

    def check(self) -> Iterator[Checked]:
        """Re-read every set.

        Yields
        ------
        Checked
            Name of the object; what is wrong with it, None where it is what was written; what removes it: planning a
            study that needs it puts it there again.
        """
        yield from reread(self._objects, ROOT, self._reread)

    def _reread(self, name: str) -> None:
        match = _NAME.match(name)
        if match is None:
            raise Corrupt(f"{name} is no name of a set of neurons; drfarm did not write it.")
        self.get(match[1])


def digest_of(indices: NDArray[np.int64], layer_width: int) -> str:
    """Return the digest of a set, as `NeuronSets.put` does, without a store. Pure.

    Parameters
    ----------
    indices
        Neurons of the layer, shape (n,), int64, ascending and distinct.
    layer_width
        Neurons of the whole layer.

    Raises
    ------
    InvalidRequest
        If the indices are no such set.
    """
    return _digest(_encoded(indices, layer_width))


def object_name(digest: str) -> str:
    """Return where a set is; `InvalidRequest` where ``digest`` is none."""
    name = f"{ROOT}/{digest}.int64"
    if not _NAME.match(name):
        raise InvalidRequest(f"{digest!r} is no digest of neurons: expected 64 hexadecimal characters.")
    return name


def _digest(data: bytes) -> str:
    return hashlib.sha256(_WHAT + data).hexdigest()


def _encoded(indices: NDArray[np.int64], layer_width: int) -> bytes:
    chosen = np.asarray(indices)
    if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu":
        raise InvalidRequest(
            f"a set of neurons is a list of at least one index, got {chosen.dtype} of shape {chosen.shape}."
        )
    wide = chosen.astype(np.int64)
    if not 0 <= wide[0] <= wide[-1] < layer_width or (np.diff(wide) <= 0).any():
        raise InvalidRequest(
            f"a set of neurons is ascending, without doubles, from 0 to {layer_width - 1}; got {wide.size} indices "
            f"from {wide.min()} to {wide.max()}. Give `numpy.unique` of them."
        )
    return np.concatenate([[layer_width], wide]).astype("<i8").tobytes()
