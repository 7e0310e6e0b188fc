import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from extract import CorruptSample, DatasetSpec, InvalidDataset, SampleUnreadable, fingerprint, open_samples
from extract._fingerprint import manifest_digest
from store import UnknownName


def folder_spec(root, *splits, **settings):
    roles = dict(zip(("train", "test", "val"), splits or ("train",), strict=False))
    return DatasetSpec(name="d", source=f"folder:{root}", splits=roles, **settings)


def npz_spec(path, *splits, **settings):
    roles = dict(zip(("train", "test"), splits or ("train",), strict=False))
    return DatasetSpec(name="d", source=f"npz:{path}", splits=roles, **settings)


def test_folder_is_sorted_and_nested(tmp_path, write_images):
    write_images(tmp_path, {"train": {"dog": 2, "cat": 1, "cat/more": 1}})
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / "train" / "dog" / "001.png").rename(tmp_path / "train" / "dog" / "001.PNG")
    samples = open_samples(folder_spec(tmp_path), "train")
    assert samples.classes == ("cat", "dog")
    assert samples.sample_ids == ("cat/000.png", "cat/more/000.png", "dog/000.png", "dog/001.PNG")
    assert samples.labels.dtype == np.int64
    assert samples.labels.tolist() == [0, 0, 1, 1]
    assert samples.image(2).size == (11, 9)
    assert samples.content(2) == (tmp_path / "train" / "dog" / "000.png").read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "bmp", "webp", "ppm", "tif"])
def test_folder_reads_every_format(tmp_path, suffix, write_images):
    write_images(tmp_path, {"train": {"a": 1, "b": 1}}, suffix=suffix)
    samples = open_samples(folder_spec(tmp_path), "train")
    assert [samples.image(i).convert("RGB").size for i in range(len(samples))] == [(11, 9)] * 2


def test_folder_refusals(tmp_path, write_images):
    with pytest.raises(InvalidDataset, match="there is no folder"):
        open_samples(folder_spec(tmp_path / "absent"), "train")
    write_images(tmp_path, {"train": {"a": 1, "b": 1}, "test": {"a": 1, "c": 1, "d": 1}, "one": {"a": 3}})
    with pytest.raises(UnknownName, match="Did you mean 'train'"):
        open_samples(folder_spec(tmp_path, "trian"), "trian")
    with pytest.raises(InvalidDataset, match=r"Only in 'train': b\. Only in 'test': c, d"):
        open_samples(folder_spec(tmp_path, "train", "test"), "train")
    with pytest.raises(InvalidDataset, match="at least two classes, got 1"):
        open_samples(folder_spec(tmp_path, "one"), "one")
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(InvalidDataset, match="class 'empty' is empty"):
        open_samples(folder_spec(tmp_path), "train")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InvalidDataset, match="has no class folders"):
        open_samples(folder_spec(tmp_path, "bare"), "bare")


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png"])
def test_file_names_that_no_table_can_hold(tmp_path, write_images, name):
    write_images(tmp_path, {"train": {"a": 2, "b": 1}})
    (tmp_path / "train/a/000.png").rename(tmp_path / "train/a" / os.fsdecode(name))
    with pytest.raises(InvalidDataset, match="without control characters"):
        open_samples(folder_spec(tmp_path), "train")


def test_classes_that_are_kept_need_agree_alone(tmp_path, write_images):
    write_images(tmp_path, {"train": {"a": 1, "b": 2, "x": 1}, "test": {"a": 1, "b": 1}})
    spec = folder_spec(tmp_path, "train", "test", classes=("b", "a"))
    samples = open_samples(spec, "train")
    assert samples.classes == ("b", "a")
    assert samples.sample_ids == ("a/000.png", "b/000.png", "b/001.png")
    assert samples.labels.tolist() == [1, 0, 0]
    assert samples.content(1) == (tmp_path / "train/b/000.png").read_bytes()
    with pytest.raises(UnknownName, match="no class 'c'"):
        open_samples(folder_spec(tmp_path, classes=("a", "c")), "train")


def test_links_are_followed(tmp_path, write_images):
    write_images(tmp_path / "real", {"train": {"a": 2, "b": 1}})
    (tmp_path / "set/train/b").mkdir(parents=True)
    (tmp_path / "set/train/a").symlink_to(tmp_path / "real/train/a")
    (tmp_path / "set/train/b/x.png").symlink_to(tmp_path / "real/train/b/000.png")
    samples = open_samples(folder_spec(tmp_path / "set"), "train")
    assert samples.sample_ids == ("a/000.png", "a/001.png", "b/x.png")
    assert samples.content(2) == (tmp_path / "real/train/b/000.png").read_bytes()
    assert samples.size_bytes(2) == len(samples.content(2))
    (tmp_path / "real/train/b/000.png").unlink()
    with pytest.raises(InvalidDataset, match=r"b/x\.png can't be looked at \(No such file"):
        open_samples(folder_spec(tmp_path / "set"), "train")


def test_what_every_image_measures(tmp_path, write_images):
    """Height and width where all are known to have them; a copy in another process tells the same."""
    write_images(tmp_path, {"train": {"a": 2, "b": 1}})
    x = np.zeros((4, 5, 7, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.array([0, 1, 0, 1]))
    digits = DatasetSpec(name="d", source="sklearn:digits", splits={"train": "train"}, classes=(7, 5))
    for spec, size, stamped in (
        (folder_spec(tmp_path), None, True),
        (npz_spec(tmp_path / "a.npz"), (5, 7), True),
        (digits, (8, 8), False),
    ):
        samples = open_samples(spec, "train")
        again = pickle.loads(pickle.dumps(samples))
        assert samples.image_size == again.image_size == size
        assert size is None or np.asarray(samples.image(0)).shape[:2] == size
        assert (samples.stamp is not None) == stamped
        assert again.stamp == samples.stamp
        assert fingerprint(again) == fingerprint(samples)


def test_damage_is_told_from_refusal(tmp_path, write_images):
    write_images(tmp_path, {"train": {"a": 3, "b": 1}}, suffix="jpg", size=(64, 64))
    samples = open_samples(folder_spec(tmp_path), "train")
    whole = (tmp_path / "train/a/000.jpg").read_bytes()
    (tmp_path / "train/a/000.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train/a/001.jpg").write_bytes(b"not an image")
    (tmp_path / "train/a/002.jpg").unlink()
    with pytest.raises(CorruptSample, match=r"a/000\.jpg can't be decoded .*truncated.*on_corrupt: mask"):
        samples.image(0)
    with pytest.raises(CorruptSample, match=r"a/001\.jpg can't be decoded .*no image that Pillow knows"):
        samples.image(1)
    with pytest.raises(SampleUnreadable, match=r"a/002\.jpg can't be read \(No such file"):
        samples.image(2)


def test_digits_have_fixed_splits():
    spec = DatasetSpec(name="d", source="sklearn:digits", splits={"train": "train", "test": "test"})
    train, test = open_samples(spec, "train"), open_samples(spec, "test")
    assert (len(train), len(test)) == (1200, 597)
    assert train.classes == tuple("0123456789")
    grey = np.asarray(train.image(7))
    assert grey.dtype == np.uint8
    np.testing.assert_allclose(grey / 255, load_digits().images[7] / 16, atol=0.5 / 255)
    assert np.array_equal(test.labels, load_digits().target[1200:])
    with pytest.raises(UnknownName, match="no split of sklearn:digits 'val'"):
        open_samples(spec, "val")
    with pytest.raises(UnknownName, match="no sklearn data set 'faces'"):
        open_samples(DatasetSpec(name="d", source="sklearn:faces", splits={"train": "train"}), "train")


def test_digits_of_some_classes():
    spec = DatasetSpec(name="d", source="sklearn:digits", splits={"train": "train"}, classes=(7, 5))
    samples = open_samples(spec, "train")
    target = load_digits().target[:1200]
    assert samples.classes == ("7", "5")
    assert np.array_equal(samples.labels, (target[(target == 5) | (target == 7)] == 5).astype(int))


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 1), (6, 5, 4, 3)])
def test_npz(tmp_path, shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.array([30, 10, 20, 30, 10, 20], dtype=np.uint8))
    samples = open_samples(npz_spec(tmp_path / "a.npz"), "train")
    assert samples.classes == ("10", "20", "30")
    assert samples.labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert samples.sample_ids[:2] == ("train/000000", "train/000001")
    assert np.array_equal(np.asarray(samples.image(3)), x[3].squeeze())


@pytest.mark.parametrize(
    "arrays, error, match",
    [
        ({"x_train": np.zeros((4, 2, 2))}, InvalidDataset, r"x_train must be uint8 .* got float64; .*\* 255"),
        ({"x_train": np.zeros((4, 3, 2, 2), np.uint8)}, InvalidDataset, "channels come last"),
        ({"x_train": np.zeros((3, 2, 2), np.uint8)}, InvalidDataset, "has 3 images, but y_train has 4 labels"),
        ({"y_train": np.zeros(4)}, InvalidDataset, r"y_train must be integers .*astype\('int64'\)"),
        ({"y_train": np.zeros((4, 1), int)}, InvalidDataset, r"shape \(n,\)"),
        ({"y_train": np.zeros(4, int)}, InvalidDataset, "at least two classes, got 1"),
        ({"y_test": np.array([0, 1, 2])}, InvalidDataset, "Only in 'test': 2"),
        ({"y_train": np.array([0, 1, "a", None], dtype=object)}, InvalidDataset, "Arrays of Python objects"),
    ],
)
def test_npz_refusals(tmp_path, arrays, error, match):
    good = {"x_train": np.zeros((4, 2, 2), np.uint8), "y_train": np.array([0, 1, 0, 1])}
    both = "y_test" in arrays
    if both:
        good["x_test"] = np.zeros((3, 2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", **(good | arrays))
    with pytest.raises(error, match=match):
        open_samples(npz_spec(tmp_path / "a.npz", *(("train", "test") if both else ())), "train")


def test_npz_files_that_are_none(tmp_path):
    with pytest.raises(InvalidDataset, match="no such file"):
        open_samples(npz_spec(tmp_path / "a.npz"), "train")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InvalidDataset, match="not a readable npz file"):
        open_samples(npz_spec(tmp_path / "a.npz"), "train")
    np.savez(tmp_path / "b.npz", x_trian=np.zeros(1))
    with pytest.raises(UnknownName, match="Did you mean 'x_trian'"):
        open_samples(npz_spec(tmp_path / "b.npz"), "train")
    with (tmp_path / "c.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InvalidDataset, match="not a readable npz file"):
        open_samples(npz_spec(tmp_path / "c.npz"), "train")


def test_fingerprints_tell_what_changed(tmp_path, write_images):
    write_images(tmp_path / "a", {"train": {"cat": 2, "dog": 2}})
    write_images(tmp_path / "b", {"train": {"cat": 2, "dog": 2}})
    a = open_samples(folder_spec(tmp_path / "a"), "train")
    first = fingerprint(a)
    assert fingerprint(open_samples(folder_spec(tmp_path / "b"), "train")) == first  # the place does not count
    file = tmp_path / "b/train/dog/001.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    same_size = open_samples(folder_spec(tmp_path / "b"), "train")
    assert manifest_digest(same_size) == manifest_digest(a)
    assert fingerprint(same_size) != first
    file.rename(file.with_name("002.png"))
    assert manifest_digest(open_samples(folder_spec(tmp_path / "b"), "train")) != manifest_digest(a)
    kept = open_samples(folder_spec(tmp_path / "a", classes=("dog", "cat")), "train")
    assert fingerprint(kept) != first


def test_a_large_split_is_sampled_but_every_size_counts(tmp_path, monkeypatch, write_images):
    write_images(tmp_path, {"train": {"cat": 5, "dog": 4}})
    monkeypatch.setattr("extract._fingerprint.WHOLE_BYTES", 10)
    monkeypatch.setattr("extract._fingerprint.SAMPLED", 3)
    samples = open_samples(folder_spec(tmp_path), "train")
    read = []
    content = type(samples).content
    monkeypatch.setattr(type(samples), "content", lambda self, i: read.append(i) or content(self, i))
    first = fingerprint(samples)
    assert read == [0, 4, 8]
    with (tmp_path / "train/cat/001.png").open("ab") as file:
        file.write(b"x")
    assert fingerprint(open_samples(folder_spec(tmp_path), "train")) != first


def test_array_content_tells_shapes_apart(tmp_path):
    for name, shape in (("a", (4, 2, 8)), ("b", (4, 8, 2))):
        np.savez(tmp_path / f"{name}.npz", x_train=np.zeros(shape, np.uint8), y_train=np.array([0, 1, 0, 1]))
    a, b = (open_samples(npz_spec(tmp_path / f"{n}.npz"), "train") for n in "ab")
    assert fingerprint(a) != fingerprint(b)


def test_images_survive_many_threads(tmp_path, write_images):
    write_images(tmp_path, {"train": {"a": 10, "b": 10}})
    samples = open_samples(folder_spec(tmp_path), "train")
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(samples.image, list(range(20)) * 3))
    for i, image in enumerate(images):
        expected = Image.open(io.BytesIO(samples.content(i % 20)))
        assert np.array_equal(np.asarray(image), np.asarray(expected))
