"""Everything that a run keeps besides its trials."""

from __future__ import annotations

from dataclasses import asdict

import optuna
import pytest

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
