import time

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import nn

from scene_qformer.evaluation.forward_time import time_forward

order = []


class Sleeper(BaseModel):

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.dropout = seconds, nn.Dropout()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'predict' and not self.training and torch.is_inference_mode_enabled()
        order.append(self.seconds)
        time.sleep(self.seconds)


def test_models_take_turns():
    order.clear()
    times = time_forward(dict(short=Sleeper(0.001), long=Sleeper(0.03)), dict(inputs=torch.zeros(1)), rounds=5)
    assert times['short'].shape == times['long'].shape == (5, )
    assert np.median(times['long']) >= 0.03 and np.median(times['short']) < np.median(times['long'])
    pairs = [tuple(order[index:index + 2]) for index in range(0, 12, 2)]  # with one round that is not timed
    assert len(pairs) == 6 and all(set(pair) == {0.001, 0.03} for pair in pairs)
    assert len(set(pairs)) == 2  # not always in the same order
