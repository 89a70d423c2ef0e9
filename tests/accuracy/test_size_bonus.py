"""The size bonus that is added to a proxy accuracy."""

from __future__ import annotations

import pytest

import nas
from nas.accuracy.size_bonus import LONG_IMAGES, REFERENCE_MACS, SizeBonus
from nas.models.cost import network_cost
from nas.space.workload import IMAGENET, Workload

SMALL = nas.load_architecture("nextvit-small")
BONUS = SizeBonus(0.01, IMAGENET)


def test_a_halving_of_the_images_makes_a_doubling_of_macs_worth_the_weight():
    def macs(resolution: int) -> int:
        return network_cost(SMALL.blocks(Workload.square(resolution))).macs

    larger = SizeBonus(0.01, Workload.square(320))
    ratio = macs(320) / macs(224)
    for halvings in (1, 2, 5):
        images = LONG_IMAGES // 2**halvings
        gained = larger.of(SMALL, images) - BONUS.of(SMALL, images)
        assert 2 ** (gained / (0.01 * halvings)) == pytest.approx(ratio)


def test_the_sign_is_that_of_the_distance_to_the_reference():
    assert network_cost(SMALL.blocks()).macs > REFERENCE_MACS
    assert BONUS.of(SMALL, 16_000) > 0
    assert SizeBonus(0.01, Workload.square(32)).of(SMALL, 16_000) < 0


@pytest.mark.parametrize("images", [LONG_IMAGES, 10 * LONG_IMAGES])
def test_nothing_is_added_after_a_long_training(images):
    assert BONUS.of(SMALL, images) == 0


def test_nothing_is_added_without_a_weight():
    assert SizeBonus(0.0, IMAGENET).of(SMALL, 1_000) == 0


def test_no_images_at_all_are_no_error():
    assert BONUS.of(SMALL, 0) > BONUS.of(SMALL, 2)
