"""Nothing that a user can see has changed: ids, costs, predictions, suggestions, the report."""

from __future__ import annotations

import pytest

from tests.golden.files import COMPUTED, architectures, differences, read


@pytest.mark.parametrize("name", COMPUTED)
def test_is_as_recorded(name: str) -> None:
    found, expected = COMPUTED[name](), read(name)
    if isinstance(expected, str):
        assert found.splitlines() == expected.splitlines()
    else:
        assert differences(found, expected) == []


def test_the_recorded_architectures_are_all_different() -> None:
    assert len({str(value) for value in architectures()}) == len(architectures()) == 200
