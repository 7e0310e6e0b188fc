import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from extract import (
    CorruptSample,
    ExtractOptions,
    InputChanged,
    LayerSpec,
    ModelSpec,
    NonFiniteActivations,
    SampleUnreadable,
    load_model,
    make_transform,
    open_samples,
    plan_extraction,
    run_extraction,
)
from extract._arrays import ArraySamples
from extract._decoder import BATCHES_AHEAD
from extract._recorder import Recorder
from store import FeatureWriter, InvalidRequest, open_store

OPTIONS = ExtractOptions(batch_size=8, device="cpu", decode_workers=2)
RESNET = ModelSpec(name="resnet", source="timm:test_resnet", weights="random:0", input_size=32)
LAYERS = [LayerSpec(), LayerSpec(layer="layer2", pool="flatten")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert [t.name for t in threading.enumerate() if t.name.startswith("drfarm-")] == []


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of a few rows, so that a split of 40 images has several; they don't line up with batches of 8."""
    monkeypatch.setattr("store.grid.TARGET_CHUNK_BYTES", 16 * 96 * 4)


def plan(model, data, layers=LAYERS, options=OPTIONS):
    return plan_extraction([model], [data], layers, options)


def chunk_files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("c/0/*/0"))}


@pytest.mark.parametrize("batch_size", [7, 8, 64])
def test_row_i_is_sample_i(folder, tmp_path, batch_size):
    (job,) = plan(RESNET, folder)
    report = run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, batch_size=batch_size))
    features = [open_store(tmp_path / "s").features.open(i) for i in job.ids]
    samples = open_samples(folder, "train")
    loaded = load_model(RESNET)
    transform = make_transform("test-v1", input_size=32, mean=loaded.mean, std=loaded.std)
    layers = [p.layer for p in job.layers]
    with Recorder(loaded.module, layers) as recorder, torch.inference_mode():
        for i in range(len(samples)):
            pixels = torch.from_numpy(transform.pixels(samples.image(i)).copy())
            loaded.module(transform.normaliser("cpu")(pixels[None]))
            for f, expected in zip(features, recorder.take(), strict=True):
                np.testing.assert_allclose(f.numpy()[i], expected[0].numpy(), rtol=1e-4, atol=1e-5)
    for f in features:
        assert list(f.sample_ids) == list(samples.sample_ids)
        assert np.array_equal(f.labels, samples.labels)
        assert np.unique(f.numpy(), axis=0).shape[0] == 40  # no two rows alike: order is really tested
    assert (report.n_forwarded, report.n_samples, report.masked) == (40, 40, ())
    assert report.n_chunks == len(chunk_files(tmp_path / "s")) > 4
    assert min(report.decode_s, report.forward_s, report.write_s, report.elapsed_s, report.images_per_s) > 0


def test_nothing_is_run_where_nothing_is_missing(folder, tmp_path, monkeypatch):
    (job,) = plan(RESNET, folder)
    run_extraction(job, str(tmp_path / "s"), OPTIONS)
    monkeypatch.setattr("extract._work.open_samples", lambda *a: pytest.fail("opened the data set"))
    monkeypatch.setattr("extract._work.load_model", lambda *a: pytest.fail("loaded the network"))
    report = run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert (report.n_forwarded, report.n_chunks, report.images_per_s) == (0, 0, 0.0)


@pytest.mark.parametrize("lost", [[(0, 1)], [(1, 0), (1, 3)], [(0, 0), (1, 2)]])
def test_chunks_that_were_lost_come_back_byte_for_byte(folder, tmp_path, lost):
    (job,) = plan(RESNET, folder)
    run_extraction(job, str(tmp_path / "s"), OPTIONS)
    whole = chunk_files(tmp_path / "s")
    features = open_store(tmp_path / "s").features
    readers = [features.open(i) for i in job.ids]
    rows = set()
    for layer, chunk in lost:
        reader = readers[layer]
        path = tmp_path / "s" / reader.chunk_object(0, chunk)
        path.write_bytes(b"lost")
        features.discard(job.ids[layer], [(0, chunk)])
        size = min(reader.grid.chunk_rows, 40)
        rows |= {b for r in range(chunk * size, min((chunk + 1) * size, 40)) for b in [r // 8]}
    report = run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert report.n_chunks == len(lost)
    assert report.n_forwarded == 8 * len(rows) < 40
    assert chunk_files(tmp_path / "s") == whole


@pytest.mark.parametrize("after", [8, 24, 32])
def test_an_interrupted_job_goes_on_where_it_stopped(folder, tmp_path, after):
    (job,) = plan(RESNET, folder)
    run_extraction(job, str(tmp_path / "undisturbed"), OPTIONS)

    def stop(done: int, total: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_extraction(job, str(tmp_path / "s"), OPTIONS, progress=stop)
    assert open_store(tmp_path / "s").features.status(job.ids[0]) == "partial"
    report = run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert report.n_forwarded <= 40
    assert chunk_files(tmp_path / "s") == chunk_files(tmp_path / "undisturbed")


def test_the_number_of_decoding_threads_changes_no_byte(folder, tmp_path):
    (job,) = plan(RESNET, folder)
    for workers in (1, 7):
        run_extraction(job, str(tmp_path / str(workers)), replace(OPTIONS, decode_workers=workers, threads=1))
    assert chunk_files(tmp_path / "1") == chunk_files(tmp_path / "7")


def test_progress_counts_images(folder, tmp_path):
    (job,) = plan(RESNET, folder)
    seen = []
    run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, batch_size=16), progress=lambda *a: seen.append(a))
    assert seen == [(16, 40), (32, 40), (40, 40)]


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_weights_from_a_file_give_the_same_features(folder, tmp_path, form):
    (job,) = plan(RESNET, folder)
    run_extraction(job, str(tmp_path / "s"), OPTIONS)
    file = tmp_path / f"weights.{form}"
    state = load_model(RESNET).module.state_dict()
    save_file(state, file) if form == "safetensors" else torch.save({"state_dict": state}, file)
    (again,) = plan(replace(RESNET, weights=str(file)), folder)
    assert again.ids != job.ids
    run_extraction(again, str(tmp_path / "s"), OPTIONS)
    features = open_store(tmp_path / "s").features
    for a, b in zip(job.ids, again.ids, strict=True):
        assert np.array_equal(features.open(a).numpy(), features.open(b).numpy())


def test_buffers_are_those_of_before(folder, tmp_path, monkeypatch, toys):
    held = []
    monkeypatch.setattr("extract._work.load_model", lambda spec: held.append(load_model(spec)) or held[-1])
    spec = toys("Plain")
    before = {k: v.clone() for k, v in load_model(spec).module.named_buffers()}
    assert "norm.running_mean" in before
    run_extraction(plan(spec, folder, [LayerSpec()])[0], str(tmp_path / "s"), OPTIONS)
    after = dict(held[0].module.named_buffers())
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value)


def test_grey_images_for_a_grey_network(digits, tmp_path, toys):
    spec = toys("Plain", arguments={"channels": 1}, mean=(0.5,), std=(0.5,))
    job = plan(spec, digits, [LayerSpec()])[1]
    run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, batch_size=64))
    assert open_store(tmp_path / "s").features.open(job.ids[0]).numpy().shape == (597, 6)


def damage(folder, *names):
    root = Path(folder.source.partition(":")[2]) / "train"
    for name in names:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:200] + bytes(len(content) - 200))  # the listing sees no difference


def test_a_corrupt_image_stops_the_job_with_its_path(folder, tmp_path):
    damage(folder, "cat/011.jpg", "dog/003.jpg")
    (job,) = plan(RESNET, folder)
    with pytest.raises(CorruptSample, match=r"cat.011\.jpg can't be decoded"):
        run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert open_store(tmp_path / "s").features.status(job.ids[0]) == "partial"


def test_a_corrupt_image_can_be_masked(folder, tmp_path):
    (job,) = plan(RESNET, folder)
    run_extraction(job, str(tmp_path / "whole"), OPTIONS)
    damage(folder, "cat/011.jpg", "dog/003.jpg")
    (job_damaged,) = plan(RESNET, folder)
    report = run_extraction(job_damaged, str(tmp_path / "s"), replace(OPTIONS, on_corrupt="mask"))
    assert report.masked == ("cat/011.jpg", "dog/003.jpg")
    for a, b in zip(job.ids, job_damaged.ids, strict=True):
        whole = open_store(tmp_path / "whole").features.open(a).numpy()
        got = open_store(tmp_path / "s").features.open(b)
        assert np.flatnonzero(~got.valid).tolist() == [11, 28]
        assert np.isnan(got.numpy()[~got.valid]).all()
        assert np.array_equal(got.numpy()[got.valid], whole[got.valid])


def test_a_file_that_is_gone_is_never_masked(folder, tmp_path, monkeypatch):
    (job,) = plan(RESNET, folder)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: read(p.with_name("gone")) if p.name == "004.jpg" else read(p))
    with pytest.raises(SampleUnreadable, match=r"cat.004\.jpg can't be read"):
        run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, on_corrupt="mask"))


def test_activations_that_are_no_numbers(digits, tmp_path, toys):
    samples = open_samples(digits, "test")
    means = np.array([np.asarray(samples.image(i)).mean() for i in range(len(samples))]) / 255 * 2 - 1
    first = int(np.argmax(means > -0.25))
    assert 8 < first < 500
    spec = toys("Poisoned", arguments={"threshold": -0.25})
    job = plan(spec, digits, [LayerSpec(layer="conv"), LayerSpec()])[1]
    message = rf"model 'Poisoned', layer 'conv': 6 of 6 activations of sample 'test/{first:06d}' \(row {first}\)"
    with pytest.raises(NonFiniteActivations, match=message):
        run_extraction(job, str(tmp_path / "s"), OPTIONS)


def test_a_network_that_fails_midway_ends_the_job(folder, tmp_path, toys):
    (job,) = plan(toys("Explodes"), folder, [LayerSpec()])
    with pytest.raises(RuntimeError, match="the device went away") as caught:
        run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert caught.value.__notes__ == ["while running Explodes / pets / train, rows 16 to 23"]


def test_a_store_that_fails_midway_ends_the_job(folder, tmp_path, monkeypatch):
    (job,) = plan(RESNET, folder)
    put = []

    def refuse(self, view, chunk, values, masked=()):
        put.append(chunk)
        raise OSError("no space left")

    monkeypatch.setattr("store.FeatureWriter.write_chunk", refuse)
    with pytest.raises(OSError, match="no space left"):
        run_extraction(job, str(tmp_path / "s"), OPTIONS)
    assert len(put) == 1


def test_a_slow_store_bounds_what_is_decoded(digits, tmp_path, monkeypatch, toys):
    job = plan(toys("Plain"), digits, [LayerSpec()])[0]
    blocked, go_on = threading.Event(), threading.Event()
    decoded = []
    write, image = FeatureWriter.write_chunk, ArraySamples.image

    def wait(*args, **settings):
        blocked.set()
        assert go_on.wait(30)
        return write(*args, **settings)

    monkeypatch.setattr(FeatureWriter, "write_chunk", wait)
    monkeypatch.setattr(ArraySamples, "image", lambda self, i: decoded.append(i) or image(self, i))
    caller = threading.Thread(target=run_extraction, args=(job, str(tmp_path / "s"), OPTIONS))
    caller.start()
    assert blocked.wait(30)
    chunk_rows = 256  # 16 x 96 float32 values, 6 a row
    # A full chunk; then a batch in the writer, two queued, one held by the caller, one in flight, some ahead.
    bound = chunk_rows + (1 + 2 + 1 + 1 + BATCHES_AHEAD) * OPTIONS.batch_size
    seen = -1
    while len(decoded) != seen:  # until the pipeline has come to rest
        seen = len(decoded)
        time.sleep(0.3)
    assert chunk_rows <= seen <= bound < 1200
    go_on.set()
    caller.join(30)
    assert not caller.is_alive()
    assert open_store(tmp_path / "s").features.status(job.ids[0]) == "complete"


def test_inputs_that_changed_since_the_plan(folder, tmp_path):
    save_file(load_model(RESNET).module.state_dict(), tmp_path / "w.safetensors")
    (job,) = plan(replace(RESNET, weights=str(tmp_path / "w.safetensors")), folder)
    save_file(load_model(replace(RESNET, weights="random:1")).module.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputChanged, match="weights are not those that were planned"):
        run_extraction(job, str(tmp_path / "s"), OPTIONS)
    root = Path(folder.source.partition(":")[2]) / "train"
    (root / "cat" / "000.jpg").rename(root / "cat" / "aaa.jpg")
    with pytest.raises(InputChanged, match="images are not those that were planned"):
        run_extraction(job, str(tmp_path / "s2"), OPTIONS)


def test_options_that_contradict(folder, tmp_path):
    (job,) = plan(RESNET, folder)
    with pytest.raises(InvalidRequest, match="planned with dtype float32, but is run with float16"):
        run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, dtype="float16"))
    if not torch.cuda.is_available():
        with pytest.raises(InvalidRequest, match="torch sees no CUDA device"):
            run_extraction(job, str(tmp_path / "s"), replace(OPTIONS, device="cuda"))
    assert not (tmp_path / "s").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu_and_with_itself(folder, tmp_path):
    (job,) = plan(RESNET, folder)
    run_extraction(job, str(tmp_path / "cpu"), OPTIONS)
    for name in ("a", "b"):
        run_extraction(job, str(tmp_path / name), replace(OPTIONS, device="cuda"))
    assert chunk_files(tmp_path / "a") == chunk_files(tmp_path / "b")
    for i in job.ids:
        cpu, cuda = (open_store(tmp_path / n).features.open(i).numpy() for n in ("cpu", "a"))
        np.testing.assert_allclose(cuda, cpu, rtol=0.02, atol=0.02 * np.abs(cpu).max())
