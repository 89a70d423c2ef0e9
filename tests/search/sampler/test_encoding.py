"""The encoding of selections, compared with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nas.search.sampler.encoding import Encoder
from nas.space.parameter_space import Choices, Selection
from tests.toy import RATIOS, WIDTHS, Toy, every_selection

OFFERED: dict[str, Choices] = {
    "depth": (1, 2),
    "s1.width": (64, 16, 32),
    "s2.width": (16, 32),
    "s2.ratio": (0.25, 0.5, 0.75),
    "s2.ratio@16": (0.5, 1),
}


def selected(**values) -> Selection[None]:
    """A selection that answered these; ``__`` stands for a dot and ``_at_`` for an @."""
    params = {n.replace("__", ".").replace("_at_", "@"): v for n, v in values.items()}
    return Selection(None, params, {name: OFFERED.get(name, (params[name],)) for name in params})


DEEP = selected(depth=2, s1__width=64, s2__width=32, s2__ratio=0.5)
NARROWED = selected(depth=2, s1__width=32, s2__width=16, s2__ratio_at_16=1)
FLAT = selected(depth=1, s1__width=16)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder([FLAT, DEEP, NARROWED])


def test_shapes_count_fields_values_and_properties(encoder):
    encoded = encoder.encode([DEEP, FLAT])
    assert encoder.fields == 4  # depth, s1.width, s2.width, s2.ratio
    assert encoded.ranks.shape == (2, 4)
    assert encoded.one_hot.shape == (2, 2 + 3 + 2 + 4)
    assert encoded.shared.shape == (2, 2 * 3)  # depth, width, ratio
    assert [part.shape[0] for part in vars(encoder.encode([])).values()] == [0, 0, 0]


def test_ranks_go_from_smallest_to_largest_of_all_choices(encoder):
    ranks = encoder.encode([DEEP, NARROWED, FLAT]).ranks
    # Ratios are 0.25, 0.5, 0.75 and 1 with both narrowings taken together.
    np.testing.assert_allclose(ranks, [[1, 1, 1, 1 / 3], [1, 0.5, 0, 1], [0, 0, 0, 0]])


def test_what_was_not_asked_for_has_no_value(encoder):
    encoded = encoder.encode([FLAT, DEEP])
    assert encoded.one_hot.sum(axis=1).tolist() == [2, 4]
    assert set(encoded.one_hot.ravel()) == {0.0, 1.0}
    smallest = selected(depth=1, s1__width=16, s2__width=16)
    one, other = encoder.encode([FLAT, smallest]).one_hot
    assert np.abs(one - other).sum() == 1  # though the ranks are equal


def test_places_share_their_properties(encoder):
    shared = encoder.encode([DEEP, NARROWED, FLAT]).shared
    ranks, asked = shared[:, :3], shared[:, 3:]
    np.testing.assert_allclose(ranks, [[1, 2, 1 / 3], [1, 0.5, 1], [0, 0, 0]])
    assert asked.tolist() == [[1, 2, 1], [1, 2, 1], [1, 1, 0]]


def test_a_narrowed_name_is_the_same_field(encoder):
    narrowed = selected(depth=2, s1__width=64, s2__width=16, s2__ratio_at_16=0.5)
    free = selected(depth=2, s1__width=64, s2__width=16, s2__ratio=0.5)
    one, other = encoder.encode([narrowed]), encoder.encode([free])
    for name in ("ranks", "one_hot", "shared"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_what_no_known_selection_met_is_not_encoded(encoder):
    strange = selected(depth=2, s1__width=48, s3__width=16, unrelated=1)
    encoded = encoder.encode([strange])
    assert encoded.ranks.tolist() == [[1, 0, 0, 0]]
    assert encoded.one_hot.sum() == 1
    assert encoded.shared.tolist() == [[1, 0, 0, 1, 0, 0]]


def test_equal_numbers_are_one_value_whatever_their_type(encoder):
    one = encoder.encode([selected(depth=2, s1__width=64, s2__width=32, s2__ratio=1)])
    other = encoder.encode([selected(depth=2.0, s1__width=64.0, s2__width=32.0, s2__ratio=1.0)])
    np.testing.assert_array_equal(one.one_hot, other.one_hot)
    np.testing.assert_array_equal(one.ranks, other.ranks)
    mixed = [
        Selection(None, {"a": 1}, {"a": (1, 2)}),
        Selection(None, {"a": 1.0}, {"a": (1.0, 2.0)}),
    ]
    assert Encoder(mixed).encode(mixed).one_hot.shape == (2, 2)


def test_a_single_choice_has_rank_zero_and_counts_as_asked():
    selection = Selection(None, {"a": 7}, {"a": (7,)})
    encoded = Encoder([selection]).encode([selection])
    assert (encoded.ranks.tolist(), encoded.one_hot.tolist()) == ([[0]], [[1]])
    assert encoded.shared.tolist() == [[0, 1]]


def test_different_selections_of_a_space_have_different_values():
    selections = list(every_selection(Toy(2)))
    encoder = Encoder(selections)
    encoded = encoder.encode(selections)
    assert len({row.tobytes() for row in encoded.one_hot}) == len(selections)
    assert encoded.one_hot.shape[1] == 2 + 2 * (len(WIDTHS) + 2 + len(RATIOS))
    assert encoded.ranks.min() == 0
    assert encoded.ranks.max() == 1
