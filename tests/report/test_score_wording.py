"""Accuracies and scores are named after their evaluator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.config import SearchConfig
from nas.report.page import render
from nas.report.score_wording import accuracy_rule, proxy_data, score_name, trained_on
from tests.report.makers import make_result


def config_with(**options: object) -> SearchConfig:
    target = {"target": "onnxruntime", "budget_ms": 8.0}
    return SearchConfig.model_validate({"targets": [target], **options})


@pytest.mark.parametrize(
    ("evaluator", "name", "source"),
    [
        ("training", "proxy score", "on digits at 32x32"),
        ("recorded:/data/top1.csv", "accuracy", "by recorded top1.csv"),
        ("my_lab.scores:top1", "accuracy", "by my_lab.scores:top1"),
    ],
)
def test_a_score_is_named_after_its_evaluator(evaluator: str, name: str, source: str) -> None:
    config = config_with(evaluator=evaluator)
    assert score_name(config) == name
    assert trained_on(config) == source
    assert proxy_data(config) in accuracy_rule(config)


def test_the_page_of_another_evaluator_speaks_of_no_training() -> None:
    result = make_result()
    other = {"evaluator": "my_lab.scores:top1", "size_bonus": 0.0}
    page = render(replace(result, config=result.config.model_copy(update=other)))
    assert "as my_lab.scores:top1 says" in page
    for word in ("AdamW", "Proxy accuracy", "not ImageNet accuracy"):
        assert word not in page
