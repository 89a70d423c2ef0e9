"""Everything that a run keeps besides its trials."""

from __future__ import annotations

from dataclasses import asdict, replace

import optuna
import pytest

from nas.accuracy.data.fingerprint import DataFingerprint
from nas.errors import RunError
from nas.measurement.protocol import Timing
from nas.search.store.study_notes import StudyNotes

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
