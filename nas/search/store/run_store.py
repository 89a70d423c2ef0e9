"""The state of a run: its Optuna study and its folder, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna

from nas.accuracy.evaluator import checkpoint_name
from nas.config import SearchConfig
from nas.errors import RunError
from nas.search.store.run_folder import CONFIG, write_config
from nas.search.store.study_file import open_study, read_study, storage_errors, study_errors
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
            RunError: another process works on the run, its study cannot be read or written, or it
                was begun with another configuration.
        """
        with locked(folder, RunError, "working on this run"):
            store = cls._read(open_study(folder, config), folder)
            with storage_errors(folder):
                store.notes.require_config(config, folder / CONFIG)
                yield store

    @classmethod
    @contextmanager
    def opened_for_reading(cls, folder: Path) -> Iterator[RunStore]:
        """Open another run for reading.

        Raises:
            RunError: its study cannot be read.
        """
        store = cls._read(read_study(folder), folder)
        with storage_errors(folder):
            yield store

    @classmethod
    def _read(cls, study: optuna.Study, folder: Path) -> RunStore:
        """Read all of a study once, so that a damaged one is refused before anything is spent."""
        with study_errors(folder):
            store = cls(study, folder)
            store.trials.read()
            store.notes.check()
        return store

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
        """Remove the files of an architecture's checkpoint, if there are any."""
        self._remove_checkpoints_of([architecture_id])

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of this run's trials, and their folder if it is empty then."""
        known = {r.architecture for r in self.trials.read() if r.architecture is not None}
        self._remove_checkpoints_of([architecture.id for architecture in known])
        with suppress(OSError):
            self.checkpoint_folder.rmdir()

    def _remove_checkpoints_of(self, architecture_ids: Iterable[str]) -> None:
        names = tuple(checkpoint_name(each) for each in architecture_ids)
        with suppress(OSError):  # a file that stays does no harm
            for path in list(self.checkpoint_folder.iterdir()):
                # An unfinished file begins with a dot: a killed worker may have left one.
                if path.name.removeprefix(".").startswith(names):
                    path.unlink()
