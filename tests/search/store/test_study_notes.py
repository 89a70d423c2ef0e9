"""Everything that a run keeps besides its trials."""

from __future__ import annotations

from dataclasses import asdict, replace

import optuna
import pytest

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.errors import RunError
from nas.measurement.protocol import Timing
from nas.results.values import LongerTraining
from nas.search.store.study_notes import StudyNotes
from tests.search.runs import run_config
from tests.tiny import TINY_PROXY

QUICK, SLOW = Timing(0.8, 0.5, 1.0, 30), Timing(1.25, 0.5, 1.0, 30)


def test_a_network_measured_again_has_the_mean_of_all_times(budget):
    study = optuna.create_study()
    network, notes = budget.fastest(), StudyNotes(study)
    assert notes.measured(network, 0) is None
    notes.record_measured(0, [network], [QUICK])
    notes.record_measured(0, [network], [SLOW])
    for known in (notes, StudyNotes(study)):
        assert known.times_measured(network, 0) == 2
        assert known.measured(network, 0).latency_ms == pytest.approx(1.0)
        assert known.measured(network, 1) is None


def test_older_runs_kept_one_measurement_of_a_network(budget):
    study = optuna.create_study()
    network = budget.fastest()
    study.set_user_attr("measured", {network.id: {"0": asdict(QUICK)}})
    notes = StudyNotes(study)
    assert notes.measured(network, 0).latency_ms == pytest.approx(0.8)
    notes.record_measured(0, [network], [SLOW])
    assert StudyNotes(study).times_measured(network, 0) == 2


FINGERPRINT = DataFingerprint("classes", 70, 20, 20, "paths", "sizes")


def test_changed_data_are_refused_with_the_kind_of_change():
    study = optuna.create_study()
    StudyNotes(study).require_data(FINGERPRINT, "imagefolder:/photos")
    StudyNotes(study).require_data(FINGERPRINT, "imagefolder:/photos")
    with pytest.raises(RunError) as caught:
        StudyNotes(study).require_data(replace(FINGERPRINT, train=71), "imagefolder:/photos")
    assert str(caught.value) == (
        "the data folder of imagefolder:/photos has changed since this run was begun (it had 110 "
        "images and has 111): undo the change, or start a new run"
    )


def test_older_runs_kept_no_fingerprint_of_their_data():
    study = optuna.create_study()
    assert StudyNotes(study).data() is None
    StudyNotes(study).require_data(FINGERPRINT, "imagefolder:/photos")
    assert StudyNotes(study).data() == FINGERPRINT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resolution": 96}, "resolution has changed from 64 to 96"),
        ({"budget_ms": 2.0}, "targets.0.budget_ms has changed from 0.9 to 2.0"),
        ({"target": "openvino"}, "targets.0.target has changed from 'onnxruntime' to 'openvino'"),
        ({"seed": 3}, "seed has changed from 0 to 3"),
        (
            {"proxy": TINY_PROXY.model_copy(update={"train_images": 64})},
            "proxy.train_images has changed from 128 to 64",
        ),
        ({"evaluator": "recorded:a.csv"}, "evaluator has changed from 'training' to 'recorded'"),
    ],
)
def test_configuration_edited_since_the_run_was_begun_is_refused(tmp_path, changes, said):
    study, path = optuna.create_study(), tmp_path / "config.yaml"
    StudyNotes(study).require_config(run_config(tmp_path), path)
    kept = dict(study.user_attrs)
    with pytest.raises(RunError) as caught:
        StudyNotes(study).require_config(run_config(tmp_path, **changes), path)
    assert str(caught.value).startswith(f"{path}: {said} since this run was begun: undo the change")
    assert study.user_attrs == kept


@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 9, "finalists": 2, "time_limit_s": 60.0, "workers": 2},
        {"space": "/moved/tiny.yaml", "warm_start": ("/moved/run",)},
        {"proxy": TINY_PROXY.model_copy(update={"data": "imagefolder:/moved"})},
    ],
)
def test_configuration_may_change_in_what_a_resume_sets_and_in_paths(tmp_path, changes):
    study, path = optuna.create_study(), tmp_path / "config.yaml"
    StudyNotes(study).require_config(run_config(tmp_path), path)
    StudyNotes(study).require_config(run_config(tmp_path, **changes), path)


def test_configuration_of_another_version_is_compared_where_both_have_a_value(tmp_path):
    study, path = optuna.create_study(), tmp_path / "config.yaml"
    notes = StudyNotes(study)
    notes.require_config(run_config(tmp_path), path)
    values = study.user_attrs["config"]
    del values["confidence"]
    study.set_user_attr("config", {**values, "of_another_version": 1})
    notes.require_config(run_config(tmp_path), path)


def test_tries_are_counted_over_all_sessions_for_each_fidelity():
    study = optuna.create_study()
    assert StudyNotes(study).record_try("one", 128) == 1
    assert StudyNotes(study).record_try("one", 128) == 2
    assert StudyNotes(study).record_try("two", 128) == 1
    notes = StudyNotes(study)
    assert (notes.tries("one", 128), notes.tries("one", 512), notes.tries("three", 1)) == (2, 0, 0)


def test_longer_trainings_that_failed_are_forgotten_until_they_were_tried_enough(budget):
    study = optuna.create_study()
    network, notes = budget.fastest(), StudyNotes(study)
    for training in (LongerTraining(0.8, 0.0, 512), LongerTraining(0.0, 0.0, 512, diverged=True)):
        notes.record_longer(network, training)
        notes.forget_failed_longer(2)
        assert StudyNotes(study).longer(network) == training
    failed = LongerTraining(0.0, 0.0, 512, diverged=True, message="no memory")
    notes.record_longer(network, failed)
    notes.record_try(network.id, 512)
    notes.forget_failed_longer(2)
    assert StudyNotes(study).longer(network) is None
    notes.record_longer(network, failed)
    notes.record_try(network.id, 512)
    notes.forget_failed_longer(2)
    assert StudyNotes(study).longer(network) == failed
