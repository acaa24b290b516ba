"""Pickles with tensors and boxes, as mmengine and mmdet3d write their results."""
import os
import pickle
from collections import OrderedDict

import mmengine
import numpy as np
import pytest
import torch
from mmdet3d.structures import (
    Box3DMode,
    CameraInstance3DBoxes,
    DepthInstance3DBoxes,
    Det3DDataSample,
    LiDARInstance3DBoxes,
)
from mmengine.evaluator import DumpResults
from mmengine.structures import InstanceData

import scene_qformer  # noqa: F401
from scene_qformer.data_only_pickle import loads_data
from scene_qformer.engine.pickled_tensors import TENSORS_AND_BOXES

NUMBERS = torch.arange(12.).reshape(3, 4)
TENSORS = dict(
    plain=NUMBERS, transposed=NUMBERS.t(), part=NUMBERS[1:, ::2], empty=torch.zeros(0, 3), one=torch.tensor(7),
    flags=NUMBERS > 3, half=NUMBERS.half(), brain=NUMBERS.bfloat16(), bytes=NUMBERS.byte(),
    repeated=torch.ones(1).expand(5), learned=torch.ones(2, requires_grad=True),
    inside=[(torch.zeros(2), dict(a=torch.ones(3)))])


def read(value, protocol=2):
    return loads_data(pickle.dumps(value, protocol=protocol), 'x', TENSORS_AND_BOXES)


@pytest.mark.parametrize('protocol', range(2, 6))
@pytest.mark.parametrize('name', TENSORS)
def test_tensors_come_back_as_they_were(name, protocol):
    value, found = TENSORS[name], read(TENSORS[name], protocol)
    if name == 'inside':
        assert found[0][0].tolist() == [0., 0.] and found[0][1]['a'].tolist() == [1., 1., 1.]
    else:
        assert found.dtype == value.dtype and found.stride() == value.stride() and torch.equal(found, value)
        assert found.requires_grad == value.requires_grad


@pytest.mark.parametrize('kind', [LiDARInstance3DBoxes, CameraInstance3DBoxes, DepthInstance3DBoxes])
def test_boxes(kind):
    boxes = kind(torch.rand(2, 9) + 1, box_dim=9)
    lying = kind(torch.rand(2, 6) + 1, box_dim=6, with_yaw=False)
    found = read(dict(boxes=boxes, again=boxes, lying=lying, none=kind(torch.zeros(0, 9), box_dim=9), kind=kind))
    assert type(found['boxes']) is kind and vars(found['boxes']).keys() == vars(boxes).keys()
    assert torch.equal(found['boxes'].tensor, boxes.tensor) and found['again'] is found['boxes']
    assert found['lying'].box_dim == 7 and not found['lying'].with_yaw and found['kind'] is kind
    assert found['none'].tensor.shape == (0, 9)


def test_results_that_are_dumped(tmp_path):
    """What ``DumpResults`` and ``mmengine.dump`` write, ``mmengine.load`` reads."""
    sample = Det3DDataSample(
        metainfo=dict(token='a', box_type_3d=LiDARInstance3DBoxes, box_mode_3d=Box3DMode.LIDAR, lidar2img=np.eye(4)),
        pred_instances_3d=InstanceData(bboxes_3d=LiDARInstance3DBoxes(torch.rand(2, 9), box_dim=9),
                                       scores_3d=torch.rand(2), labels_3d=torch.tensor([1, 0])))
    metric = DumpResults(str(tmp_path / 'results.pkl'))
    metric.process(None, [sample.to_dict()])
    metric.evaluate(1)
    found, = mmengine.load(tmp_path / 'results.pkl')
    assert torch.equal(found['pred_instances_3d']['bboxes_3d'].tensor, sample.pred_instances_3d.bboxes_3d.tensor)
    assert torch.equal(found['pred_instances_3d']['scores_3d'], sample.pred_instances_3d.scores_3d)
    assert found['box_type_3d'] is LiDARInstance3DBoxes and found['box_mode_3d'] is Box3DMode.LIDAR
    assert found['lidar2img'].tolist() == np.eye(4).tolist()


class Says:
    """Pickled as a call of a function that the reader knows, and a state for what comes of it."""

    def __init__(self, function, *arguments, state=None):
        self.answer = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self):
        return self.answer


def numbers(count=4):
    return torch.zeros(count).storage()


def rebuilt(size, stride, offset=0, count=4, **more):
    return Says(torch._utils._rebuild_tensor_v2, numbers(count), offset, size, stride, False, OrderedDict(), **more)


class Runs:
    def __reduce__(self):
        return os.system, ('touch was_run', )


def stored(value, zipped=False):
    import io
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return Says(torch.storage._load_from_bytes, file.getvalue())


def boxes(state):
    found = LiDARInstance3DBoxes(torch.rand(2, 7))
    vars(found).clear()
    vars(found).update(state)
    return found


EVIL = {
    'beyond its numbers': rebuilt((5, ), (1, )), 'from beyond': rebuilt((2, ), (1, ), offset=3),
    'a step beyond': rebuilt((2, ), (4, )), 'backwards': rebuilt((2, ), (-1, ), offset=3),
    'a trillion of one': rebuilt((1 << 40, ), (0, )), 'no number': rebuilt((True, ), (1, )),
    'sides that overflow': rebuilt((1 << 40, 1 << 40), (1 << 40, 1)), 'no shape': rebuilt('ab', 'cd'),
    'a state for a tensor': rebuilt((2, ), (1, ), state=(numbers(), 0, (1 << 20, ), (1, ))),
    'code among the numbers': stored(Runs()), 'a dict of numbers': stored(dict(a=1)),
    'an archive': stored(numbers(), zipped=True),
    'numbers that are cut': Says(torch.storage._load_from_bytes, b'\x80\x02'),
    'no bytes': Says(torch.storage._load_from_bytes, 'text'),
    'numbers alone': numbers(), 'a tensor as a key': {NUMBERS: 1}, 'a class as a key': {LiDARInstance3DBoxes: 1},
    'boxes without numbers': boxes(dict(box_dim=7)), 'boxes of a list': boxes(dict(box_dim=7, tensor=[1])),
    'boxes of a row': boxes(dict(box_dim=7, tensor=torch.zeros(7))),
    'boxes of other sides': boxes(dict(box_dim=9, tensor=torch.zeros(1, 7))),
    'no such mode': Says(Box3DMode, 7), 'a state for a mode': Says(Box3DMode, 0, state=dict(_value_=5)),
    'a module': torch.nn.Linear(1, 1),
}


@pytest.mark.parametrize('name', EVIL)
def test_what_asks_for_more_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='Cannot unpickle x: ..'):
        read(EVIL[name])
    assert not list(tmp_path.iterdir()) and Box3DMode.LIDAR.value == 0
    assert read(Box3DMode.LIDAR) is Box3DMode.LIDAR and torch.equal(read(NUMBERS), NUMBERS)


def test_a_pickle_cannot_change_the_stand_in_of_a_class():
    """A state given to the class itself would stay for the next file."""
    for state in (b'}X\x04\x00\x00\x00nameX\x0f\x00\x00\x00Det3DDataSamples',
                  b'N}X\x04\x00\x00\x00nameX\x01\x00\x00\x00as\x86'):
        evil = b'\x80\x02cmmdet3d.structures.bbox_3d.lidar_box3d\nLiDARInstance3DBoxes\n' + state + b'b.'
        with pytest.raises(ValueError, match='Cannot unpickle x'):
            loads_data(evil, 'x', TENSORS_AND_BOXES)
    assert read(LiDARInstance3DBoxes) is LiDARInstance3DBoxes


def test_info_files_hold_none():
    with pytest.raises(ValueError, match='it refers to torch._utils._rebuild_tensor_v2; only plain Python containers'):
        loads_data(pickle.dumps(NUMBERS, protocol=2), 'x')
