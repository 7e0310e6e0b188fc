"""Run one extraction job: decode ahead, run the network, write whole chunks; each in threads of its own.

A job is idempotent: it runs the batches that missing chunks need and nothing else, and a rerun on the same device with
the same batch size and number of threads writes the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from extract._batches import needed_batches
from extract._chunk_writer import Activations, ChunkAssembler, WriterThread
from extract._decoder import DecodedBatch, Decoder
from extract._device import choose_device, default_decode_workers, torch_threads
from extract._fingerprint import manifest_digest
from extract._forward import ForwardPass, InFlight
from extract._stopwatch import Stopwatch
from extract.datasets import Samples, open_samples
from extract.errors import InputChanged
from extract.models import LoadedModel, load_model
from extract.plan import ExtractionJob
from extract.report import ExtractionReport
from extract.spec import ExtractOptions
from extract.transforms import make_transform
from store import FeatureWriter, InvalidRequest, open_store

Progress = Callable[[int, int], None]
"""Called after each batch with images done and images to do; what it raises stops the job."""


def run_extraction(
    job: ExtractionJob, store_url: str, options: ExtractOptions, progress: Progress | None = None
) -> ExtractionReport:
    """Make a job's representations complete in the store, and return what it took.

    Parameters
    ----------
    job
        From `plan_extraction` or `combine_jobs`.
    store_url
        Store to write to; made where there is none.
    options
        How to run; its dtype must be the job's.
    progress
        Called from the calling thread.

    Raises
    ------
    InvalidRequest
        If the options contradict the job or the machine, or the weights or images are not those that were planned.
    ExtractError
        If an image or the network's output is unusable. Chunks that were finished stay.
    StoreError
        If the store refuses, or a value does not fit float16.
    """
    for planned in job.layers:
        if planned.key.dtype != options.dtype:
            raise InvalidRequest(
                f"{job.name}: the job was planned with dtype {planned.key.dtype}, but is run with {options.dtype}; "
                "plan and run with the same options."
            )
    if options.device == "cuda":
        choose_device(options.device)  # refuse before anything is written
    features = open_store(store_url, create=True).features
    if all(features.status(i) == "complete" for i in job.ids):
        return ExtractionReport(name=job.name, ids=job.ids, n_samples=job.n_samples)
    samples = _open_planned(job)
    writers = [
        features.create(
            planned.key,
            width=planned.layer.width,
            labels=samples.labels,
            sample_ids=samples.sample_ids,
            classes=samples.classes,
            codec=options.codec,
        )
        for planned in job.layers
    ]
    missing = [[chunk for _, chunk in writer.missing()] for writer in writers]
    if any(missing):
        report = _run_missing(job, _load_planned(job), samples, writers, missing, options, progress)
    else:
        report = ExtractionReport(name=job.name, ids=job.ids, n_samples=job.n_samples)
    for writer in writers:
        writer.seal()
    return report


def _open_planned(job: ExtractionJob) -> Samples:
    samples = open_samples(job.split.spec, job.split.split)
    if manifest_digest(samples) != job.split.manifest:
        raise InputChanged(
            f"{job.name}: the images are not those that were planned ({len(samples)} now, {job.n_samples} then; names, "
            "labels or sizes differ). Plan again: changed images get a new id."
        )
    return samples


def _load_planned(job: ExtractionJob) -> LoadedModel:
    loaded = load_model(job.model.spec)
    if loaded.weights != job.model.weights:
        raise InputChanged(
            f"{job.name}: the weights are not those that were planned ({loaded.weights[:12]}... now, "
            f"{job.model.weights[:12]}... then). Plan again: changed weights get a new id."
        )
    return loaded


def _run_missing(
    job: ExtractionJob,
    loaded: LoadedModel,
    samples: Samples,
    writers: Sequence[FeatureWriter],
    missing: Sequence[Sequence[int]],
    options: ExtractOptions,
    progress: Progress | None,
) -> ExtractionReport:
    device = choose_device(options.device)
    transform = make_transform(job.transform, input_size=job.model.input_size, mean=job.model.mean, std=job.model.std)
    active = [i for i, chunks in enumerate(missing) if chunks]
    batches = needed_batches(
        [writers[i].span(chunk) for i in active for chunk in missing[i]],
        n_samples=len(samples),
        batch_size=options.batch_size,
    )
    assemblers = [ChunkAssembler(writers[i], missing[i], samples.sample_ids) for i in active]
    decoder = Decoder(
        samples,
        transform,
        n_workers=options.decode_workers or default_decode_workers(),
        mask=options.on_corrupt == "mask",
        pinned=device.type == "cuda",
    )
    forward = ForwardPass(loaded.module, [job.layers[i].layer for i in active], transform, device=device, name=job.name)
    writing = WriterThread(assemblers)
    elapsed, running, blocked = Stopwatch(), Stopwatch(), Stopwatch()
    n_done = 0
    n_total = sum(map(len, batches))
    masked: list[str] = []
    with ExitStack() as stack:
        for part in (elapsed, torch_threads(options.threads), decoder, writing, forward):
            stack.enter_context(part)
        for flight in _in_flight(decoder.decode(batches), forward, writing, running):
            with running:
                values = flight.wait()
            decoded = flight.decoded
            with blocked:
                writing.put(Activations(batch=decoded.batch, values=values, masked=decoded.masked))
            n_done += len(decoded.batch)
            masked += [samples.sample_ids[row] for row in decoded.masked]
            if progress is not None:
                progress(n_done, n_total)
    return ExtractionReport(
        name=job.name,
        ids=job.ids,
        n_samples=job.n_samples,
        device=str(device),
        n_forwarded=n_done,
        n_chunks=sum(a.n_written for a in assemblers),
        masked=tuple(masked),
        decode_s=decoder.decode_s,
        forward_s=running.seconds,
        write_s=writing.write_s,
        waiting_s=decoder.waiting_s + blocked.seconds,
        elapsed_s=elapsed.seconds,
    )


def _in_flight(
    batches: Iterator[DecodedBatch], forward: ForwardPass, writing: WriterThread, running: Stopwatch
) -> Iterator[InFlight]:
    """Yield launched batches, one behind: a CUDA device works on the next while the last one's results come back."""
    last: InFlight | None = None
    for decoded in batches:
        writing.check()
        with running:
            flight = forward.launch(decoded)
        if last is not None:
            yield last
        last = flight
    if last is not None:
        yield last
