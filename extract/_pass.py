"""One pass of several networks over one split: decode ahead, run, write whole chunks; each in threads of its own."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from extract._batches import fitting_views, plan_steps
from extract._chunk_writer import Activations, ChunkAssembler, WriterThread
from extract._decoder import DecodedBatch, Decoder
from extract._device import choose_device, default_decode_workers, torch_threads, workers_beside
from extract._forward import ForwardPass, InFlight
from extract._stopwatch import Stopwatch
from extract._work import Work
from extract.datasets import Samples
from extract.report import ExtractionReport
from extract.spec import ExtractOptions

Progress = Callable[[int, int], None]
"""Called after each batch with images done and images to do; what it raises stops the job."""


def run_pass(
    work: Sequence[Work],
    samples: Samples,
    options: ExtractOptions,
    *,
    name: str,
    progress: Progress | None,
) -> ExtractionReport:
    """Write what is missing of several networks in one pass over the images.

    Every image is decoded once for all of them, in steps that whole batches of each fill: networks may have batch
    sizes of their own. The report has no ids: a pass does not know what is complete.
    """
    import torch

    device = choose_device(options.device)
    rows = math.lcm(*(w.batch_size for w in work))
    steps = plan_steps(
        [w.spans() for w in work],
        n_samples=len(samples),
        batch_size=rows,
        views_at_once=fitting_views(rows, math.prod(work[0].transform.pixel_shape)),
    )
    assemblers = [
        [ChunkAssembler(wr, cells, samples.sample_ids) for wr, cells in zip(w.writers, w.missing, strict=True)]
        for w in work
    ]
    n_workers = options.decode_workers or default_decode_workers()
    n_threads = options.threads or torch.get_num_threads()
    decoder = Decoder(
        samples,
        work[0].transform,
        n_workers=n_workers,
        # What is asked for is what decodes.
        n_beside=None if options.decode_workers else workers_beside(device.type, n_workers, n_threads),
        mask=options.on_corrupt == "mask",
        pinned=device.type == "cuda",
        processes=options.decodes_in_processes(n_workers),
    )
    forwards = [
        ForwardPass(
            w.loaded.module,
            [w.job.layers[i].layer for i in w.layers],
            w.transform,
            device=device,
            name=w.job.name,
            kept=w.kept,
            precision=options.precision,
            compiled=options.compiled,
        )
        for w in work
    ]
    writing = WriterThread()
    elapsed, blocked = Stopwatch(), Stopwatch()
    n_done = 0
    n_total = sum(s.n_forwards for s in steps)
    masked: dict[int, None] = {}
    parts: tuple[AbstractContextManager[object], ...] = (
        elapsed,
        torch_threads(options.threads),
        decoder,
        writing,
        *forwards,
    )
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(part)
        for flight in _in_flight(decoder.decode(steps), forwards, assemblers, [w.batch_size for w in work], writing):
            decoded = flight.decoded
            values = forwards[flight.number].finish(flight.flight)
            with blocked:
                writing.put(
                    Activations(
                        assemblers=assemblers[flight.number],
                        batch=decoded.batch,
                        view=decoded.view,
                        values=values,
                        masked=decoded.masked,
                    )
                )
            n_done += len(decoded.batch)
            work[flight.number].n_forwarded += len(decoded.batch)
            masked.update(dict.fromkeys(decoded.masked))
            if progress is not None:
                progress(n_done, n_total)
    for w, forward, own in zip(work, forwards, assemblers, strict=True):
        w.forward_s, w.most_images = forward.watch.seconds, forward.most_images
        w.first_s, w.n_first = forward.first_s, forward.n_first
        w.overflows = tuple(i for i, a in zip(w.layers, own, strict=True) if a.overflow is not None)
    return ExtractionReport(
        name=name,
        ids=(),
        n_samples=len(samples),
        device=_device_name(device.type),
        batch_size=min(w.batch_size for w in work),
        n_decoded=decoder.n_decoded,
        n_forwarded=n_done,
        n_chunks=sum(a.n_written for own in assemblers for a in own),
        masked=tuple(samples.sample_ids[row] for row in masked),
        decode_s=decoder.decode_s,
        transform_s=decoder.transform_s,
        forward_s=sum(f.watch.seconds for f in forwards),
        write_s=writing.write_s,
        waiting_s=decoder.waiting_s + blocked.seconds,
        elapsed_s=elapsed.seconds,
    )


@dataclass(frozen=True, slots=True)
class _Launched:
    """A batch that a network has."""

    number: int
    decoded: DecodedBatch
    flight: InFlight


def _in_flight(
    steps: Iterable[DecodedBatch],
    forwards: Sequence[ForwardPass],
    assemblers: Sequence[Sequence[ChunkAssembler]],
    sizes: Sequence[int],
    writing: WriterThread,
) -> Iterator[_Launched]:
    """Yield launched batches, one behind: a CUDA device works on the next while the last one's results come back.

    A network is not run on where all its layers turned out to be beyond float16: nothing of it would be written.
    """
    last: _Launched | None = None
    for step in steps:
        wanted = {n for n, own in enumerate(assemblers) if any(a.overflow is None for a in own)}
        if not wanted:
            break
        for number in sorted(wanted.intersection(step.jobs)):
            for batch in step.cut(sizes[number]):
                writing.check()
                launched = _Launched(number, batch, forwards[number].launch(batch.pixels, batch.batch))
                if last is not None:
                    yield last
                last = launched
    if last is not None:
        yield last


def _device_name(kind: str) -> str:
    if kind != "cuda":
        return kind
    import torch

    return str(torch.cuda.get_device_name())
