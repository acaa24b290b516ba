"""Every sample once an epoch, whoever gets it; in joint batches, none of which leaves a process without."""
import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler

from scene_qformer.datasets.joint_batch_sampler import JointBatchSampler, joint_sizes
from scene_qformer.datasets.resumable_sampler import ResumableSampler
from scene_qformer.datasets.seeded_samples import SampleIndex


def shares(monkeypatch, num_samples, batch_size, world_size, shuffle=False, epoch=0, **options):
    """The batches of every process."""
    result = []
    for rank in range(world_size):
        for module in ('mmengine.dataset.sampler', 'scene_qformer.datasets.joint_batch_sampler'):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, world_size))
        sampler = DefaultSampler(range(num_samples), shuffle=shuffle, seed=3)
        batches = JointBatchSampler(sampler, batch_size, **options)
        sampler.set_epoch(epoch)
        result.append(list(batches))
        assert len(batches) == len(result[-1])
    return result


def test_as_drawn_in_the_docstring(monkeypatch):
    assert shares(monkeypatch, 11, 3, 2) == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9]]]
    assert shares(monkeypatch, 13, 3, 2) == [[[0, 2, 4], [6, 8], [10, 12]], [[1, 3, 5], [7, 9], [11]]]
    assert shares(monkeypatch, 13, 3, 2, drop_last=True) == [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]]


@pytest.mark.parametrize('world_size', [1, 2, 3, 8])
@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_every_sample_once_and_every_process_something(monkeypatch, world_size, batch_size):
    for num_samples in range(1, 41):
        processes = shares(monkeypatch, num_samples, batch_size, world_size, shuffle=True)
        assert len({len(batches) for batches in processes}) == 1  # or one would wait for ever
        assert all(1 <= len(batch) <= batch_size for batches in processes for batch in batches)
        for step in zip(*processes):
            assert max(map(len, step)) - min(map(len, step)) <= 1
        dealt = [index for batches in processes for batch in batches for index in batch]
        repeated = joint_sizes(num_samples, batch_size, world_size)[1]
        assert set(dealt) == set(range(num_samples)) and len(dealt) == num_samples + repeated
        assert repeated < world_size and (not repeated or batch_size == 1 or num_samples < world_size)


def test_one_process_with_the_joint_batch_sees_the_same(monkeypatch):
    """Step by step, as sets: what makes two processes train as one does."""
    for num_samples in (24, 27, 29):  # 29 = 4 * 6 + 5
        joint = shares(monkeypatch, num_samples, 6, 1, shuffle=True, epoch=2)[0]
        dealt = shares(monkeypatch, num_samples, 2, 3, shuffle=True, epoch=2)
        assert [set().union(*step) for step in zip(*dealt)] == [set(batch) for batch in joint]


def test_one_process_goes_as_mmengines_sampler(monkeypatch):
    batches = shares(monkeypatch, 7, 3, 1, shuffle=True, epoch=5)[0]
    sampler = DefaultSampler(range(7), seed=3)
    sampler.set_epoch(5)
    order = list(sampler)
    assert batches == [order[:3], order[3:6], order[6:]]
    assert batches != shares(monkeypatch, 7, 3, 1, shuffle=True, epoch=6)[0]


def test_repeated_samples_are_said(monkeypatch, capsys):
    assert shares(monkeypatch, 1, 4, 2) == [[[0]], [[0]]]
    assert shares(monkeypatch, 3, 1, 2) == [[[0], [2]], [[1], [0]]]
    assert joint_sizes(3, 1, 2) == ([2, 2], 1) and joint_sizes(1, 4, 3) == ([3], 2)


def test_another_sampler_is_refused():
    with pytest.raises(TypeError, match='takes the order of a DefaultSampler, not of InfiniteSampler'):
        JointBatchSampler(InfiniteSampler(range(5)), 2)


class Frames:
    seeds_samples = True

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return self.number


@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_an_epoch_goes_on_where_it_stopped(monkeypatch, world_size, batch_size):
    for module in ('mmengine.dataset.sampler', 'scene_qformer.datasets.joint_batch_sampler'):
        monkeypatch.setattr(f'{module}.get_dist_info', lambda: (world_size - 1, world_size))
    for num_samples in range(1, 32):
        sampler = ResumableSampler(Frames(num_samples), seed=7)
        batches = JointBatchSampler(sampler, batch_size)
        whole, sizes = list(batches), batches.joint_batches()
        for done in range(1, len(sizes) + 1):
            position = min(sum(sizes[:done]), num_samples)
            sampler.set_position(position)
            assert list(batches) == whole[done:] and batches.joint_batches(position) == sizes[done:]
        assert all(isinstance(index, SampleIndex) for batch in whole for index in batch)
