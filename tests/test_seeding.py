import random

import numpy as np
import torch

from scene_qformer.seeding import seed_generators, seeded


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_a_key_gives_its_numbers():
    seed_generators(7, 0, 3)
    first = draw()
    draw()
    seed_generators(7, 0, 3)
    assert draw() == first


def test_keys_that_differ_in_one_place():
    drawn = []
    for key in [(7, 0, 3), (7, 0, 4), (7, 1, 3), (8, 0, 3), (7, 3, 0), (7, 0), (2**40, 0, 3)]:
        seed_generators(*key)
        drawn.append(draw())
    for of_one_generator in zip(*drawn):
        assert len(set(of_one_generator)) == len(drawn)


def test_afterwards_the_generators_go_on():
    seed_generators(1)
    expected = draw()
    seed_generators(1)
    with seeded(2):
        inside = draw()
    assert draw() == expected and inside != expected
    with seeded(2):
        assert draw() == inside
