"""timm without the backbone around it."""
import torch

from scene_qformer.models import TimmBackbone
from scene_qformer.models.backbones.timm_library import import_timm


def with_weights_of(backbone: TimmBackbone, name: str, **kwargs) -> torch.nn.Module:
    """timm's own model, whole, with the backbone's weights where it has them."""
    model = import_timm().create_model(name, pretrained=False, **kwargs).eval()
    target = model.model if kwargs.get('features_only') else model
    result = target.load_state_dict(backbone.model.state_dict(), strict=False)
    assert result.unexpected_keys == []
    assert {key.split('.')[0] for key in result.missing_keys} <= {'head', 'fc_norm'}
    return model
