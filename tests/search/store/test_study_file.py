"""The file of a study: where it lies, who else holds it, and what may be wrong with it."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest

from nas.errors import RunError
from nas.measurement.protocol import Timing
from nas.search.store import study_file
from nas.search.store.run_store import RunStore
from nas.search.store.study_file import STUDY, open_study, read_study, storage_errors
from nas.space.space_files import load_space
from tests.search.runs import run_config


def full_disk() -> None:
    """Raise the error that Optuna raises on a full disk."""
    try:
        raise sqlite3.OperationalError("database or disk is full")
    except sqlite3.OperationalError as error:
        raise optuna.exceptions.StorageInternalError("An exception at the commit.") from error


@pytest.fixture
def config(tmp_path):
    return run_config(tmp_path)


@pytest.fixture
def begun(tmp_path, config):
    """The folder of a run with one trained network."""
    folder = tmp_path / "run"
    folder.mkdir()
    study = open_study(folder, config)
    study.set_user_attr("finals", {"a": {"accuracy": 0.5, "bonus": 0.0, "images": 100}})
    study.set_user_attr("measured", {"a": {"0": [asdict(Timing(0.8, 0.5, 1.0, 30))]}})
    trial = study.ask()
    network = load_space("nextvit-tiny").sample(random.Random(0))
    trial.set_user_attr("architecture", network.to_json())
    trial.set_user_attr("accuracy", 0.5)
    trial.set_user_attr("images", 100)
    study.tell(trial, (0.5, 0.8))
    return folder


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / STUDY)) as database, database:
        for statement in statements:
            database.execute(statement)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize(
    "name", ["a%2Fb", "q?a", "q#b", "100%", "{SCHEMA_VERSION}", "a b&c=d", os.fsdecode(b"r\xe4")]
)
def test_study_lies_in_its_folder_whatever_its_name(tmp_path, config, name):
    folder = tmp_path / name
    folder.mkdir()
    open_study(folder, config).set_user_attr("begun", True)
    assert [path.name for path in folder.iterdir()] == [STUDY]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_study(folder).user_attrs == {"begun": True}


def test_relative_folder_stays_the_same_after_a_change_of_folder(tmp_path, config, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    study = open_study(Path("run"), config)
    monkeypatch.chdir("/")
    study.set_user_attr("begun", True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def hold(folder: Path, seconds: float) -> threading.Thread:
    """Hold a study, as a backup or a dashboard does."""
    held = threading.Event()

    def work() -> None:
        with closing(sqlite3.connect(folder / STUDY, isolation_level=None)) as database:
            database.execute("begin immediate")
            held.set()
            threading.Event().wait(seconds)
            database.execute("rollback")

    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    return thread


def test_study_that_another_program_holds_is_waited_for(begun, config):
    assert study_file.WAIT_S >= 60
    with RunStore.opened(begun, config) as store:
        holder = hold(begun, 0.3)
        store.notes.extend(7)
    holder.join()
    assert read_study(begun).user_attrs["extensions"] == [7]


def test_study_that_is_held_too_long_is_named_with_the_remedy(begun, config, monkeypatch):
    monkeypatch.setattr(study_file, "WAIT_S", 0.05)
    holder = hold(begun, 0.5)
    with pytest.raises(RunError) as caught, RunStore.opened(begun, config) as store:
        store.notes.extend(7)
    holder.join()
    said = str(caught.value)
    assert said.startswith(f"{begun / STUDY}: another program, such as a backup or a dashboard,")
    assert said.endswith(f"end that program, then go on with --resume {begun}")
    assert "disk" not in said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: change(file.parent, "drop table trials"), "lacks the table trials"),
        (lambda file: change(file.parent, "delete from studies"), "lacks the study 'search'"),
    ],
)
def test_study_that_is_lost_is_not_begun_anew_over_results(begun, config, spoil, said):
    (begun / "trials.csv").write_text("number,id\n0,a\n")
    spoil(begun / STUDY)
    before = files(begun)
    with pytest.raises(RunError) as caught, RunStore.opened(begun, config):
        pass
    assert str(caught.value).startswith(f"{begun / STUDY}: {said}, but trials.csv beside it is of")
    assert files(begun) == before
    with pytest.raises(RunError, match=f"not readable as a study: the file {said}"):
        read_study(begun)
    assert files(begun) == before


def test_study_without_the_trials_that_its_results_list_is_refused(begun, config):
    (begun / "trials.csv").write_text("number,id\n0,a\n")
    change(begun, "delete from trials")
    with pytest.raises(RunError) as caught, RunStore.opened(begun, config):
        pass
    assert str(caught.value).startswith(f"{begun / STUDY}: has no trials, but trials.csv beside it")
    (begun / "trials.csv").write_text("number,id\n")  # it was interrupted before the first one
    with RunStore.opened(begun, config) as store:
        assert len(store.trials.read()) == 0


@pytest.mark.parametrize("size", [None, 0])
def test_run_that_was_killed_before_its_first_trial_is_begun(tmp_path, config, size):
    (tmp_path / "config.yaml").write_text("")
    if size is not None:
        (tmp_path / STUDY).write_bytes(b"")
    with RunStore.opened(tmp_path, config) as store:
        assert len(store.trials.read()) == 0


OF_A_TRIAL = "update trial_user_attributes set value_json = '{}' where key = '{}'"
OF_THE_STUDY = "update study_user_attributes set value_json = '{}' where key = '{}'"
MORE = "insert into study_user_attributes (study_id, value_json, key) values (1, '{}', '{}')"


@pytest.mark.parametrize(
    "statement",
    [
        OF_A_TRIAL.format("{bad", "accuracy"),
        OF_A_TRIAL.format("[]", "accuracy"),
        OF_A_TRIAL.format('"many"', "images"),
        OF_A_TRIAL.format('{"a": 1}', "architecture"),
        OF_THE_STUDY.format("{bad", "finals"),
        OF_THE_STUDY.format('{"a": 3}', "finals"),
        OF_THE_STUDY.format('{"a": {"0": 3}}', "measured"),
        OF_THE_STUDY.format("7", "measured"),
        MORE.format("[]", "wall_s"),
        MORE.format("[1]", "earlier"),
        MORE.format('{"0": ["fast"]}', "session"),
        MORE.format('{"0": [-1.0]}', "session"),
        MORE.format('{"a 100": "often"}', "tries"),
        MORE.format("[3]", "data"),
        "update trial_values set value = 1e999",
        "delete from trial_user_attributes",
        "update trials set state = 'DONE'",
        "update trials set datetime_start = 'yesterday'",
        "delete from trial_values",
        "drop table version_info",
        "alter table trials drop column state",
    ],
)
def test_study_that_is_damaged_by_hand_is_one_line(begun, config, statement):
    change(begun, statement)
    read = [lambda: RunStore.opened(begun, config), lambda: RunStore.opened_for_reading(begun)]
    for opened in read:
        try:
            with opened():
                assert "version_info" in statement  # Optuna makes it again
        except RunError as error:
            assert str(error).startswith(f"{begun / STUDY}: not readable as a study: ")
            assert "\n" not in str(error)


def test_study_that_is_no_database_is_one_line(tmp_path, config):
    (tmp_path / STUDY).write_text("not a database")
    with pytest.raises(RunError, match=r"study\.db: not readable as a study: .*not a database"):
        open_study(tmp_path, config)


def test_study_that_was_copied_is_read_as_before(begun, config, tmp_path):
    shutil.copytree(begun, tmp_path / "copy")
    with RunStore.opened(tmp_path / "copy", config) as store:
        (record,) = store.trials.read()
    assert (record.accuracy, record.images) == (0.5, 100)


def test_full_disk_is_one_line_with_its_reason(tmp_path):
    with pytest.raises(RunError) as caught, storage_errors(tmp_path):
        full_disk()
    said = f"{tmp_path / STUDY}: cannot be read or written: database or disk is full; "
    assert str(caught.value).startswith(said)
    assert f"--resume {tmp_path}" in str(caught.value)


def test_error_that_came_first_is_told_if_the_storage_then_fails_as_well(tmp_path):
    with pytest.raises(RunError, match="checkpoint cannot be written"), storage_errors(tmp_path):
        try:
            raise RunError("checkpoint cannot be written")
        finally:
            full_disk()


def test_other_errors_are_left_alone(tmp_path):
    with pytest.raises(ZeroDivisionError), storage_errors(tmp_path):
        raise ZeroDivisionError
