"""Layers that are stored by a study's subsets: which neurons, what is measured, and what is said of the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm import open_store, plan, run
from drfarm.errors import InvalidStudy
from drfarm.gathering import kept_neurons
from drfarm.study import study_from_dict
from probe import neuron_order
from probe.subsets import independent_subset


def study_of(tmp_path, **changed):
    raw = {
        "study": "gathered",
        "store": str(tmp_path / "store"),
        "models": [{"name": "net", "source": "timm:test_resnet", "weights": "random:0", "input_size": 32}],
        "layers": ["penultimate", {"layer": "layer2", "pool": "flatten", "keep": "subsets"}],
        "datasets": [{"name": "digits", "source": "sklearn:digits", "classes": [0, 1, 2]}],
        "subsets": {"methods": ["random"], "fractions": [0.01, 0.05, 1.0], "seeds": 2},
        "measures": [
            {"measure": "accuracy"},
            # Relative to the variance of the layer, a penalty would be another where not all of it is stored.
            {"measure": "accuracy", "solver": "ridge", "protocol": "absolute:1.0"},
            {"measure": "cka"},
            {"measure": "cka_pair"},
        ],
    }
    return study_from_dict(raw | changed, base=tmp_path)


@given(
    width=st.integers(50, 3000),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    fractions=st.lists(st.sampled_from([0.02, 0.1, 0.25, 1.0]), min_size=1, unique=True),
    methods=st.lists(st.sampled_from(["random", "first", "random_independent", "pca"]), min_size=1, unique=True),
)
def test_every_subset_below_the_whole_is_kept_and_nothing_else(tmp_path_factory, width, seeds, fractions, methods):
    subsets = {"methods": methods, "fractions": fractions, "seeds": seeds}
    study = study_of(tmp_path_factory.getbasetemp(), subsets=subsets)
    sizes = [int(f * width) for f in fractions if f < 1]
    drawn = [
        set(independent_subset(s, k, width) if m == "random_independent" else neuron_order(m, s, width)[:k])
        for m in methods
        if m != "pca"
        for s in seeds
        for k in sizes
    ]
    if not drawn:
        with pytest.raises(InvalidStudy, match="keep: whole"):
            kept_neurons(study, width)
        return
    kept = kept_neurons(study, width)
    assert kept.dtype == np.int64
    assert kept.tolist() == sorted(set().union(*drawn))


def test_the_subsets_of_a_gathered_layer_give_what_they_give_of_the_whole(tmp_path):
    gathered = study_of(tmp_path)
    planned = plan(gathered)
    layer = next(p for p in planned.jobs[0].layers if p.key.layer == "layer2")
    assert layer.layer.keep == "subsets"
    assert layer.kept.n == len(kept_neurons(gathered, layer.layer.width)) < 0.1 * layer.layer.width
    assert any("stored by its subsets" in n for n in planned.notes)
    assert run(gathered).ok
    whole = study_of(
        tmp_path,
        study="whole",
        store=str(tmp_path / "whole"),
        layers=["penultimate", {"layer": "layer2", "pool": "flatten", "keep": "whole"}],
    )
    assert run(whole).ok
    query = (
        "SELECT layer, solver, seed, n_neurons, width, fraction, round(accuracy, 12) AS value FROM probes "
        "WHERE n_neurons < width UNION ALL "
        "SELECT layer, 'cka', seed, n_neurons, width, fraction, round(value, 9) FROM cka "
        "WHERE n_neurons < width AND kind = 'pair' ORDER BY ALL"
    )
    few, all_of_it = (open_store(s.store).query(query).to_pylist() for s in (gathered, whole))
    assert few == all_of_it
    assert len([r for r in few if r["layer"] == "layer2"]) == 2 * 2 * 2 + 2
    assert {r["width"] for r in few if r["layer"] == "layer2"} == {layer.layer.width}
    wholes = open_store(gathered.store).query("SELECT layer FROM probes WHERE n_neurons = width").to_pylist()
    assert {r["layer"] for r in wholes} == {"penultimate"}
    assert not plan(gathered).tasks
    assert not plan(gathered).jobs_left
    catalogue = open_store(gathered.store).query("SELECT layer, width, layer_width, gathered FROM representations")
    assert {(r["layer"], r["gathered"]) for r in catalogue.to_pylist()} == {("penultimate", False), ("layer2", True)}


def test_what_needs_the_whole_layer_is_left_out_with_a_note(tmp_path):
    study = study_of(
        tmp_path,
        subsets={"methods": ["random", "pca"], "fractions": [0.01, 1.0], "seeds": 1, "on_missing_components": "censor"},
        measures=[{"measure": "accuracy", "solver": "ridge", "k": "every"}, {"measure": "cka"}],
    )
    planned = plan(study)
    notes = "\n".join(planned.notes)
    assert "method pca is left out" in notes
    assert "`k: every` of ridge is left out" in notes
    assert "of CKA only biased pairs" in notes
    assert {t.names.layer for t in planned.tasks} == {"penultimate"}


def test_a_study_of_whole_layers_only_can_t_gather(tmp_path):
    with pytest.raises(InvalidStudy, match=r"none below the whole layer.*keep: whole"):
        plan(study_of(tmp_path, subsets={"fractions": [1.0]}))
