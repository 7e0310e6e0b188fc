import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store import InvalidRequest, UnsupportedFormat, canonical_json, check_name, content_id
from store.ids import path_segment
from store.keys import RepresentationKey
from store.objects import open_objects
from store.testing import make_key

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def reordered(value):
    if isinstance(value, dict):
        return {k: reordered(v) for k, v in reversed(value.items())}
    return tuple(reordered(v) for v in value) if isinstance(value, list) else value


@given(json_values)
def test_canonical_json_is_json_and_ignores_the_order_of_keys(value):
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(reordered(value)) == canonical_json(value)
    assert content_id(reordered(value)) == content_id(value)
    assert len(content_id(value)) == 64


@given(json_values, json_values)
@example(1, True)
@example(1, 1.0)
@example(0, None)
@example([], {})
@example("1", 1)
@example({"a": [1, 2]}, {"a": [12]})
def test_distinct_values_have_distinct_ids(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (content_id(a) == content_id(b)) is same


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1: "a", "1": "b"}, {1, 2}, object()])
def test_what_json_can_not_carry_is_refused(value):
    with pytest.raises(InvalidRequest, match=r"can't be written as JSON|have one name in JSON"):
        canonical_json([value])


def test_a_known_id():
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
    assert content_id({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(names)
@example("../x")
@example("a/b")
@example(".")
@example("..")
@example("")
@example("%2E")
@example("x" * 5000)
@example("\x00")
@example("\ud800")
def test_a_segment_is_one_segment(name):
    segment = path_segment(name)
    assert segment not in ("", ".", "..")
    assert "/" not in segment
    assert not segment.startswith(".")
    assert segment.isascii()
    assert segment.isprintable()
    assert 1 <= len(segment) <= 200


@given(st.lists(names | st.text("./%,2EF~#", max_size=6), min_size=2, max_size=30))
@example(["", ",", "%2C", "%", ".", "%2E", "%252E", "..", "%2E.", "x" * 300, "x" * 301, "a/b", "a%2Fb"])
def test_distinct_names_have_distinct_segments(several):
    assert len({path_segment(n) for n in several}) == len(set(several))


@given(name=names | st.sampled_from(["../x", "a/b", ".", "..", "", "blocks.3.attn#2", "x" * 999]))
def test_a_layer_of_any_name_stays_below_the_root(name, tmp_path):
    objects = open_objects(tmp_path / "root", create=True)
    path = make_key(layer=name).path + "/zarr.json"
    objects.put(path, b"1")
    assert [o.key for o in objects.list("features")] == [path]
    assert [p.name for p in tmp_path.iterdir()] == ["root"]
    objects.delete([path])


@pytest.mark.parametrize("name", ["a", "resnet50.a1_in1k", "Vit-B+16@384", "0", "x" * 120, "a..b"])
def test_good_names(name):
    assert check_name("model", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "é", "-a", "_a", "a\n", "x" * 121, "a\x00"])
def test_names_that_could_leave_the_root_are_refused(name):
    with pytest.raises(InvalidRequest, match="a name has 1 to 120 letters"):
        check_name("model", name)
    for field in ("model", "dataset", "split"):
        with pytest.raises(InvalidRequest, match=f"{field} .*a name has 1 to 120 letters"):
            make_key(**{field: name})


OTHER = {
    "split": "test",
    "layer": "layer3",
    "weights": "sha256:9",
    "architecture": "timm:other",
    "arguments": {"num_classes": 11},
    "pool": "avg",
    "transform": "paper-1",
    "transform_seed": 0,
    "mean": (0.5, 0.5, 0.4),
    "std": (0.25, 0.25, 0.2),
    "input_size": 64,
    "dataset_fingerprint": "sha256:9",
    "n_views": 2,
    "dtype": "float16",
    "neurons": "9" * 64,
    "precision": "bfloat16",
}


def test_every_field_but_the_readable_names_changes_the_id():
    assert set(OTHER) | {"model", "dataset"} == set(RepresentationKey.__dataclass_fields__)
    ids = {make_key(**{field: value}).id for field, value in OTHER.items()}
    assert len(ids | {make_key().id}) == len(OTHER) + 1
    assert make_key(model="other", dataset="other").id == make_key().id
    assert make_key(model="other").path != make_key().path


def test_equal_keys_have_equal_ids():
    a = make_key(mean=(0, 0, 1), arguments={"a": (1, 2), "b": {"c": 1}})
    b = make_key(mean=[0.0, -0.0, 1.0], arguments={"b": {"c": 1}, "a": [1, 2]})
    assert a == b
    assert (a.id, hash(a)) == (b.id, hash(b))
    assert RepresentationKey.from_dict(json.loads(json.dumps(a.to_dict()))) == a


def test_the_id_is_frozen():
    # A change here orphans every store that exists: it needs a new FEATURES_FORMAT.
    assert make_key().id == "5d40611cca2020a470fdd8cc4f3d8ec5e081cf3bcb79a5acf085dd11424e6ee4"


def test_fields_that_came_later_are_written_only_where_they_say_something():
    # What was written before them stays equal byte for byte, and so do ids.
    assert not {"neurons", "precision"} & (set(make_key().to_dict()) | set(make_key().identity))
    later = make_key(neurons="9" * 64, precision="float16+compile")
    assert (later.to_dict()["neurons"], later.to_dict()["precision"]) == ("9" * 64, "float16+compile")
    assert RepresentationKey.from_dict(json.loads(json.dumps(later.to_dict()))) == later


def test_a_key_of_a_newer_drfarm_is_refused():
    with pytest.raises(UnsupportedFormat, match=r"a representation has layout, which .* Upgrade drfarm"):
        RepresentationKey.from_dict({**make_key().to_dict(), "layout": "columns"})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dtype": "float64"}, "stored as one of float32, float16"),
        ({"n_views": 0}, "views must be >= 1"),
        ({"mean": (float("nan"),)}, "normalisation must be finite"),
        ({"arguments": {"a": float("inf")}}, "can't be written as JSON"),
    ],
)
def test_keys_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InvalidRequest, match=message):
        make_key(**change)
