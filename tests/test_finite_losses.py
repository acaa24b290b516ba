import pytest
import torch
from mmdet3d.structures import Det3DDataSample

from scene_qformer.finite_losses import check_finite_losses, collecting_losses
from scene_qformer.models import NonFiniteLossError


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_names_the_losses_and_the_samples(bad):
    samples = [Det3DDataSample(metainfo=dict(sample_token=token)) for token in ('aaa', 'bbb')]
    losses = dict(loss_cls=torch.tensor(1.), loss_bbox=torch.tensor([2., bad]))
    with pytest.raises(NonFiniteLossError, match=r'no weight was changed.*loss_bbox=.*aaa, bbb') as caught:
        check_finite_losses(losses, samples)
    assert 'loss_cls' not in str(caught.value)


def test_finite_losses_pass():
    check_finite_losses(dict(loss=torch.tensor(1e30)), [])


class Spoilt(torch.nn.Module):
    def forward(self, error=None):
        losses = dict(loss=torch.tensor(float('nan')))
        check_finite_losses(losses, [])
        if error:
            raise error
        return losses


def test_losses_are_collected_of_one_model_in_training_alone():
    model, other, found = Spoilt(), Spoilt(), []
    with collecting_losses(model, found):
        model()
        with pytest.raises(KeyError):
            model(KeyError())
        assert found == ['loss=nan', 'loss=nan']
        for case in (other, Spoilt().eval()):
            with pytest.raises(NonFiniteLossError):
                case()
        with pytest.raises(NonFiniteLossError):
            model.eval()()
        model.train()
    with pytest.raises(NonFiniteLossError):
        model()
    assert len(found) == 2
