"""Texts about the accuracies, scores and longer trainings that rank candidates."""

from __future__ import annotations

from pathlib import PurePath

from nas.accuracy.size_bonus import REFERENCE_MACS, SizeBonus
from nas.config import TRAINING, SearchConfig
from nas.report.notation import accuracy_text, points_text
from nas.results.values import Candidate, SearchResult, decided_between


def proxy_name(config: SearchConfig) -> str:
    """Short name of the source of accuracies: ``digits``, ``recorded accuracies.csv``."""
    if config.evaluator != TRAINING:
        return evaluator_text(config)
    kind, _, path = config.proxy.data.partition(":")
    return f"{kind} {PurePath(path).name}" if path else kind


def proxy_data(config: SearchConfig) -> str:
    """Name of the data and image size, or of the evaluator, that an accuracy comes from."""
    if config.evaluator != TRAINING:
        return evaluator_text(config)
    return f"{config.proxy.data} at {config.proxy.resolution}x{config.proxy.resolution}"


def trained_on(config: SearchConfig) -> str:
    """`proxy_data` with its preposition: on the data, or by the evaluator."""
    return f"{'on' if config.evaluator == TRAINING else 'by'} {proxy_data(config)}"


def evaluator_text(config: SearchConfig) -> str:
    """Name of an evaluator without proxy training: a file of accuracies, or a user's function."""
    kind, _, path = config.evaluator.partition(":")
    return f"{kind} {PurePath(path).name}" if kind == "recorded" else config.evaluator


def score_name(config: SearchConfig) -> str:
    """Name of the value that ranks candidates: accuracy, or a score that adds a size bonus.

    It begins with ``proxy`` if the evaluator is proxy training.
    """
    name = "score" if per_doubling(config) else "accuracy"
    return f"proxy {name}" if config.evaluator == TRAINING else name


def accuracy_rule(config: SearchConfig) -> str:
    """Say where the accuracies come from, to a reader who expects those of ImageNet."""
    if config.evaluator != TRAINING:
        return f"as {evaluator_text(config)} says"
    return f"proxy, on {proxy_data(config)}; not ImageNet accuracy"


def per_doubling(config: SearchConfig) -> float:
    """Size bonus (accuracy, 0..1) of a full training for each doubling of MACs; 0 without one."""
    bonus = SizeBonus(config.size_bonus, config.workload)
    return bonus.per_doubling(config.proxy.train_images)


def score_rule(config: SearchConfig) -> str:
    """Say how the score of a full training is computed; empty without a size bonus."""
    added = per_doubling(config)
    if not added:
        return ""
    return (
        f"accuracy, and {points_text(added)} points for each doubling of MACs above "
        f"{REFERENCE_MACS / 1e9:g} G: short training underrates large networks"
    )


def score_text(candidate: Candidate, config: SearchConfig) -> str:
    """The score of a candidate, with its accuracy and size bonus."""
    named = f"{accuracy_text(candidate.score)} {score_name(config)}"
    if not per_doubling(config):
        return named
    added = points_text(candidate.bonus)
    return f"{named} ({accuracy_text(candidate.accuracy)} accuracy, {added} for size)"


def longer_text(candidate: Candidate) -> str:
    """Result of a finalist's longer training; empty for other candidates."""
    longer = candidate.longer
    if longer is None:
        return ""
    if longer.message:
        return f"failed when trained longer: {longer.message}"
    if longer.diverged:
        return "diverged when trained longer"
    return f"{accuracy_text(longer.score)} after {longer.images:,} images"


def finalists_rule(result: SearchResult) -> str:
    """Say how the recommendation was chosen among the finalists; empty if they did not decide."""
    trainings = decided_between(result.candidates, result.config.finalists)
    if result.recommended is None or result.recommended.number not in trainings:
        return ""
    longer = trainings[result.recommended.number]
    best = score_name(result.config).removeprefix("proxy ")
    return (
        f"{len(trainings)} candidates of the best {best} were trained again, on "
        f"{longer.images:,} images and with another seed; the one within budget whose mean {best} "
        f"of both trainings is best is recommended"
    )
