"""Tar shards: which they are, what lies where in them, and what is refused."""

import io
import json
import pickle
import tarfile
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from extract import CorruptSample, DatasetSpec, InvalidDataset, SampleUnreadable, fingerprint, open_samples
from extract._tar_index import index_shard
from extract._tar_paths import find_shards
from store import UnknownName


def jpeg(number: int, suffix="jpeg") -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, {"jpg": "jpeg"}.get(suffix, suffix))
    return out.getvalue()


def write_tar(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], *, form=tarfile.GNU_FORMAT, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def pairs(numbers, labels, *, folder="") -> list[tuple[str, bytes]]:
    found = []
    for n, label in zip(numbers, labels, strict=True):
        found += [(f"{folder}{n:04d}.cls", str(label).encode()), (f"{folder}{n:04d}.jpg", jpeg(n))]
    return found


def spec(place, *splits, **settings):
    roles = dict(zip(("train", "test"), splits or ("train",), strict=False))
    return DatasetSpec(name="d", source=f"webdataset:{place}", splits=roles, **settings)


@pytest.fixture
def shards(tmp_path):
    """Write two splits of two shards each: 5 and 4 training images, 3 and 2 test images, of classes 0 to 2."""
    for split, sizes in (("train", (5, 4)), ("test", (3, 2))):
        for s, n in enumerate(sizes):
            numbers = [1000 * (split == "test") + 100 * s + 9 - i for i in range(n)]
            write_tar(tmp_path / split / f"{s:06d}.tar", pairs(numbers, [i % 3 for i in range(n)]))
    return tmp_path


def test_rows_lie_as_shards_and_tars_have_them(shards):
    samples = open_samples(spec(shards, "train", "test"), "train")
    assert samples.classes == ("0", "1", "2")
    assert samples.labels.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 0]
    assert samples.labels.dtype == np.int64
    assert samples.sample_ids[:2] == ("000000/0009.jpg", "000000/0008.jpg")
    assert samples.sample_ids[5] == "000001/0109.jpg"
    assert samples.image_size is None
    for i, number in enumerate([9, 8, 7, 6, 5, 109, 108, 107, 106]):
        assert samples.content(i) == jpeg(number)
        assert samples.size_bytes(i) == len(jpeg(number))
        assert np.array_equal(np.asarray(samples.image(i)), np.asarray(Image.open(io.BytesIO(jpeg(number)))))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_any_form_of_tar_and_any_order_of_members(tmp_path, form):
    long = f"{'a' * 90}/{'b' * 60}"  # a name that needs a header of its own
    write_tar(
        tmp_path / "train-0.tar",
        {
            "./x/1.json": b'{"label": 7, "text": "a cat"}',
            "./x/2.png": jpeg(2, "png"),
            "y/1.webp": jpeg(3, "webp"),  # another sample than x/1
            "./x/1.JPEG": jpeg(1),
            "./x/1.txt": b"a caption",
            "./x/1.seg.png": b"another picture of it",
            "y/1.cls": b" 4\n",
            "./x/2.cls": b"7",
            "./x/2.json": b'{"height": 3}',
            "dataset.json": b'{"note": "no sample"}',
            f"{long}.jpg": jpeg(5),
            f"{long}.cls": b"4",
        },
        form=form,
    )
    samples = open_samples(spec(tmp_path), "train")
    assert samples.classes == ("4", "7")
    # In the order in which a sample's first member comes.
    assert samples.sample_ids == (
        "train-0/./x/1.JPEG",
        "train-0/./x/2.png",
        "train-0/y/1.webp",
        f"train-0/{long}.jpg",
    )
    assert samples.labels.tolist() == [1, 1, 0, 0]
    assert [samples.content(i) for i in range(4)] == [jpeg(1), jpeg(2, "png"), jpeg(3, "webp"), jpeg(5)]


def test_class_names_come_from_a_file(shards):
    (shards / "classes.txt").write_text("cat\ndog\neel\n")
    samples = open_samples(spec(shards, "train", "test"), "test")
    assert samples.classes == ("cat", "dog", "eel")
    assert samples.labels.tolist() == [0, 1, 2, 0, 1]
    kept = open_samples(spec(shards, "train", "test", classes=("eel", "cat")), "test")
    assert kept.labels.tolist() == [1, 0, 1]
    (shards / "test/classes.txt").write_text("x\ny\nz\n")  # nearer
    assert open_samples(spec(shards, "test"), "test").classes == ("x", "y", "z")
    (shards / "test/classes.txt").write_text("x\ny\nz\nw\n")
    with pytest.raises(InvalidDataset, match=r"1 of 4 classes have no image: 'w'"):
        open_samples(spec(shards, "test"), "test")
    (shards / "test/classes.txt").write_text("x\ny\n")
    with pytest.raises(InvalidDataset, match=r"2 lines of classes\.txt: labels must lie in 0 to 1.*got 0 to 2"):
        open_samples(spec(shards, "test"), "test")
    (shards / "test/classes.txt").write_text("x\ny\nx\n")
    with pytest.raises(InvalidDataset, match="got twice: 'x'"):
        open_samples(spec(shards, "test"), "test")


def test_numbers_without_names_must_agree(shards):
    write_tar(shards / "test/000002.tar", pairs([1], [5]))
    with pytest.raises(InvalidDataset, match=r"Only in 'train': none\. Only in 'test': 5"):
        open_samples(spec(shards, "train", "test"), "train")
    kept = open_samples(spec(shards, "train", "test", classes=("2", "0")), "train")
    assert kept.labels.tolist() == [1, 0, 1, 1, 0, 1]


def test_places(shards, tmp_path):
    expected = fingerprint(open_samples(spec(shards, "train", "test"), "train"))
    for pattern in (
        "{split}/*.tar",
        "{split}/{000000..000001}.tar",
        "{split}/00000[01].tar",
        "{split}/{000000..000001}.t?r",
    ):
        assert fingerprint(open_samples(spec(f"{shards}/{pattern}", "train", "test"), "train")) == expected
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in shards.glob("t*/*.tar"):
        (flat / f"in1k-{file.parent.name}-{file.name}").write_bytes(file.read_bytes())
    for place in (f"{flat}/in1k-{{split}}-*.tar", f"{flat}/in1k-{{split}}-{{000000..000001}}.tar"):
        assert len(open_samples(spec(place, "train", "test"), "train")) == 9
    for file in flat.iterdir():
        file.rename(file.with_name(file.name.removeprefix("in1k-")))
    assert len(open_samples(spec(flat, "train", "test"), "test")) == 5


def names(found) -> list[str]:
    return [p.name for p in found]


def test_ranges_of_ranges(tmp_path):
    for a in range(2):
        for b in range(9, 12):
            write_tar(tmp_path / f"{a}-{b}-train.tar", [])
    assert names(find_shards(f"{tmp_path}/{{0..1}}-{{9..11}}-{{split}}.tar", "train", where="x")) == [
        "0-10-train.tar", "0-11-train.tar", "0-9-train.tar", "1-10-train.tar", "1-11-train.tar", "1-9-train.tar",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "place, error, match",
    [
        ("absent", InvalidDataset, r"there is no folder .*absent; expected .*absent/<split>/\*\.tar"),
        ("", UnknownName, r"no split 'trian'.*Did you mean 'train'"),
        (
            "{split}/{000000..000003}.tar",
            InvalidDataset,
            r"4 of 4 shards are missing: .*trian/000000\.tar, .* and 1 more",
        ),
        ("{split}/*.tar", InvalidDataset, r"1 of 1 shards are missing: .*trian/\*\.tar"),
        ("train/*.tar", InvalidDataset, r"the same shards; write \{split\}"),
        ("{split}/{3..1}.tar", InvalidDataset, "runs backwards"),
        ("{split}/{a,b}.tar", InvalidDataset, "braces hold a range of numbers"),
    ],
)
def test_places_that_are_none(shards, place, error, match):
    with pytest.raises(error, match=match):
        open_samples(spec(f"{shards}/{place}", "trian"), "trian")


def test_a_shard_missing_in_a_range(shards):
    (shards / "train/000001.tar").unlink()
    with pytest.raises(InvalidDataset, match=r"1 of 2 shards are missing: .*train/000001\.tar\. Complete"):
        open_samples(spec(f"{shards}/{{split}}/{{000000..000001}}.tar"), "train")


def test_shards_in_two_places(shards):
    write_tar(shards / "train-000000.tar", pairs([1], [0]))
    with pytest.raises(InvalidDataset, match=r"both in .*train and beside it"):
        open_samples(spec(shards), "train")


@pytest.mark.parametrize(
    "members, match",
    [
        ([("1.jpg", jpeg(1)), *pairs([2], [0])], r"sample 1 has no label; expected 1\.cls"),
        ([("1.cls", b"0"), *pairs([2], [0])], r"sample 1 has a label but no image; expected 1\.jpg or"),
        ([*pairs([1], [0]), ("0001.png", jpeg(1, "png"))], r"two images, 0001\.jpg and 0001\.png"),
        ([*pairs([1], [0]), *pairs([1], [0])], r"two images, 0001\.jpg and 0001\.jpg"),
        ([("1.jpg", jpeg(1)), ("1.cls", b"cat")], r"1\.cls: a label is a whole number >= 0, got b'cat'"),
        ([("1.jpg", jpeg(1)), ("1.cls", b"-1")], r"1\.cls: a label is .*got b'-1'"),
        ([("1.jpg", jpeg(1)), ("1.json", b'{"label": "cat"}')], r"1\.json: .*under the key `label`"),
        ([("1.jpg", jpeg(1)), ("1.json", b'{"label": 1.5}')], r"1\.json: a label is a whole number"),
        ([("1.jpg", jpeg(1)), ("1.json", b'{"label": true}')], r"1\.json: a label is a whole number"),
        ([("1.jpg", jpeg(1)), ("1.json", b"[3]")], r"1\.json: a label is a whole number"),
        ([("1.jpg", jpeg(1)), ("1.json", b"{")], r"1\.json: a label is a whole number"),
        ([("notes.txt", b"nothing")], "no sample in it"),
    ],
)
def test_samples_that_are_none(tmp_path, members, match):
    write_tar(tmp_path / "train-0.tar", members)
    with pytest.raises(InvalidDataset, match=r"train-0\.tar.*" + match):
        open_samples(spec(tmp_path), "train")


@pytest.mark.parametrize("suffix, mode", [(".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz"), (".tar", "w:gz")])
def test_compressed_shards_are_refused(tmp_path, suffix, mode):
    write_tar(tmp_path / f"train-0{suffix}", pairs([1, 2], [0, 1]), mode=mode)
    with pytest.raises(InvalidDataset, match="no random access"):
        open_samples(spec(tmp_path), "train")


def test_a_shard_cut_anywhere_is_refused(tmp_path):
    whole = write_tar(tmp_path / "train-0.tar", pairs([1, 2], [0, 1])).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    (tmp_path / "train-0.tar").write_bytes(whole[: end + 512])
    assert len(open_samples(spec(tmp_path), "train")) == 2  # one empty block tells the end
    for cut in [0, 1, 511, 512, 700, 1024, 1536, 1537, 2048, end - 512, end - 1, end, end + 511]:
        (tmp_path / "train-0.tar").write_bytes(whole[:cut])
        with pytest.raises(InvalidDataset, match=r"train-0\.tar.*cut short"):
            open_samples(spec(tmp_path), "train")


def test_damage_is_told_from_refusal(shards):
    write_tar(shards / "train/000002.tar", {"1.jpg": b"not an image", "1.cls": b"0"})
    samples = open_samples(spec(shards), "train")
    with pytest.raises(CorruptSample, match=r"000002\.tar: 000002/1\.jpg can't be decoded"):
        samples.image(9)
    shard = shards / "train/000001.tar"
    shard.write_bytes(shard.read_bytes()[:1100])
    with pytest.raises(SampleUnreadable, match=r"000001/0109\.jpg has .* bytes, but .* are left"):
        samples.image(5)
    shard.unlink()
    again = pickle.loads(pickle.dumps(samples))
    with pytest.raises(SampleUnreadable, match=r"000001\.tar can't be read \(No such file"):
        again.image(5)


def test_threads_and_processes_read_the_same(shards):
    samples = open_samples(spec(shards), "train")
    rows = [i for _ in range(20) for i in (0, 5, 1, 8, 4, 7)]
    expected = [samples.content(i) for i in rows]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(samples.content, rows)) == expected
    with ProcessPoolExecutor(1) as pool:
        assert list(pool.map(samples.content, rows[:12])) == expected[:12]


def test_a_thread_leaves_no_open_file(shards):
    samples = open_samples(spec(shards), "train")
    open_files = lambda: {p.resolve() for p in Path("/proc/self/fd").iterdir() if str(p.resolve()).endswith(".tar")}  # noqa: E731
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc")
    held = []

    def read():
        samples.content(0)
        samples.content(8)
        held.append(open_files())

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(held[0]) == 1
    del thread
    assert open_files() == set()


def test_an_index_of_a_large_shard_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DRFARM_CACHE", str(tmp_path / "cache"))
    shard = write_tar(tmp_path / "train-0.tar", pairs([1, 2], [0, 1]))
    first = index_shard(shard, where="x")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr("extract._tar_index.KEPT_BYTES", 0)
    monkeypatch.setattr("extract._stamp.SETTLED_S", -60.0)
    assert index_shard(shard, where="x") == first
    with monkeypatch.context() as m:
        m.setattr("extract._tar_index.read_index", lambda *a, **k: pytest.fail("read again"))
        assert index_shard(shard, where="x") == first
    write_tar(shard, pairs([3, 4, 5], [0, 1, 1]))
    assert len(index_shard(shard, where="x")) == 3


def test_webdataset_by_the_book_is_read(tmp_path):
    """What the webdataset library's TarWriter writes: no folders, user and mode set, members of a sample together."""
    with tarfile.open(tmp_path / "train-000000.tar", "w") as tar:
        for i in range(3):
            for suffix, content in (("cls", str(i).encode()), ("jpg", jpeg(i)), ("__key__", f"{i}".encode())):
                info = tarfile.TarInfo(f"sample{i}.{suffix}")
                info.size, info.mode, info.uname, info.gname = len(content), 0o444, "bigdata", "bigdata"
                tar.addfile(info, io.BytesIO(content))
    samples = open_samples(spec(tmp_path), "train")
    assert samples.sample_ids == tuple(f"train-000000/sample{i}.jpg" for i in range(3))
    assert [samples.content(i) for i in range(3)] == [jpeg(i) for i in range(3)]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.binary(max_size=1100), st.sampled_from(["cls", "json"]), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_every_image_is_found_where_it_lies(tmp_path_factory, drawn):
    members = []
    for i, (label, content, kind, first) in enumerate(drawn):
        text = str(label).encode() if kind == "cls" else json.dumps({"label": label}).encode()
        both = [(f"k{i}.jpg", content), (f"k{i}.{kind}", text)]
        members += both if first else both[::-1]
    path = write_tar(tmp_path_factory.mktemp("t") / "train-0.tar", members)
    found = index_shard(path, where="x")
    raw = path.read_bytes()
    assert [(s.name, s.label) for s in found] == [(f"k{i}.jpg", d[0]) for i, d in enumerate(drawn)]
    assert [raw[s.offset : s.offset + s.size] for s in found] == [d[1] for d in drawn]
