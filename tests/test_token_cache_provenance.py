"""What of a config and of a checkpoint counts for the tokens of a cache, and what does not."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from scene_qformer.token_cache import Provenance, StaleTokenCacheError, TokenCache, TokenCacheWriter
from scene_qformer.token_cache.provenance import settings_differences, token_settings, weights_sha256
from tests.small_encoder import SmallEncoder, make_small_encoder, save_weights


@pytest.fixture(scope='module')
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SmallEncoder:
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


def changed(cfg: Config, **options) -> list[str]:
    """In what the settings of a config differ after some options, for queries."""
    other = Config(cfg.to_dict())
    other.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    return settings_differences(token_settings(cfg, 'queries'), token_settings(other, 'queries'))


def test_the_way_from_images_to_tokens_counts(encoder: SmallEncoder):
    cfg = encoder.cfg
    assert changed(cfg, model__scene_queries__num_queries=11) == ['model.scene_queries.num_queries: 13 there, 11 here']
    assert changed(cfg, model__data_preprocessor__mean=[1, 2, 3])[0] == (
        'model.data_preprocessor.mean.0: 123.675 there, 1 here')
    assert 'pipeline.0.size.0: 224 there, 112 here' in changed(
        cfg, test_dataloader__dataset__pipeline=[dict(type='LoadSurroundImages', size=(112, 63))])
    assert changed(cfg, test_dataloader__dataset__cam_names=['CAM_BACK'])


def test_all_else_does_not(encoder: SmallEncoder):
    assert changed(encoder.cfg, model__bbox_head__num_classes=3, model__projector__out_channels=7,
                   data_root='elsewhere', optim_wrapper__optimizer__lr=1, model__language_model=dict(type='X'),
                   model__frozen_parts=['neck'],
                   model__backbone__init_cfg=dict(type='Pretrained', checkpoint='x')) == []


def test_the_projector_counts_for_tokens(encoder: SmallEncoder):
    cfg, other = encoder.cfg, encoder.cfg
    other.model.projector.hidden_channels = 5
    assert settings_differences(token_settings(cfg, 'tokens'), token_settings(other, 'tokens')) == [
        'model.projector.hidden_channels: 17 there, 5 here']


def edited(encoder: SmallEncoder, path: Path, name: str) -> Path:
    """A checkpoint with one weight changed."""
    content = torch.load(encoder.checkpoint, weights_only=True)
    content['state_dict'][name] = content['state_dict'][name] + 1
    torch.save(content, path)
    return path


def test_weights_on_the_way_count(encoder: SmallEncoder, tmp_path: Path):
    def same(name: str, space: str) -> bool:
        path = edited(encoder, tmp_path / 'edited.pth', name)
        return weights_sha256(path, space) == weights_sha256(encoder.checkpoint, space)

    assert not same('backbone.conv1.weight', 'queries')
    assert same('projector.layers.0.bias', 'queries') and not same('projector.layers.0.bias', 'tokens')
    assert same(next(name for name in torch.load(encoder.checkpoint, weights_only=True)['state_dict']
                     if name.startswith('bbox_head')), 'tokens')


def test_a_checkpoint_without_an_encoder_is_refused(tmp_path: Path):
    torch.save(dict(state_dict={'language_model.x': torch.zeros(3)}), tmp_path / 'llm.pth')
    with pytest.raises(ValueError, match='llm.pth holds no weights that scene tokens come from.*language_model.x'):
        weights_sha256(tmp_path / 'llm.pth', 'queries')


def test_a_stale_cache_says_so(encoder: SmallEncoder, tmp_path: Path):
    provenance = Provenance.of(encoder.cfg, encoder.checkpoint, 'queries', 'float32')
    with TokenCacheWriter(tmp_path / 'cache', provenance):
        pass
    cache = TokenCache(tmp_path / 'cache')
    assert cache.provenance == provenance
    cache.check_current()  # with the files that it was made from, which are as they were
    cache.check_current(encoder.config, encoder.checkpoint)
    cache.check_current(encoder.cfg, edited(encoder, tmp_path / 'later.pth', 'projector.layers.0.bias'))
    with pytest.raises(StaleTokenCacheError, match='stale.*\n  weights: of .*encoder.pth there, of .*other.pth here'):
        cache.check_current(checkpoint=save_weights(encoder.config, tmp_path / 'other.pth', seed=4))
    cfg = encoder.cfg
    cfg.model.decoder.num_layers = 1
    with pytest.raises(StaleTokenCacheError, match='stale.*\n  model.decoder.num_layers: 2 there, 1 here'):
        cache.check_current(cfg)


@pytest.fixture
def made(encoder: SmallEncoder, tmp_path: Path) -> SmallEncoder:
    """A cache, and files of its own that it was made from: an option beside the config, weights, a list of frames."""
    config = tmp_path / 'own.py'
    config.write_text(f"_base_ = '{encoder.config}'\n")
    own = SmallEncoder(tmp_path, config, save_weights(config, tmp_path / 'own.pth', seed=3))
    cfg = own.cfg
    cfg.model.decoder.ffn_drop = 0.5  # as --cfg-options does
    (tmp_path / 'infos.pkl').write_bytes(b'frames')
    with TokenCacheWriter(tmp_path / 'cache', Provenance.of(cfg, own.checkpoint, 'queries', 'float32')) as writer:
        writer.begin('val', tmp_path / 'infos.pkl', 3)
    return own


def test_a_file_that_the_cache_was_made_from_has_changed(made: SmallEncoder):
    """Nothing is stated: the paths in the index are looked at again."""
    cache = TokenCache(made.root / 'cache')
    cache.check_current()  # the option that was given beside the config makes no difference
    base = made.config.read_text()
    made.config.write_text(f'{base}model = dict(bbox_head=dict(num_classes=3))\n')
    cache.check_current()  # heads do not count
    made.config.write_text(f'{base}model = dict(scene_queries=dict(num_queries=11))\n')
    with pytest.raises(StaleTokenCacheError, match=r'(?s)stale.*model.scene_queries.num_queries: 13 there, 11 here'):
        cache.check_current()
    made.config.write_text(base)
    edited(made, made.checkpoint, 'projector.layers.0.bias')
    cache.check_current()  # another file, but no weight that counts
    save_weights(made.config, made.checkpoint, seed=8)  # trained anew
    with pytest.raises(StaleTokenCacheError, match='stale.*\n  weights: of .*own.pth there, of .*own.pth here'):
        cache.check_current()
    made.checkpoint.unlink()
    made.config.unlink()
    cache.check_current()  # gone, as on another machine
    (made.root / 'infos.pkl').write_bytes(b'others')
    with pytest.raises(StaleTokenCacheError, match='stale.*\n  frames of val: .*infos.pkl has changed since'):
        cache.check_current()


def test_frames_are_those_of_the_info_file(made: SmallEncoder):
    cache = TokenCache(made.root / 'cache')
    cache.check_frames(made.root / 'infos.pkl')
    (made.root / 'copy.pkl').write_bytes(b'frames')
    cache.check_frames(made.root / 'copy.pkl')
    cache.check_frames('s3://somewhere/infos.pkl')  # not here to be compared
    (made.root / 'train.pkl').write_bytes(b'other frames')
    with pytest.raises(StaleTokenCacheError, match='not of the frames in .*train.pkl, but of val: .*infos.pkl'):
        cache.check_frames(made.root / 'train.pkl')
