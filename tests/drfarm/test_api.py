"""The Python face, on the finished study: the same as the command, as values."""

import csv
import io
import shutil

import numpy as np
import pytest

import drfarm as face
from drfarm import InvalidRequest, RunOptions, open_store, redundancy
from store import NotFound, UnsupportedFormat
from store import open_store as open_plain_store


class Listener:
    """Keeps what a run tells."""

    def __init__(self):
        self.stages, self.messages = [], []

    def stage(self, name, total, unit):
        self.stages.append((name, total, unit))
        raise AssertionError(f"stage {name} was begun")

    def message(self, text):
        self.messages.append(text)


@pytest.fixture
def opened(finished):
    return open_store(finished.store)


def test_plan_and_run_of_a_finished_study(finished):
    study = face.load_study(finished.file)
    plan = face.plan(study)
    assert isinstance(plan, face.StudyPlan)
    assert (plan.tasks, plan.jobs_left, plan.predicted_s) == ((), (), 0)
    assert (plan.n_probes, plan.n_probes_done) == (12, 12)
    assert plan.store_url == str(finished.store)
    listener = Listener()
    report = face.run(study, reporter=listener, options=RunOptions(device="cpu"))
    assert isinstance(report, face.RunReport)
    assert report.ok
    assert (report.n_images, report.n_results, report.n_batches, report.failures) == (0, 0, 0, [])
    assert (listener.stages, listener.messages) == ([], [])


def test_plan_of_a_study_that_did_not_run(finished, tmp_path):
    plan = face.plan(face.load_study(finished.file), store_url=str(tmp_path / "elsewhere"))
    assert (plan.n_probes_done, plan.n_cka_done) == (0, 0)
    assert sum(t.n_jobs for t in plan.tasks) == 12 + 195  # CKA of the test images that two data sets share, once
    assert [j.name for j in plan.jobs_left] == [
        f"resnet / {d} / {s}" for d in ("pets", "few") for s in ("train", "test")
    ]
    assert list(tmp_path.iterdir()) == []


def test_representations(opened):
    table = opened.representations()
    rows = table.to_pylist()
    assert [(r["dataset"], r["split"], r["n_samples"], r["width"]) for r in rows] == [
        ("few", "train", 12, 96),
        ("pets", "test", 16, 96),
        ("pets", "train", 24, 96),
    ]
    assert all(r["complete"] for r in rows)
    assert "3 complete representations" in repr(opened)


def test_features(opened):
    whole = opened.features(dataset="pets", split="train")
    x = whole.numpy()
    assert (x.shape, x.dtype) == ((24, 96), np.float32)
    assert np.isfinite(x).all()
    assert whole.labels.tolist() == [0] * 12 + [1] * 12
    assert whole.sample_ids[12] == "dog/00.jpg"
    np.testing.assert_array_equal(np.asarray(whole.dask()).reshape(24, 96), x)
    np.testing.assert_array_equal(whole.xarray()["activations"].values.reshape(24, 96), x)
    np.testing.assert_array_equal(opened.features(whole.id).numpy(), x)
    np.testing.assert_array_equal(opened.features(whole.id[:10]).numpy(), x)
    # The other data set's training images are the later half of these.
    few = opened.features(dataset="few", model="resnet", layer="penultimate", split="train")
    kept = [i for i, name in enumerate(whole.sample_ids) if name in set(few.sample_ids)]
    np.testing.assert_allclose(few.numpy(), x[kept], rtol=1e-4, atol=1e-5)


def test_features_that_are_not_one(opened):
    with pytest.raises(NotFound, match=r"there is no representation .*'nets'.*`drfarm store ls` lists them"):
        opened.features(model="nets")
    with pytest.raises(NotFound, match="there is no representation zz"):
        opened.features("zz")
    with pytest.raises(InvalidRequest, match=r"2 representations match .*resnet/penultimate/pets/test .* Say more"):
        opened.features(dataset="pets")
    with pytest.raises(InvalidRequest, match=r"name a representation by its id, or by .*; got modle"):
        opened.features(modle="resnet")
    with pytest.raises(InvalidRequest, match="got nothing"):
        opened.features()


def test_query(opened):
    table = opened.query("SELECT dataset, count(*) AS n FROM probes GROUP BY dataset ORDER BY dataset")
    assert table.to_pylist() == [{"dataset": "few", "n": 6}, {"dataset": "pets", "n": 6}]
    frame = opened.query("SELECT * FROM probes").to_pandas()
    assert set(frame["method"]) == {"random"}
    assert opened.query("DESCRIBE redundancy").num_rows == 22
    assert opened.query("EXPLAIN SELECT 1").num_rows == 1


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "the SQL is empty: write SELECT"),
        ("SELECT nothing FROM probes", "the query can't be answered: .*nothing"),
        ("DROP VIEW probes", "a query is one statement that only reads.*; got DROP"),
        ("SELECT 1; SELECT 2", "got 2 statements"),
        ("SELECT * FROM 'results.csv'", "disabled by configuration"),
    ],
)
def test_questions_that_can_not_be_answered(opened, sql, message):
    with pytest.raises(InvalidRequest, match=message):
        opened.query(sql)


def test_redundancy_is_the_view_and_the_table(opened, finished, drfarm):
    from_api = redundancy(finished.store)
    assert from_api.equals(opened.redundancy())
    assert from_api.equals(redundancy(opened))
    assert from_api.equals(redundancy(str(finished.store)))

    def key(row):
        return tuple(str(row[c]) for c in ("dataset", "measure", "train_id", "delta", "rule"))

    rows = sorted(from_api.to_pylist(), key=key)
    assert len(rows) == (2 + 1 + 1) * 3 * 3  # curves of accuracy, cka, cka_pair; deltas; rules
    assert sorted(opened.query("SELECT * FROM redundancy").to_pylist(), key=key) == rows

    done = drfarm("table", "--store", finished.store, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(done.out)))
    assert list(lines[0]) == from_api.column_names
    parsed = [{n: _parse(line[n], from_api.schema.field(n).type) for n in from_api.column_names} for line in lines]
    assert sorted(parsed, key=key) == rows


def _parse(text: str, kind) -> object:
    if text == "":
        return None
    if str(kind) == "bool":
        return text == "true"
    return {"double": float, "int64": int}.get(str(kind), str)(text)


def test_redundancy_for_chosen_thresholds_and_rules(finished):
    table = redundancy(finished.store, deltas=[0.5], rules=["nearest"])
    assert set(table["delta"].to_pylist()) == {0.5}
    assert set(table["rule"].to_pylist()) == {"nearest"}
    with pytest.raises(InvalidRequest, match=r"deltas must lie in \[0, 1\], got 2"):
        redundancy(finished.store, deltas=[2])
    with pytest.raises(InvalidRequest, match="rules must be among strict, nearest, interpolated, got 'best'"):
        redundancy(finished.store, rules=["best"])


def test_redundancy_is_what_eq_1_says(opened):
    """DR = 1 - k*/d, k* the smallest size whose mean accuracy is at least delta times that of the whole layer."""
    rows = opened.query(
        "SELECT n_neurons AS k, avg(accuracy) AS a FROM probes WHERE dataset = 'pets' GROUP BY k"
    ).to_pylist()
    mean = {r["k"]: r["a"] for r in rows}
    expected = 1 - min(k for k, a in mean.items() if a / mean[96] >= 0.9) / 96
    sql = (
        "SELECT dr FROM redundancy WHERE dataset = 'pets' AND measure = 'accuracy' AND delta = 0.9 AND rule = 'strict'"
    )
    assert opened.query(sql).to_pylist() == [{"dr": pytest.approx(expected)}]


def test_thresholds_of_studies_are_in_the_view(opened, tmp_path, finished):
    deltas = {r["delta"] for r in opened.query("SELECT DISTINCT delta FROM redundancy").to_pylist()}
    assert deltas == {0.8, 0.9, 0.95}


def test_places_that_hold_no_store(tmp_path):
    with pytest.raises(NotFound, match=r"there is no store at .*absent.* Check the path"):
        open_store(tmp_path / "absent")
    (tmp_path / "drfarm.json").write_text('{"store_format": 2}')
    with pytest.raises(UnsupportedFormat, match=r"store format 2; .* Upgrade drfarm"):
        open_store(tmp_path)
    with pytest.raises(InvalidRequest, match="the store's address is empty"):
        open_store("")


def test_a_study_shows_the_rows_of_its_own_solver(finished, tmp_path):
    """Solvers have protocols of the same name; another study in the store may have used them."""
    from drfarm.outputs import study_results

    store = shutil.copytree(finished.store, tmp_path / "store")
    results = open_plain_store(store).results
    rows = results.table("probes").to_pylist()
    results.write(
        "probes", "other", [r | {"solver": "ridge", "job_id": f"r{i}", "batch_id": "other"} for i, r in enumerate(rows)]
    )
    plan = face.plan(face.load_study(finished.file), store_url=str(store))
    assert set(study_results(plan).probes["solver"].to_pylist()) == {"sgd"}
    assert study_results(plan).probes.num_rows == len(rows)
