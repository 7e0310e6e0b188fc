"""What is still to be written of a job: its network loaded, its chunks listed, checked against what was planned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract._batches import Span
from extract._fingerprint import manifest_digest
from extract.datasets import Samples, open_samples
from extract.errors import InputChanged
from extract.models import LoadedModel, load_model
from extract.plan import ExtractionJob
from extract.shards import Shard, block_rows, owned_cells
from extract.spec import ExtractOptions
from extract.transforms import Transform, make_transform
from store import FeatureWriter, Store


@dataclass(slots=True, kw_only=True)
class Work:
    """One network, and what is still to be written of it."""

    job: ExtractionJob
    """The job."""
    loaded: LoadedModel
    """The network."""
    transform: Transform
    """Its pixels and normalisation."""
    writers: Sequence[FeatureWriter]
    """Of the layers that lack something."""
    layers: Sequence[int]
    """Numbers of these layers in the job."""
    missing: Sequence[Sequence[tuple[int, int]]]
    """Per writer, the (view, chunk) to write."""
    kept: Sequence[NDArray[np.int64] | None]
    """Per writer, the neurons to record; None records all."""
    batch_size: int = 0
    """Images of a batch; to be set before it runs."""
    overflows: tuple[int, ...] = ()
    """Numbers of the layers whose values turned out to be beyond float16."""
    forward_s: float = 0.0
    """Time that the calling thread spent on it."""
    n_forwarded: int = 0
    """Images that it ran."""
    first_s: float = 0.0
    """Time of its first batch, in which libraries warm up and networks are compiled."""
    n_first: int = 0
    """Images of its first batch."""
    most_images: int = 0
    """Images at once that fitted the device, where a whole batch did not; 0 where it did."""

    def spans(self) -> Iterator[Span]:
        """Yield the rows that are missing, layer by layer."""
        for writer, cells in zip(self.writers, self.missing, strict=True):
            for view, chunk in cells:
                start, stop = writer.span(chunk)
                yield Span(view=view, start=start, stop=stop)


def open_planned(job: ExtractionJob) -> Samples:
    """Open the images of a job.

    Raises
    ------
    InputChanged
        If names, labels or sizes are not those that were planned.
    """
    samples = open_samples(job.split.spec, job.split.split)
    if manifest_digest(samples) != job.split.manifest:
        raise InputChanged(
            f"{job.name}: the images are not those that were planned ({len(samples)} now, {job.n_samples} then; names, "
            "labels or sizes differ). Plan again: changed images get a new id."
        )
    return samples


def writers_of(job: ExtractionJob, store: Store, samples: Samples, options: ExtractOptions) -> list[FeatureWriter]:
    """Begin the representations of a job, or go on with them."""
    return [
        store.features.create(
            planned.key,
            width=planned.width,
            labels=samples.labels,
            sample_ids=samples.sample_ids,
            classes=samples.classes,
            codec=options.codec,
            neurons=None if planned.kept is None else store.neuron_sets.get(planned.kept.digest)[0],
            layer_width=planned.layer.width,
        )
        for planned in job.layers
    ]


def work_of(job: ExtractionJob, writers: Sequence[FeatureWriter], store: Store, shard: Shard) -> Work | None:
    """Return what a shard has still to write of a job; None where that is nothing.

    Raises
    ------
    InputChanged
        If the weights are not those that were planned.
    """
    rows = block_rows([w.grid for w in writers])
    offset = int(job.split.manifest[:8], 16)
    missing = [
        [c for c in w.missing() if c in owned]
        for w in writers
        for owned in [owned_cells(w.grid, shard, block_rows=rows, offset=offset)]
    ]
    layers = [i for i, cells in enumerate(missing) if cells]
    if not layers:
        return None
    kept = [job.layers[i].kept for i in layers]
    return Work(
        job=job,
        loaded=_load_planned(job),
        transform=make_transform(
            job.transform,
            input_size=job.model.input_size,
            mean=job.model.mean,
            std=job.model.std,
            seed=job.transform_seed,
        ),
        writers=[writers[i] for i in layers],
        layers=layers,
        missing=[missing[i] for i in layers],
        kept=[None if k is None else store.neuron_sets.get(k.digest)[0] for k in kept],
    )


def _load_planned(job: ExtractionJob) -> LoadedModel:
    loaded = load_model(job.model.spec)
    if loaded.weights != job.model.weights:
        raise InputChanged(
            f"{job.name}: the weights are not those that were planned ({loaded.weights[:12]}... now, "
            f"{job.model.weights[:12]}... then). Plan again: changed weights get a new id."
        )
    return loaded
