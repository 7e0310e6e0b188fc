"""Several networks, views, shards and neurons in one pass: the values of each alone, and each image decoded once."""

import gc
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from extract import (
    CorruptSample,
    ExtractOptions,
    KeptNeurons,
    LayerSpec,
    ModelSpec,
    NonFiniteActivations,
    OutOfDeviceMemory,
    Shard,
    TransformSpec,
    combine_jobs,
    group_jobs,
    load_model,
    make_transform,
    open_samples,
    plan_extraction,
    predict,
    run_extraction,
)
from extract._decode_part import decode_part
from extract._forward import ForwardPass
from extract._work import writers_of
from store import InvalidRequest, Overflow, open_store

OPTIONS = ExtractOptions(batch_size=8, device="cpu", decode_workers=2)
RESNET = ModelSpec(name="resnet", source="timm:test_resnet", weights="random:0", input_size=32)
OTHER = replace(RESNET, name="other", weights="random:1", mean=(0.5,) * 3, std=(0.25,) * 3)
LAYERS = [LayerSpec(), LayerSpec(layer="layer2", pool="flatten")]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr("store.grid.TARGET_CHUNK_BYTES", 16 * 96 * 4)


def chunk_files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("c/*/*/0"))}


def test_two_networks_share_a_decode_and_get_their_own_values(folder, tmp_path, monkeypatch):
    jobs = plan_extraction([RESNET, OTHER], [folder], LAYERS, OPTIONS)
    assert group_jobs(jobs) == (jobs,)
    for job in jobs:
        run_extraction(job, str(tmp_path / "alone"), OPTIONS)
    seen, lock = [], threading.Lock()
    opened = open_samples(folder, "train")
    image = type(opened).image

    def counted(self, i):
        with lock:
            seen.append(i)
        return image(self, i)

    monkeypatch.setattr(type(opened), "image", counted)
    told = []
    report = run_extraction(jobs, str(tmp_path / "together"), OPTIONS, progress=lambda *a: told.append(a))
    assert sorted(seen) == list(range(40))
    assert (report.n_decoded, report.n_forwarded, report.complete) == (40, 80, True)
    assert report.ids == (*jobs[0].ids, *jobs[1].ids)
    assert told[-1] == (80, 80)
    assert "resnet, other / pets / train" in report.name
    assert "80 images at" in report.stages
    assert chunk_files(tmp_path / "together") == chunk_files(tmp_path / "alone")
    assert (
        len({f.tobytes() for f in (open_store(tmp_path / "alone").features.open(j.ids[0]).numpy() for j in jobs)}) == 2
    )


def test_networks_that_see_other_pixels_are_not_grouped(folder, toys):
    small, grey = replace(RESNET, input_size=24), toys("Plain", arguments={"channels": 1}, mean=(0.5,), std=(0.5,))
    jobs = plan_extraction([RESNET, OTHER, small, grey], [folder], [LayerSpec()], OPTIONS)
    assert [[j.model.spec.name for j in g] for g in group_jobs(jobs)] == [["resnet", "other"], ["resnet"], ["Plain"]]
    other = plan_extraction([RESNET], [replace(folder, classes=("dog", "cat"))], [LayerSpec()], OPTIONS)
    paper = [
        plan_extraction([RESNET], [folder], [LayerSpec()], OPTIONS, transform=TransformSpec(name="paper", seed=seed))[0]
        for seed in (0, 1)
    ]
    for two in ([jobs[0], *other], [jobs[0], jobs[2]], [jobs[0], jobs[3]], paper):
        with pytest.raises(InvalidRequest, match="do not see the same images"):
            run_extraction(two, "unused", OPTIONS)


def test_huge_networks_are_not_on_the_device_at_once(folder, monkeypatch):
    monkeypatch.setattr("extract.grouping.MOST_GROUP_PARAMETERS", 10)
    assert len(group_jobs(plan_extraction([RESNET, OTHER], [folder], [LayerSpec()], OPTIONS))) == 2


def test_chunks_that_are_open_at_once_fit_the_memory(folder, monkeypatch):
    views = TransformSpec(name="paper", views=3)
    jobs = plan_extraction([RESNET, OTHER], [folder], LAYERS, OPTIONS, transform=views)
    grids = [
        w.grid
        for w in writers_of(jobs[0], open_store("memory://", create=True), open_samples(folder, "train"), OPTIONS)
    ]
    both = 2 * 3 * sum(g.chunk_rows * g.width * 4 for g in grids)
    for most, n_groups in ((both, 1), (both - 1, 2)):
        monkeypatch.setattr("extract.grouping.MOST_GROUP_BYTES", most)
        assert len(group_jobs(jobs)) == n_groups


def test_networks_with_batch_sizes_of_their_own_share_a_decode(folder, tmp_path, monkeypatch):
    options, sizes = replace(OPTIONS, batch_size=None), (16, 4)
    jobs = plan_extraction([RESNET, OTHER], [folder], LAYERS, options)
    for job, size in zip(jobs, sizes, strict=True):
        monkeypatch.setattr("extract._measure.CPU_BATCH", size)
        for place in ("alone", "s"):
            run_extraction(job, str(tmp_path / place), options)
        for i in job.ids:  # what is left is the batch size
            open_store(tmp_path / "s").features.forget(i)
    monkeypatch.setattr("extract._measure.CPU_BATCH", 8)
    told = []
    report = run_extraction(jobs, str(tmp_path / "s"), options, progress=lambda *a: told.append(a))
    assert (report.n_decoded, report.n_forwarded, report.batch_size) == (40, 80, 4)
    assert [done for done, _ in told] == [16, 20, 24, 28, 32, 48, 52, 56, 60, 64, 72, 76, 80]
    assert {total for _, total in told} == {80}
    assert chunk_files(tmp_path / "s") == chunk_files(tmp_path / "alone")


@pytest.mark.parametrize("transform", ["paper", "as-released"])
def test_views_are_those_of_the_transform_whatever_the_batch_and_workers(folder, tmp_path, transform):
    spec = TransformSpec(name=transform, views=3, seed=7)
    (job,) = plan_extraction([RESNET], [folder], [LayerSpec()], OPTIONS, transform=spec)
    report = run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert (report.n_decoded, report.n_forwarded) == (40, 120)
    features = open_store(tmp_path / "s").features.open(job.ids[0])
    assert (features.n_views, features.key.transform_seed) == (3, 7)
    loaded, samples = load_model(RESNET), open_samples(folder, "train")
    made = make_transform(job.transform, input_size=32, mean=loaded.mean, std=loaded.std, seed=7)
    loaded.module.reset_classifier(0)
    for view in range(3):
        pixels = np.stack([made.pixels(samples.image(i), row=i, view=view) for i in range(40)])
        with torch.inference_mode():
            expected = loaded.module(made.normaliser("cpu")(torch.from_numpy(pixels)))
        np.testing.assert_allclose(features.numpy(view), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert len({features.numpy(v).tobytes() for v in range(3)}) == 3
    options = replace(OPTIONS, decode_workers=1)
    run_extraction(job, str(tmp_path / "again"), options)
    assert chunk_files(tmp_path / "again") == chunk_files(tmp_path / "s")


def test_a_seed_and_a_number_of_views_are_other_representations(folder):
    def ids(**settings):
        return plan_extraction([RESNET], [folder], [LayerSpec()], OPTIONS, transform=TransformSpec(**settings))[0].ids

    found = [ids(), ids(name="paper"), ids(name="paper", seed=1), ids(name="paper", views=2), ids(name="as-released")]
    assert len(set(found)) == 5
    assert ids(seed=3) == ids()  # the test transform has no randomness
    with pytest.raises(InvalidRequest, match="views"):
        ids(views=2)


def test_decoding_processes_give_the_same_bytes(folder, tmp_path):
    (job,) = plan_extraction([RESNET], [folder], LAYERS, OPTIONS)
    run_extraction(job, str(tmp_path / "threads"), OPTIONS)
    report = run_extraction(job, str(tmp_path / "processes"), replace(OPTIONS, decoders="processes"))
    assert chunk_files(tmp_path / "threads") == chunk_files(tmp_path / "processes")
    assert min(report.decode_s, report.transform_s) > 0


def test_errors_come_back_from_decoding_processes(folder, tmp_path):
    path = Path(folder.source.partition(":")[2]) / "train" / "cat" / "011.jpg"
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(len(content) - 200))
    (job,) = plan_extraction([RESNET], [folder], [LayerSpec()], OPTIONS)
    with pytest.raises(CorruptSample, match=r"cat.011\.jpg can't be decoded"):
        run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, decoders="processes"))
    report = run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, decoders="processes", on_corrupt="mask"))
    assert report.masked == ("cat/011.jpg",)


def test_a_part_stops_when_nobody_waits(folder):
    samples, loaded = open_samples(folder, "train"), load_model(RESNET)
    made = make_transform("test-v1", input_size=32, mean=loaded.mean, std=loaded.std)
    out = np.full((1, 4, 32, 32, 3), 7, np.uint8)
    left = iter([False, True])
    decode_part(samples, made, range(4), (0,), out, mask=False, stopped=lambda: next(left))
    assert (out[0, 0] != 7).any()
    assert (out[0, 1:] == 7).all()


@pytest.mark.parametrize("count", [2, 5])
def test_shards_write_disjoint_chunks_and_the_last_one_seals(folder, tmp_path, count):
    (job,) = plan_extraction([RESNET], [folder], LAYERS, OPTIONS)
    run_extraction(job, str(tmp_path / "whole"), OPTIONS)
    n_chunks = 0
    for i in reversed(range(count)):
        assert open_store(tmp_path / "s", create=True).features.status(job.ids[0]) != "complete"
        report = run_extraction(job, str(tmp_path / "s"), OPTIONS, shard=Shard(index=i, count=count))
        n_chunks += report.n_chunks
        assert report.complete == (i == 0)
        assert (report.n_missing == 0) == (i == 0)
    assert chunk_files(tmp_path / "s") == chunk_files(tmp_path / "whole")
    assert n_chunks == len(chunk_files(tmp_path / "whole"))


def test_a_batch_that_does_not_fit_is_run_in_halves(folder, tmp_path, toys):
    (plain,) = plan_extraction([toys("Plain")], [folder], [LayerSpec()], OPTIONS)
    (greedy,) = plan_extraction([toys("Greedy")], [folder], [LayerSpec()], OPTIONS)
    report = run_extraction(greedy, str(tmp_path / "s"), OPTIONS)
    run_extraction(plain, str(tmp_path / "s"), OPTIONS)
    features = open_store(tmp_path / "s").features
    np.testing.assert_allclose(
        features.open(greedy.ids[0]).numpy(), features.open(plain.ids[0]).numpy(), rtol=1e-5, atol=1e-7
    )
    assert (report.n_forwarded, report.batch_size) == (40, 8)


def test_one_image_that_does_not_fit_says_what_to_do(folder, tmp_path, toys):
    (job,) = plan_extraction([toys("Greedy", arguments={"most": 0})], [folder], [LayerSpec()], OPTIONS)
    with pytest.raises(OutOfDeviceMemory, match=r"one image does not fit the memory of cpu"):
        run_extraction(job, str(tmp_path / "s"), OPTIONS)


def test_the_batch_size_that_was_found_is_kept(folder, tmp_path, monkeypatch):
    options = replace(OPTIONS, batch_size=None)
    (job,) = plan_extraction([RESNET], [folder], LAYERS, options)

    def stop(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr("extract._measure.CPU_BATCH", 16)
    with pytest.raises(KeyboardInterrupt):
        run_extraction(job, str(tmp_path / "s"), options, progress=stop)
    monkeypatch.setattr("extract._measure.CPU_BATCH", 32)  # another node would choose otherwise
    assert run_extraction(job, str(tmp_path / "s"), options).batch_size == 16
    run_extraction(job, str(tmp_path / "whole"), replace(options, batch_size=16))
    assert chunk_files(tmp_path / "s") == chunk_files(tmp_path / "whole")


def test_what_overflows_float16_falls_back_alone(folder, tmp_path, toys):
    options = replace(OPTIONS, dtype="float16")
    layers = [LayerSpec(), LayerSpec(layer="act")]
    spec = toys("Plain", arguments={"scale": 1e6})
    (job,) = plan_extraction([spec], [folder], layers, options)
    report = run_extraction(job, str(tmp_path / "s"), options)
    store = open_store(tmp_path / "s")
    (heir,) = report.fallbacks.values()
    assert report.fallbacks == {job.ids[0]: heir}
    assert report.ids == (heir, job.ids[1])
    assert store.features.fallback(job.ids[0]) == heir
    assert [store.features.open(i).dtype for i in report.ids] == [np.float32, np.float16]
    assert store.features.open(heir).numpy().max() > 65504
    (full,) = plan_extraction([spec], [folder], layers, OPTIONS)
    run_extraction(full, str(tmp_path / "full"), OPTIONS)
    assert np.array_equal(
        store.features.open(heir).numpy(), open_store(tmp_path / "full").features.open(full.ids[0]).numpy()
    )
    # Neither another shard that was planned before, nor what is planned with the store in mind, has anything to do.
    late = run_extraction(job, str(tmp_path / "s"), options)
    assert (late.ids, late.n_forwarded, dict(late.fallbacks)) == (report.ids, 0, dict(report.fallbacks))
    settled = combine_jobs(
        [job.model],
        [_over(job)],
        dtype="float16",
        settle=lambda k: k if store.features.fallback(k.id) is None else replace(k, dtype="float32"),
    )[0]
    assert settled.ids == report.ids
    assert run_extraction(settled, str(tmp_path / "s"), options).n_forwarded == 0


def test_a_network_of_which_everything_overflows_is_not_run_to_the_end(digits, tmp_path, toys):
    options = replace(OPTIONS, dtype="float16")
    job, _ = plan_extraction([toys("Plain", arguments={"scale": 1e6})], [digits], [LayerSpec()], options)
    report = run_extraction(job, str(tmp_path / "s"), options)
    assert job.n_samples <= report.n_forwarded < 1.5 * job.n_samples
    full, _ = plan_extraction([toys("Plain", arguments={"scale": 1e6})], [digits], [LayerSpec()], OPTIONS)
    assert report.ids == full.ids
    run_extraction(full, str(tmp_path / "full"), OPTIONS)
    assert chunk_files(tmp_path / "s") == chunk_files(tmp_path / "full")


def test_a_complete_representation_does_not_fall_back(folder, tmp_path, toys, monkeypatch):
    options = replace(OPTIONS, dtype="float16")
    (job,) = plan_extraction([toys("Plain")], [folder], [LayerSpec()], options)
    done = run_extraction(job, str(tmp_path / "s"), options)
    features = open_store(tmp_path / "s").features
    # A double that began before it was complete, and whose device rounds a value up beyond float16.
    monkeypatch.setattr("store.features.FeatureStore.status", lambda *a: "partial")
    monkeypatch.setattr("store.FeatureWriter.missing", lambda self: self.grid.cells() if not late else [])

    def beyond(self, *args, **settings):
        late.append(True)
        raise Overflow("a value of 65520 does not fit float16")

    late = []
    monkeypatch.setattr("store.FeatureWriter.write_chunk", beyond)
    report = run_extraction(job, str(tmp_path / "s"), options)
    assert late
    assert (report.ids, report.complete, dict(report.fallbacks)) == (done.ids, True, {})
    assert features.open(job.ids[0]).dtype == np.float16


def test_what_overflows_float32_is_an_error(folder, tmp_path, toys, monkeypatch):
    monkeypatch.setattr("extract._chunk_writer.ChunkAssembler._check_finite", lambda *a: None)
    monkeypatch.setattr("store._feature_writer.FLOAT16_MAX", 65504.0)

    def beyond(self, *args, **settings):
        raise Overflow("a value of 1e39 does not fit float32")

    monkeypatch.setattr("store.FeatureWriter.write_chunk", beyond)
    (job,) = plan_extraction([toys("Plain")], [folder], [LayerSpec()], OPTIONS)
    with pytest.raises(Overflow, match="does not fit float32"):
        run_extraction(job, str(tmp_path / "s"), OPTIONS)


def test_only_the_neurons_that_are_wanted_are_stored(folder, tmp_path):
    layers = [LayerSpec(), LayerSpec(layer="layer2", pool="flatten", keep="subsets")]
    (whole,) = plan_extraction([RESNET], [folder], LAYERS, OPTIONS)
    width = whole.layers[1].layer.width
    neurons = np.sort(np.random.default_rng(0).permutation(width)[: width // 5]).astype(np.int64)
    digest = open_store(tmp_path / "s", create=True).neuron_sets.put(neurons, width)
    with pytest.raises(InvalidRequest, match="say which neurons to keep"):
        plan_extraction([RESNET], [folder], layers, OPTIONS)
    (job,) = plan_extraction(
        [RESNET], [folder], layers, OPTIONS, kept=lambda w: KeptNeurons(digest=digest, n=len(neurons))
    )
    assert job.ids[0] == whole.ids[0]
    assert job.ids[1] != whole.ids[1]
    assert job.n_bytes < whole.n_bytes
    run_extraction(job, str(tmp_path / "s"), OPTIONS)
    run_extraction(whole, str(tmp_path / "whole"), OPTIONS)
    gathered = open_store(tmp_path / "s").features.open(job.ids[1])
    all_of_it = open_store(tmp_path / "whole").features.open(whole.ids[1]).numpy()
    assert np.array_equal(gathered.numpy(), all_of_it[:, neurons])
    assert np.array_equal(gathered.neurons, neurons)
    assert (gathered.width, gathered.layer_width) == (len(neurons), width)


def test_mixed_precision_is_another_representation_near_the_first(folder, tmp_path):
    options = replace(OPTIONS, precision="bfloat16")
    (plain,), (mixed,) = (plan_extraction([RESNET], [folder], [LayerSpec()], o) for o in (OPTIONS, options))
    assert plain.ids != mixed.ids
    with pytest.raises(InvalidRequest, match="planned with precision float32, but is run with bfloat16"):
        run_extraction(plain, str(tmp_path / "s"), options)
    run_extraction(plain, str(tmp_path / "s"), OPTIONS)
    run_extraction(mixed, str(tmp_path / "s"), options)
    a, b = (open_store(tmp_path / "s").features.open(j.ids[0]).numpy() for j in (plain, mixed))
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(b, a, atol=0.05 * np.abs(a).max())


def test_compiling_is_another_representation(folder):
    (plain,), (compiled,) = (
        plan_extraction([RESNET], [folder], [LayerSpec()], o) for o in (OPTIONS, replace(OPTIONS, compiled=True))
    )
    assert plain.ids != compiled.ids
    assert compiled.layers[0].key.precision == "float32+compile"


def test_values_beyond_half_precision_say_so(folder, tmp_path, toys):
    options = replace(OPTIONS, precision="float16")
    (job,) = plan_extraction([toys("Plain", arguments={"scale": 1e6})], [folder], [LayerSpec(layer="fc")], options)
    with pytest.raises(NonFiniteActivations, match="precision: bfloat16"):
        run_extraction(job, str(tmp_path / "s"), options)


@pytest.mark.slow
def test_a_compiled_network_is_recorded_as_it_is_and_let_go(folder, tmp_path, toys, monkeypatch):
    layers = [LayerSpec(), LayerSpec(layer="act"), LayerSpec(layer="conv", pool="flatten")]
    options, held = replace(OPTIONS, compiled=True), []
    (plain,), (compiled,) = (plan_extraction([toys("Plain")], [folder], layers, o) for o in (OPTIONS, options))

    def noted(spec):
        loaded = load_model(spec)
        held.append(weakref.ref(loaded.module))
        return loaded

    monkeypatch.setattr("extract._work.load_model", noted)
    run_extraction(compiled, str(tmp_path / "s"), options)
    run_extraction(plain, str(tmp_path / "s"), OPTIONS)
    gc.collect()
    assert [ref() for ref in held] == [None, None]
    features = open_store(tmp_path / "s").features
    for a, b in zip(compiled.ids, plain.ids, strict=True):
        np.testing.assert_allclose(features.open(a).numpy(), features.open(b).numpy(), rtol=1e-4, atol=1e-5)


def test_rates_predict_what_is_to_come(folder, digits, tmp_path):
    options = replace(OPTIONS, batch_size=64)
    train, test = plan_extraction([RESNET], [digits], [LayerSpec()], options)
    store = open_store(tmp_path / "s", create=True)
    assert predict([train, test], store) is None
    run_extraction(train, store.url, options)
    prediction = predict([test], store)
    assert prediction.device == "cpu"
    assert prediction.n_measured == 1
    rate = store.rates.all("extraction")[0]["images_per_s"]
    assert prediction.seconds == pytest.approx(597 / rate)
    (unseen,) = plan_extraction([replace(RESNET, input_size=64)], [folder], [LayerSpec()], options)
    longer = predict([unseen], store)
    assert longer.n_measured == 0
    speed = store.rates.all("extraction")[0]["flop_per_s"]
    assert longer.seconds == pytest.approx(40 * unseen.model.flop / speed)
    assert unseen.model.flop > 3 * test.model.flop > 0


def test_a_prediction_counts_the_waiting_for_pixels_and_not_the_first_batch(digits, tmp_path, monkeypatch, toys):
    job, _ = plan_extraction([toys("Plain")], [digits], [LayerSpec()], OPTIONS)
    decoded, launched = type(open_samples(digits, "train")).image, ForwardPass._outputs

    def slow(self, i):
        time.sleep(0.001)
        return decoded(self, i)

    def slow_at_first(self, pixels):
        if not self.n_first:
            time.sleep(3)
        return launched(self, pixels)

    monkeypatch.setattr(type(open_samples(digits, "train")), "image", slow)
    monkeypatch.setattr(ForwardPass, "_outputs", slow_at_first)
    report = run_extraction(job, str(tmp_path / "s"), OPTIONS)
    predicted = predict([job], open_store(tmp_path / "s"))
    assert 0.5 * (report.elapsed_s - 3) < predicted.seconds < 1.1 * (report.elapsed_s - 3)


def _over(job):
    from extract import SplitPass

    return SplitPass(split=job.split)
