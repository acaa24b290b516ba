import pickle

import pytest
from mmengine.dataset import DefaultSampler

from scene_qformer.datasets import ResumableSampler
from scene_qformer.datasets import seeded_samples as seeded
from tests.small_training import Numbers, SeededNumbers


def of_rank(kind, rank, world_size, size=11, epoch=0, position=0, **options):
    """A sampler as a process of several has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size))
        sampler = kind(SeededNumbers(size), seed=3, **options)
    sampler.set_epoch(epoch)
    if position:
        sampler.set_position(position)
    return sampler


@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize(('size', 'world_size'), [(11, 1), (11, 2), (11, 3), (2, 5), (7, 7), (1, 3)])
def test_order_is_that_of_mmengine(size, world_size, shuffle, round_up):
    for rank in range(world_size):
        options = dict(size=size, epoch=4, shuffle=shuffle, round_up=round_up)
        mine = of_rank(ResumableSampler, rank, world_size, **options)
        theirs = of_rank(DefaultSampler, rank, world_size, **options)
        assert list(mine) == list(theirs) and len(mine) == len(theirs)


@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_from_a_position(world_size):
    for rank in range(world_size):
        whole = list(of_rank(ResumableSampler, rank, world_size))
        for taken in range(len(whole) + 1):
            position = min(taken * world_size, 11)
            assert list(of_rank(ResumableSampler, rank, world_size, position=position)) == whole[taken:]


@pytest.mark.parametrize(('before', 'after'), [(2, 3), (3, 2), (1, 4), (4, 1)])
def test_each_sample_once_with_another_number_of_processes(before, after):
    steps = 2
    seen = [index for rank in range(before) for index in list(of_rank(ResumableSampler, rank, before))[:steps]]
    rest = [list(of_rank(ResumableSampler, rank, after, position=before * steps, round_up=False))
            for rank in range(after)]
    assert sorted(seen + sum(rest, [])) == list(range(11))


def test_indices_carry_their_key_to_workers():
    index = next(iter(of_rank(ResumableSampler, 0, 1, epoch=4)))
    copy = pickle.loads(pickle.dumps(index))
    assert copy == index and copy.key == index.key == (3, 4, int(index)) and isinstance(copy, int)


def test_datasets_that_do_not_seed_their_samples():
    with pytest.raises(ValueError, match="Numbers does not. Put it into.*type='SeededDataset', dataset=.*Default"):
        ResumableSampler(Numbers(), seed=3)
    assert len(ResumableSampler(SeededNumbers(), seed=3)) == 11


def test_samples_depend_on_their_key_alone():
    numbers = SeededNumbers()
    one, again, other = (numbers[seeded.SampleIndex(3, (0, epoch, 3))] for epoch in (1, 1, 2))
    assert one['value'].equal(again['value']) and not one['value'].equal(other['value'])
    assert type(one['index']) is int
    assert not numbers[3]['value'].equal(numbers[3]['value'])
