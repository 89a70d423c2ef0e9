"""Prints the progress of a search or a measurement."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from nas.accuracy.data.source import DataSummary
from nas.report.console import shown_text
from nas.results.values import SEARCHED
from nas.search.callbacks import Listener, Trained

LINE_EVERY_S = 15.0
"""Seconds between progress lines if the output is not a terminal."""


class LivePrinter:
    """Prints progress to a console: a bar on a terminal, else a line every `LINE_EVERY_S` seconds.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""
        self._score_name = "proxy"
        self._started = 0.0
        self._last_line = 0.0
        self._last_event = time.monotonic()

    def listener(self) -> Listener:
        """Make a listener that passes every event of a search to this printer."""
        return Listener(
            stage=self.stage,
            data=self.data,
            measuring=self.progress,
            training=self.training,
            trained=self.trained,
            verifying=lambda done, total: self.progress("networks", done, total),
            finalists=lambda done, total: self.progress("finalists", done, total, "trained"),
        )

    def stage(self, name: str) -> None:
        """Print that a stage of the search begins; print nothing if there is no text for it."""
        self.close()
        self._last_event = time.monotonic()
        if name == "evaluating":
            self._score_name = "score"
        text = {
            "measuring": "No complete latency table for this machine yet: measuring it first.",
            "training": "Training candidates by proxy.",
            "evaluating": "Evaluating candidates.",
            "session": "Measuring some networks of the table again: how fast is the machine now?",
            "verifying": "Measuring the best on this machine.",
            "confirming": "Measuring what is to be recommended once more.",
            "finalists": "Training the finalists once more, longer and with another seed.",
        }.get(name)
        if text:
            self.console.print(text, style="bold")

    def data(self, data: DataSummary) -> None:
        """Print the numbers of classes and images."""
        text = shown_text(self.console, f"Data: {data.source}: {data.text}.")
        self.console.print(text, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int, verb: str = "measured") -> None:
        """Show that ``done`` of ``total`` things were measured.

        Args:
            what: name of the things, for example ``networks``.
            done: number of things that are finished.
            total: number of all things.
            verb: what was done with them, if they were not measured.
        """
        now = time.monotonic()
        if what != self._what:
            self.close()
            self._what, self._started, self._last_line = what, self._last_event, now
        if self.console.is_terminal:
            self._advance(what, done, total, "")
        elif done == total or now - self._last_line > LINE_EVERY_S:
            self._last_line = now
            remaining = ""
            if 0 < done < total:
                remaining_s = (now - self._started) / done * (total - done)
                remaining = f", about {remaining_s:.0f} s left"
            self.console.print(f"  {what}: {done} of {total} {verb}{remaining}", highlight=False)
        self._last_event = now
        if done == total:
            self.close()

    def training(self, done: int, total: int) -> None:
        """Show how many candidates are trained when a search begins: ``done`` of ``total``."""
        if self.console.is_terminal and done < total:
            self._advance("trials", done, total, "")

    def trained(self, event: Trained) -> None:
        """Print a line on an evaluation, and update the bar."""
        place = f"{event.done:>3}/{event.total}"
        if len(event.at_rung) > 1:
            place += f"  rung {event.rung}"
        candidate = event.candidate
        if candidate is None:
            text = f"{place}  training diverged and was stopped"
            if event.failure:
                text = f"{place}  failed: {event.failure}"
        else:
            latency = " /".join(f"{one.predicted.latency_ms:7.2f}" for one in candidate.latencies)
            text = (
                f"{place}  {latency} ms {event.provenance}  "
                f"{self._score_name} {100 * candidate.score:5.2f}%  "
                f"{candidate.architecture.id}  {event.seconds:4.0f} s"
            )
            if candidate.origin != SEARCHED:
                text += f"  {candidate.origin}"
            if event.on_front:
                text += "  on the front"
        shown = shown_text(self.console, text)
        if self.console.is_terminal:
            self.console.print(shown, highlight=False)
            self._advance("trials", event.done, event.total, _so_far(event))
        else:
            self.console.print(shown, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
        self._what = ""

    def _advance(self, what: str, done: int, total: int, note: str) -> None:
        if self._bar is None:
            column = Column(overflow="fold")  # an ellipsis is not in every encoding
            columns = (
                TextColumn("  {task.description}", table_column=column.copy()),
                BarColumn(bar_width=20),
                MofNCompleteColumn(table_column=column.copy()),
                TextColumn("time left", table_column=column.copy()),
                TimeRemainingColumn(table_column=column.copy()),
                TextColumn("{task.fields[note]}", table_column=column.copy()),
            )
            # A trial takes minutes: the speed is that of the last hour.
            self._bar = Progress(*columns, console=self.console, speed_estimate_period=3600.0)
            self._task = self._bar.add_task(what, total=total, completed=done, note=note)
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total, note=note, refresh=True)


def _so_far(event: Trained) -> str:
    rungs = ""
    if len(event.at_rung) > 1:
        rungs = f"rungs {' > '.join(map(str, event.at_rung))}, "
    if event.best is None:
        return f"{rungs}none within budget yet"
    latency = " / ".join(f"{one.latency_ms:.2f}" for one in event.best.latencies)
    best = f"best {100 * event.best.score:.1f}% at {latency} ms"
    return f"{rungs}{best}, hypervolume {event.hypervolume:.3f}"
