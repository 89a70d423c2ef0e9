"""The state of a run: its Optuna study and its folder, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from nas.accuracy.evaluator import checkpoint_name
from nas.config import SearchConfig
from nas.errors import RunError
from nas.search.store.run_folder import open_study, read_study, storage_errors, write_config
from nas.search.store.study_notes import StudyNotes
from nas.search.store.trial_store import TrialStore
from nas.system.lock import locked


class RunStore:
    """Reads and writes the state of a run.

    Args:
        study: study of the run.
        folder: folder of the run.

    Attributes:
        folder: folder of the run.
        trials: the trials in the study.
        notes: everything else in the study.
    """

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        self.folder = folder
        self.trials = TrialStore(study)
        self.notes = StudyNotes(study)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, config: SearchConfig) -> Iterator[RunStore]:
        """Open a run for this process alone; create its study if there is none.

        Args:
            folder: folder of the run.
            config: configuration of the run.

        Raises:
            RunError: another process works on the run, or its study cannot be read or written.
        """
        with locked(folder, RunError, "working on this run"), storage_errors(folder):
            yield cls(open_study(folder, config), folder)

    @classmethod
    @contextmanager
    def opened_for_reading(cls, folder: Path) -> Iterator[RunStore]:
        """Open another run for reading.

        Raises:
            RunError: its study cannot be read.
        """
        with storage_errors(folder):
            yield cls(read_study(folder), folder)

    def write_config(self, config: SearchConfig) -> None:
        """Write a changed configuration into the run's folder.

        Raises:
            RunError: the file cannot be written.
        """
        write_config(self.folder, config)

    @property
    def checkpoint_folder(self) -> Path:
        """Folder of the checkpoints of trainings that stopped at a rung."""
        return self.folder / "checkpoints"

    def with_checkpoint(self) -> set[str]:
        """Return the ids of the architectures that have a checkpoint to go on from."""
        suffix = checkpoint_name("")
        found = self.checkpoint_folder.glob(f"*{suffix}")
        return {path.name.removesuffix(suffix) for path in found}

    def remove_checkpoint(self, architecture_id: str) -> None:
        """Remove an architecture's checkpoint, if there is one."""
        (self.checkpoint_folder / checkpoint_name(architecture_id)).unlink(missing_ok=True)

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints of the run."""
        shutil.rmtree(self.checkpoint_folder, ignore_errors=True)
