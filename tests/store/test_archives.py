"""Archives: what goes out comes in again, whole or not at all."""

import hashlib
import io
import re
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from store import (
    Conflict,
    Corrupt,
    Incomplete,
    InvalidRequest,
    NotFound,
    StoreError,
    UnknownName,
    UnsupportedFormat,
    open_store,
    records,
    verify,
)
from store.archive_export import export_archive
from store.archive_import import import_archive
from store.objects import ObstoreObjects
from store.testing import make_cka_row, make_key, make_probe_row

QUESTIONS = ("SELECT * FROM probes ORDER BY job_id", "SELECT * FROM cka ORDER BY job_id")


def _write(store, *, rows=7, kept=None, seal=True, **key):
    rng = np.random.default_rng(7)
    key = make_key(**key)
    writer = store.features.create(
        key,
        width=3,
        labels=np.arange(rows) % 3,
        sample_ids=[f"image-{i}.png" for i in range(rows)],
        classes=["a", "b", "c"],
        rows_per_chunk=3,
        neurons=kept,
        layer_width=None if kept is None else 12,
    )
    values = rng.standard_normal((key.n_views, rows, 3)).astype(np.float32)
    for view, chunk in writer.missing():
        writer.write_chunk(view, chunk, values[view, slice(*writer.span(chunk))])
    if seal:
        writer.seal()
    return writer.id


def _fill(store):
    """A whole layer in two views, a gathered one, one that fell back, one in the making; two studies."""
    kept = np.array([1, 5, 9])
    whole = _write(store, n_views=2)
    gathered = _write(store, layer="huge", neurons=store.neuron_sets.put(kept, 12), kept=kept)
    stand_in = _write(store, layer="overflows", dtype="float32")
    half = make_key(layer="overflows", dtype="float16").id
    _write(store, layer="overflows", dtype="float16", seal=False)
    store.features.fall_back(half, stand_in, "70000 is beyond float16")
    begun = _write(store, layer="begun", seal=False)
    store.statistics.put(whole, "all", {"mean": np.arange(3.0), "count": np.array([7])})
    for i in range(3):
        rows = [make_probe_row(f"b{i}", f"j{i}{k}", test_id=whole, seed=k) for k in range(4)]
        store.results.write("probes", f"b{i}", rows, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    store.results.write("probes", "c", [make_probe_row("c", "k", test_id=gathered, study="other")])
    store.results.write("cka", "d", [make_cka_row("d", "l", value=None), make_cka_row("d", "m", value=0.5)])
    store.put_study("mine", {"study": "mine", "deltas": [0.7]}, representations=[whole, half])
    store.put_study("other", {"study": "other"}, representations=[gathered, begun])
    store.rates.put("extraction", "device", {"speed": 1.0})
    return {"whole": whole, "gathered": gathered, "stand_in": stand_in, "half": half, "begun": begun}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("source") / "store", create=True)
    return store, _fill(store)


@pytest.fixture(scope="module")
def archive(source, tmp_path_factory):
    file = tmp_path_factory.mktemp("archive") / "all.tar"
    export_archive(source[0], file)
    return file


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


def _answers(store):
    con = store.connect()
    return [con.sql(q).to_arrow_table() for q in QUESTIONS]


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".tar.gz"])
def test_what_goes_out_comes_in(suffix, source, target, tmp_path):
    store, ids = source
    file = tmp_path / f"all{suffix}"
    done = export_archive(store, file)
    assert (done.representations, done.results, done.studies) == (3, {"probes": 13, "cka": 2}, ("mine", "other"))
    assert done.left_out == (make_key(layer="begun").path,)
    new = import_archive(file, target)
    assert (new.representations, new.results, new.studies, new.left_out) == (3, done.results, done.studies, ())
    other = open_store(target)
    for name in ("whole", "gathered", "stand_in"):
        ours, theirs = store.features.open(ids[name]), other.features.open(ids[name])
        assert theirs.sample_ids == ours.sample_ids
        for view in range(ours.n_views):
            assert theirs.numpy(view).tobytes() == ours.numpy(view).tobytes()
    same = {o.key for o in store.objects.list("") if o.key.split("/")[0] in ("features", "statistics", "neurons")}
    same = {k for k in same if "/begun/" not in k and ids["begun"] not in k}
    assert same == {
        o.key for o in other.objects.list("") if o.key.split("/")[0] in ("features", "statistics", "neurons")
    }
    assert len(same) > 20
    assert all(other.objects.get(k) == store.objects.get(k) for k in same)
    assert other.features.fallback(ids["half"]) == ids["stand_in"]
    assert other.features.open(ids["gathered"]).neurons.tolist() == [1, 5, 9]
    assert other.statistics.get(ids["whole"], "all")["mean"].tolist() == [0, 1, 2]
    assert _answers(other) == _answers(store)
    assert other.results.timings().equals(store.results.timings())
    assert other.studies() == store.studies()
    assert [c.problem for c in verify(other) if c.problem] == []
    assert other.features.status(ids["begun"]) == "absent"
    assert other.rates.get("extraction", "device") is None


def test_the_same_again_changes_nothing(archive, target):
    import_archive(archive, target)
    before = {o.key: o.modified for o in open_store(target).objects.list("")}
    again = import_archive(archive, target)
    assert (again.representations, again.results, again.studies) == (0, {"probes": 0, "cka": 0}, ())
    assert len(again.left_out) == 3
    assert {o.key: o.modified for o in open_store(target).objects.list("")} == before


def test_equal_contents_make_equal_bytes(source, tmp_path):
    """Whatever has been compacted, and from a store that took it in."""
    store, _ = source
    copied = open_store(shutil.copytree(store.url, tmp_path / "copy"))
    digests = {}
    for suffix in (".tar", ".tar.zst", ".tar.gz"):
        export_archive(store, tmp_path / f"a{suffix}", study="mine")
        digests[suffix] = hashlib.sha256((tmp_path / f"a{suffix}").read_bytes()).hexdigest()
    copied.results.compact("probes")
    for suffix, digest in digests.items():
        export_archive(copied, tmp_path / f"b{suffix}", study="mine")
        assert hashlib.sha256((tmp_path / f"b{suffix}").read_bytes()).hexdigest() == digest
    import_archive(tmp_path / "a.tar", tmp_path / "t")
    export_archive(open_store(tmp_path / "t"), tmp_path / "c.tar", study="mine")
    assert hashlib.sha256((tmp_path / "c.tar").read_bytes()).hexdigest() == digests[".tar"]


def test_one_study(source, target, tmp_path):
    store, ids = source
    done = export_archive(store, tmp_path / "a.tar.zst", study="mine")
    assert (done.representations, done.results, done.studies) == (2, {"probes": 12, "cka": 0}, ("mine",))
    import_archive(tmp_path / "a.tar.zst", target)
    other = open_store(target)
    assert {i.key.id for i in other.features.catalogue()} == {ids["whole"], ids["stand_in"]}
    assert other.neuron_sets.digests() == []
    assert [s["study"] for s in other.studies()] == ["mine"]
    with pytest.raises(UnknownName, match=r"there is no study 'mien'. Did you mean 'mine'\?"):
        export_archive(store, tmp_path / "b.tar", study="mien")


def test_results_only(source, target, tmp_path):
    store, _ = source
    done = export_archive(store, tmp_path / "a.tar.gz", features=False)
    assert (done.representations, done.results) == (0, {"probes": 13, "cka": 2})
    import_archive(tmp_path / "a.tar.gz", target)
    other = open_store(target)
    assert _answers(other) == _answers(store)
    assert other.features.catalogue() == []
    assert [c.problem for c in verify(other) if c.problem] == []


def test_what_is_there_stays_and_what_is_missing_comes(source, archive, target):
    """The store has one batch with values that differ by rounding, and other work of its own."""
    _, ids = source
    other = open_store(target, create=True)
    rows = [make_probe_row("b0", f"j0{k}", accuracy=0.75 + 1e-4, test_id=ids["whole"], seed=k) for k in range(4)]
    other.results.write("probes", "b0", rows)
    other.results.write("probes", "own", [make_probe_row("own", "own")])
    done = import_archive(archive, target)
    assert done.results == {"probes": 9, "cka": 2}
    found = {r["job_id"]: r["accuracy"] for r in other.results.table("probes").to_pylist()}
    assert len(found) == 14
    assert {found[f"j0{k}"] for k in range(4)} == {0.75 + 1e-4}
    other.results.compact("probes")
    assert len(other.results.jobs("probes")) == 14


# What is refused, and leaves nothing


def test_conflicts_are_refused_whole(source, archive, tmp_path):
    _, ids = source

    def result(store):
        store.results.write("probes", "z", [make_probe_row("z", "j00", accuracy=0.5)])

    def undefined(store):
        store.results.write("cka", "z", [make_cka_row("z", "l", value=0.5)])

    def study(store):
        store.put_study("mine", {"study": "mine", "deltas": [0.9]})

    def begun(store):
        _write(store, n_views=2, seal=False, model="another")

    def fallen(store):
        _write(store, layer="overflows", dtype="float16")

    cases = {
        result: r"has accuracy 0.5 for tiny/penultimate on digits, random, seed 0, 5 neurons, and .* 0.75",
        undefined: "one job, two results",
        study: r"another study 'mine'.* --forget mine --yes",
        begun: "was begun there and is not complete",
        fallen: f"representation {ids['half']} is there, while",
    }
    for i, (change, message) in enumerate(cases.items()):
        store = open_store(tmp_path / str(i), create=True)
        change(store)
        before = [(o.key, o.modified) for o in store.objects.list("")]
        with pytest.raises(Conflict, match=message):
            import_archive(archive, store.url)
        assert [(o.key, o.modified) for o in store.objects.list("")] == before


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".tar.gz"])
def test_an_archive_that_was_cut_short_takes_nothing_in(suffix, source, target, tmp_path):
    file, cut = tmp_path / f"a{suffix}", tmp_path / f"cut{suffix}"
    export_archive(source[0], file)
    data = file.read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6, 0.9):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises((Corrupt, UnsupportedFormat), match=r"Nothing of it was taken in|is no archive"):
            import_archive(cut, target)
        assert not target.exists()


def test_one_flipped_byte_takes_nothing_in(archive, target, tmp_path):
    data = bytearray(archive.read_bytes())
    with tarfile.open(archive) as tar:
        places = {m.name: m.offset_data + m.size // 2 for m in tar if m.size}
    for name, place in places.items():
        flipped = data.copy()
        flipped[place] ^= 1
        (tmp_path / "a.tar").write_bytes(flipped)
        with pytest.raises(StoreError, match=r"."):
            import_archive(tmp_path / "a.tar", target)
        assert not target.exists(), name
    assert len(places) > 30


def _rewritten(archive, file, change):
    """Write the archive anew with other members; the manifest is made to agree with them."""
    with tarfile.open(archive) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]
    members = [(m, d) for m, d in members if m.name != "manifest.json"]
    members = change(members)
    objects = [[m.name, len(d), hashlib.sha256(d).hexdigest()] for m, d in members[1:]]
    manifest = records.to_bytes({"archive_format": 1, "objects": objects, "study": None, "features": True})
    members.append((tarfile.TarInfo("manifest.json"), manifest))
    with tarfile.open(file, "w") as tar:
        for m, d in members:
            m.size = len(d)
            tar.addfile(m, io.BytesIO(d))


def _named(name, data=b"{}", kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
    return info, data


EVIL = (
    "../evil.json",
    "/tmp/evil.json",
    "studies/../../evil.json",
    "studies/../evil.json",
    "features/../../../../../evil/zarr.json",
    "studies/a\\b.json",
    "drfarm.json",
    "results/probes/x.parquet",
    "ledger/short/complete.json",
    f"features/a/b/c/../{'0' * 64}/zarr.json",
)


@pytest.mark.parametrize("name", EVIL)
def test_names_that_leave_the_store_are_refused(name, archive, target, tmp_path):
    _rewritten(archive, tmp_path / "a.tar", lambda members: [*members, _named(name)])
    with pytest.raises(Corrupt, match="which no store has"):
        import_archive(tmp_path / "a.tar", target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar"]


def test_links_are_refused(archive, target, tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        file = tmp_path / "a.tar"
        _rewritten(archive, file, lambda m, kind=kind: [*m, _named("studies/x.json", b"", kind)])
        with pytest.raises(Corrupt, match="is no plain file"):
            import_archive(file, target)
        assert not target.exists()


def test_parts_that_are_missing_or_strange_are_refused(source, archive, target, tmp_path):
    _, ids = source
    whole = ids["whole"]
    stray = f"features/x/digits/train/penultimate/{whole}/zarr.json"

    def without(pattern):
        return lambda members: [(m, d) for m, d in members if not re.search(pattern, m.name)]

    cases = (
        (without(f"{whole}/activations/c/1/2/0"), "is needed and not in it"),
        (without(f"{whole}/labels/c"), "is needed and not in it"),
        (without(f"ledger/{whole}/complete"), "is not complete in it"),
        (without(f"ledger/{whole}/representation"), "belongs to no representation of it"),
        (without("^neurons/"), "is needed and not in it"),
        (lambda m: [*m, _named(stray)], "belongs to no representation of it"),
        (lambda m: [*m, m[-1]], "twice"),
    )
    for change, message in cases:
        _rewritten(archive, tmp_path / "a.tar", change)
        with pytest.raises(Corrupt, match=message):
            import_archive(tmp_path / "a.tar", target)
        assert not target.exists()


def test_other_formats_are_refused(archive, target, tmp_path):
    def newer(members):
        (mark, _), *rest = members
        return [(mark, b'{"archive_format": 2}'), *rest]

    _rewritten(archive, tmp_path / "newer.tar", newer)
    with pytest.raises(UnsupportedFormat, match=r"archive format 2; this drfarm reads and writes format 1. Upgrade"):
        import_archive(tmp_path / "newer.tar", target)
    (tmp_path / "text.tar").write_text("hello")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(*(lambda m, d: (m, io.BytesIO(d)))(*_named("a", b"")))
    for name in ("text.tar", "other.tar"):
        with pytest.raises(UnsupportedFormat, match="is no archive of a store"):
            import_archive(tmp_path / name, target)
    with pytest.raises(InvalidRequest, match=r"absent\.tar can't be read"):
        import_archive(tmp_path / "absent.tar", target)
    assert not target.exists()


class _KilledError(BaseException):
    """Stands for the end of the process."""


def test_a_killed_import_leaves_what_is_whole_or_unreadable(source, archive, monkeypatch):
    """Killed before every single write; then the same import goes on."""
    store, ids = source
    expected = _answers(store)
    n_writes = 0
    for n in range(200):
        target = f"memory://killed-{n}"
        with monkeypatch.context() as patched:
            left = [n]
            for name in ("put", "put_new"):
                patched.setattr(ObstoreObjects, name, _dying(getattr(ObstoreObjects, name), left))
            try:
                import_archive(archive, target)
            except _KilledError:
                pass
            else:
                n_writes = n
                break
        if n == 0:
            continue  # there is no store yet
        _check_whole_or_unreadable(open_store(target), store, ids)
        if n % 9 == 0:
            import_archive(archive, target)
            assert _answers(open_store(target)) == expected
            assert [c.problem for c in verify(open_store(target)) if c.problem] == []
    assert n_writes > 35


def _dying(real, left):
    def put(self, key, data):
        left[0] -= 1
        if left[0] < 0:
            raise _KilledError
        return real(self, key, data)

    return put


def _check_whole_or_unreadable(found, store, ids):
    for name in ("whole", "gathered", "stand_in"):
        if found.features.status(ids[name]) == "complete":
            assert found.features.open(ids[name]).numpy().tobytes() == store.features.open(ids[name]).numpy().tobytes()
        else:
            with pytest.raises((NotFound, Incomplete), match=r"no representation|not complete"):
                found.features.open(ids[name])
    assert found.results.table("probes").num_rows in (0, 13)
    assert found.results.table("cka").num_rows in (0, 2)


# Export that can't be


def test_a_damaged_chunk_is_not_exported(source, tmp_path):
    store = open_store(shutil.copytree(source[0].url, tmp_path / "store"))
    name = store.features.open(source[1]["whole"]).chunk_object(0, 1)
    data = bytearray(store.objects.get(name))
    data[-1] ^= 1
    store.objects.put(name, bytes(data))
    with pytest.raises(Corrupt, match="is not what was written"):
        export_archive(store, tmp_path / "a.tar")
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_an_export_that_can_not_be_is_refused(source, tmp_path):
    store, _ = source
    with pytest.raises(InvalidRequest, match=r"a.zip: an archive's name ends with .tar, .tar.zst"):
        export_archive(store, tmp_path / "a.zip")
    with pytest.raises(InvalidRequest, match=r"can't be written: No such file or directory"):
        export_archive(store, tmp_path / "no" / "a.tar")
    with pytest.raises(InvalidRequest, match="nothing finished to export"):
        export_archive(open_store(tmp_path / "empty", create=True), tmp_path / "a.tar")
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_the_frozen_store_goes_out_and_in(tmp_path):
    """A store of the first format."""
    frozen = Path(__file__).parents[1] / "data" / "store_format_1"
    copied = open_store(shutil.copytree(frozen, tmp_path / "frozen"))
    done = export_archive(copied, tmp_path / "a.tar")
    import_archive(tmp_path / "a.tar", tmp_path / "t")
    assert done.representations == sum(i.complete for i in copied.features.catalogue()) > 0
    assert _answers(open_store(tmp_path / "t")) == _answers(copied)
