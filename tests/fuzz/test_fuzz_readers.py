"""The fuzzed readers take their seeds, and spoilt seeds do no harm. Fuzzing itself is `make fuzz`."""
import random

import pytest
from fuzz_readers import TARGETS, guarded, write_seeds


@pytest.mark.parametrize('target', TARGETS)
def test_seeds_are_read_to_the_end(tmp_path, target):
    write_seeds(target, tmp_path / 'corpus')
    read = TARGETS[target](tmp_path)
    seeds = sorted((tmp_path / 'corpus').iterdir())
    assert len(seeds) >= 1
    for seed in seeds:
        read(seed.read_bytes())  # raises nothing


@pytest.mark.parametrize('target', TARGETS)
def test_spoilt_seeds_are_refused_in_words(tmp_path, target):
    write_seeds(target, tmp_path / 'corpus')
    read, rng, refused = guarded(TARGETS[target](tmp_path)), random.Random(0), 0
    for seed in sorted((tmp_path / 'corpus').iterdir()):
        for _ in range(100):
            content = bytearray(seed.read_bytes())
            for _ in range(rng.randint(1, 3)):
                place = rng.randrange(len(content))
                content[place:place + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
            read(bytes(content))
            refused += 1
    assert refused >= 100


def test_an_error_from_the_inside_is_a_finding():
    for error in (RuntimeError('x' * 30), ValueError('short'), UnicodeDecodeError('utf-8', b'x', 0, 1, 'x' * 30)):
        def read(content, error=error):
            raise error
        with pytest.raises((AssertionError, RuntimeError)):
            guarded(read)(b'')
