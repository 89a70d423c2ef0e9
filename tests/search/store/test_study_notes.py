"""Everything that a run keeps besides its trials."""

from __future__ import annotations

from dataclasses import asdict

import optuna
import pytest

from nas.measurement.protocol import Timing
from nas.results.values import LongerTraining
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
