"""Training over processes, as far as one process can show it."""
from pathlib import Path

import torch
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from tests.models.test_scene_qformer import build, images, samples
from tests.processes import free_port

RUNTIME = Path(__file__).parents[2] / 'configs/_base_/default_runtime.py'


def test_two_steps_of_data_parallel_training():
    """The projector gets no gradient from detection; without the config's setting the second step would raise."""
    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{free_port()}', rank=0, world_size=1)
    try:
        find_unused = Config.fromfile(RUNTIME).find_unused_parameters
        model = DistributedDataParallel(build().train(), find_unused_parameters=find_unused)
        for _ in range(2):
            losses = model(dict(imgs=images()), samples(), mode='loss')
            sum(losses.values()).backward()
        assert model.module.bbox_head.cls_branch[0].weight.grad.abs().sum() > 0
    finally:
        torch.distributed.destroy_process_group()
