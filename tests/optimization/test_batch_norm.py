import copy

import pytest
import torch
from small_models import build, images, relative_error, stir
from torch import nn

from scene_qformer.optimization.batch_norm import count_batch_norms, fold_batch_norm
from scene_qformer.optimization.image_branch import ImageBranch, as_channels_last


class Levels(nn.Module):
    """A convolution and a batch norm, registered in this order and called in another one."""

    def __init__(self, norm, norm_first=False):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3)
        self.conv, self.norm, self.norm_first = nn.Conv2d(5, 5, 3), norm, norm_first

    def forward(self, imgs):
        first, second = (self.norm, self.conv) if self.norm_first else (self.conv, self.norm)
        return [second(first(self.stem(imgs)))]


@pytest.mark.parametrize(('height', 'width'), [(48, 80), (37, 53), (16, 16)])
@torch.no_grad()
def test_equals_the_twin_on_odd_sizes(height, width):
    model = build()
    branch = ImageBranch(model.backbone, model.neck).eval()
    before = copy.deepcopy(branch.state_dict())
    fast = as_channels_last(fold_batch_norm(branch))
    imgs = images(1, 3, height, width)[0]
    expected, got = branch(imgs)[0], fast(imgs)[0]
    assert relative_error(got, expected) < 1e-5
    assert count_batch_norms(fast) == 0 and count_batch_norms(branch) > 20
    after = branch.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_order_of_calls_is_not_that_of_registration():
    branch = Levels(nn.BatchNorm2d(5), norm_first=True).eval()
    stir(branch)
    assert fold_batch_norm(branch) is branch
    branch.norm_first = False
    assert fold_batch_norm(branch) is not branch


def test_norm_that_holds_an_activation():
    class NormAct(nn.BatchNorm2d):  # as timm's BatchNormAct2d

        def forward(self, feats):
            return super().forward(feats).relu()

    branch = Levels(NormAct(5)).eval()
    stir(branch)
    assert fold_batch_norm(branch) is branch


def test_nothing_to_fold():
    branch = Levels(nn.Identity()).eval()
    assert fold_batch_norm(branch) is branch


def test_statistics_of_the_batch():
    with pytest.raises(RuntimeError, match='call model.eval'):
        fold_batch_norm(Levels(nn.BatchNorm2d(5)).train())
