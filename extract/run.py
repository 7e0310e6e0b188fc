"""Make the representations of a group of jobs complete in the store, or the part of them that a shard owns.

Idempotent: what is there is not made again, and a rerun on the same device with the same batch size and number of
threads writes the same bytes. Many processes may write one representation: each writes chunks that are its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from extract._device import choose_device
from extract._measure import settled_batch_size
from extract._pass import Progress, run_pass
from extract._work import Work, open_planned, work_of, writers_of
from extract.datasets import Samples
from extract.grouping import what_it_sees
from extract.plan import ExtractionJob, PlannedLayer, in_float32
from extract.rates import keep_rates
from extract.report import ExtractionReport
from extract.shards import Shard
from extract.spec import ExtractOptions
from extract.transforms import Transform
from store import InvalidRequest, NotFound, Store, open_store

WHOLE = Shard(index=0, count=1)
"""All of an extraction."""


def run_extraction(
    jobs: ExtractionJob | Sequence[ExtractionJob],
    store_url: str,
    options: ExtractOptions,
    progress: Progress | None = None,
    *,
    shard: Shard = WHOLE,
) -> ExtractionReport:
    """Make the representations of a job, or of a group of jobs, complete in the store, and return what it took.

    Parameters
    ----------
    jobs
        From `plan_extraction` or `combine_jobs`; several of one group of `group_jobs`.
    store_url
        Store to write to; made where there is none.
    options
        How to run; its dtype and precision must be the jobs'.
    progress
        Called from the calling thread with images done and to do.
    shard
        The part of the chunks to write; the last shard to end makes the representations readable.

    Raises
    ------
    InvalidRequest
        If the options contradict a job or the machine, or the weights or images are not those that were planned.
    ExtractError
        If an image or a network's output is unusable. Chunks that were finished stay.
    StoreError
        If the store refuses, or a value does not fit float32.
    """
    group = (jobs,) if isinstance(jobs, ExtractionJob) else tuple(jobs)
    _check(group, store_url, options)
    store = open_store(store_url, create=True)
    done = ExtractionReport(name=_name(group), ids=(), n_samples=group[0].n_samples)
    # Another shard may have found out since the plan that values are beyond float16.
    fallbacks = {i: heir for job in group for i in job.ids if (heir := store.features.fallback(i)) is not None}
    group = tuple(_fallen_back(job, fallbacks) for job in group)
    while True:
        report, again = _run(group, store, options, progress, shard)
        done = _sum(done, report)
        if not again:
            break
        fallbacks |= again
        group = tuple(_fallen_back(job, again) for job in group)
    return replace(done, ids=report.ids, complete=report.complete, n_missing=report.n_missing, fallbacks=fallbacks)


def _check(group: Sequence[ExtractionJob], store_url: str, options: ExtractOptions) -> None:
    for job in group:
        for planned in job.layers:
            if planned.key.dtype != options.dtype and not _has_fallen_back(planned, store_url, options):
                raise InvalidRequest(
                    f"{job.name}: the job was planned with dtype {planned.key.dtype}, but is run with {options.dtype}; "
                    "plan and run with the same options."
                )
        if job.precision != options.arithmetic:
            raise InvalidRequest(
                f"{job.name}: the job was planned with precision {job.precision}, but is run with "
                f"{options.arithmetic}; plan and run with the same options."
            )
        if what_it_sees(job) != what_it_sees(group[0]):
            raise InvalidRequest(f"{job.name} and {group[0].name} do not see the same images: run them by themselves.")
    if options.device == "cuda":
        choose_device(options.device)  # refuse before anything is written


def _has_fallen_back(planned: PlannedLayer, store_url: str, options: ExtractOptions) -> bool:
    """Say whether a representation was asked for in float16, and the store has it in float32: it overflowed."""
    if options.dtype != "float16":
        return False
    try:
        fallback = open_store(store_url).features.fallback(replace(planned.key, dtype="float16").id)
    except NotFound:
        return False
    return fallback == planned.key.id


def _run(
    group: Sequence[ExtractionJob], store: Store, options: ExtractOptions, progress: Progress | None, shard: Shard
) -> tuple[ExtractionReport, dict[str, str]]:
    """Write what is missing; and return the representations that turned out to be beyond float16, with their heirs."""
    features = store.features
    ids = tuple(i for job in group for i in job.ids)
    report = ExtractionReport(name=_name(group), ids=ids, n_samples=group[0].n_samples)
    open_jobs = [job for job in group if any(features.status(i) != "complete" for i in job.ids)]
    if not open_jobs:
        return report, {}
    samples = open_planned(open_jobs[0])
    writers = [writers_of(job, store, samples, options) for job in open_jobs]
    again: dict[str, str] = {}
    found = [work_of(job, own, store, shard) for job, own in zip(open_jobs, writers, strict=True)]
    works = [work for work in found if work is not None]
    for work in works:
        work.batch_size = settled_batch_size(work, store, options)
    if works:
        _let_device_resize(works, samples, options)
        report = run_pass(works, samples, options, name=report.name, progress=progress)
        keep_rates(store, works, report)
    for planned in [w.job.layers[layer] for w in works for layer in w.overflows]:
        heir = in_float32(planned).key.id
        if features.fall_back(planned.key.id, heir, reason="a value is beyond float16 (65504)") == heir:
            again[planned.key.id] = heir
    n_missing = 0
    for job, own in zip(open_jobs, writers, strict=True):
        for planned, writer in zip(job.layers, own, strict=True):
            if planned.key.id in again:
                continue
            left = len(writer.missing())
            n_missing += left
            if not left:
                writer.seal()
    return replace(report, ids=ids, complete=not n_missing, n_missing=n_missing), again


def _let_device_resize(works: Sequence[Work], samples: Samples, options: ExtractOptions) -> None:
    """Let the device resize, where all images have one size and that wins; it changes no value."""
    if samples.image_size is None:
        return
    device = choose_device(options.device)
    for work in works:  # all of them or none: what decides it is the same for a group
        moved: Transform = work.transform.on_device(samples.image_size)
        if moved.wins_on(device.type):
            work.transform = moved


def _fallen_back(job: ExtractionJob, heirs: Mapping[str, str]) -> ExtractionJob:
    return replace(job, layers=tuple(in_float32(p) if p.key.id in heirs else p for p in job.layers))


def _name(group: Sequence[ExtractionJob]) -> str:
    if len(group) == 1:
        return group[0].name
    models = ", ".join(j.model.spec.name for j in group)
    return f"{models} / {group[0].name.partition(' / ')[2]}"


_ADDED = ("n_decoded", "n_forwarded", "n_chunks", "decode_s", "transform_s", "forward_s", "write_s", "waiting_s",
          "elapsed_s")  # fmt: skip


def _sum(a: ExtractionReport, b: ExtractionReport) -> ExtractionReport:
    """Return two reports of one group as one."""
    sizes = [r.batch_size for r in (a, b) if r.batch_size]
    return replace(
        a,
        **{name: getattr(a, name) + getattr(b, name) for name in _ADDED},
        device=b.device or a.device,
        batch_size=min(sizes, default=0),
        masked=tuple(dict.fromkeys((*a.masked, *b.masked))),
    )
