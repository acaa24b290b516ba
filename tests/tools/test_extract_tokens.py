"""The cache of a whole data set, from the command line: equal to images, resumed after a kill, never mixed."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from scene_qformer.token_cache import TokenCache
from scene_qformer.token_extraction import build_split, compute_tokens, load_encoder
from tests.small_encoder import LLM_WIDTH, NUM_QUERIES, TOKEN_WIDTH, SmallEncoder, make_small_encoder, save_weights
from tools import extract_tokens

# The tool, killed as by `kill -9` before it computes the tokens of the sixth frame.
KILLED = '''
import os, signal, sys
from tools import extract_tokens
compute, calls = extract_tokens.compute_tokens, []
def compute_or_die(*args):
    calls.append(args)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return compute(*args)
extract_tokens.compute_tokens = compute_or_die
extract_tokens.main()
'''


@pytest.fixture(scope='module')
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SmallEncoder:
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.fixture
def run(encoder: SmallEncoder, monkeypatch: pytest.MonkeyPatch):
    """Call the tool; returns how many frames it computed."""
    def run(out: Path, *arguments: str, config: Path = encoder.config, checkpoint: Path = encoder.checkpoint) -> int:
        frames = []

        def compute(model, batch, space):
            frames.extend(batch['data_samples'])
            return compute_tokens(model, batch, space)

        monkeypatch.setattr(extract_tokens, 'compute_tokens', compute)
        monkeypatch.setattr(sys, 'argv', ['extract_tokens.py', str(config), str(checkpoint), '--out', str(out),
                                          *arguments])
        extract_tokens.main()
        return len(frames)
    return run


def test_tokens_of_the_cache_are_those_of_the_images(run, encoder: SmallEncoder, tmp_path: Path):
    assert run(tmp_path / 'queries') == 9
    assert run(tmp_path / 'tokens', '--split', 'val', '--space', 'tokens') == 3
    queries, tokens = TokenCache(tmp_path / 'queries'), TokenCache(tmp_path / 'tokens')
    assert queries.shape == (NUM_QUERIES, TOKEN_WIDTH) and tokens.shape == (NUM_QUERIES, LLM_WIDTH) and len(tokens) == 3
    model = load_encoder(encoder.cfg, encoder.checkpoint)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        dataset = DATASETS.build(encoder.cfg.test_dataloader.dataset)  # as tools/test.py has it
    for frame in dataset:
        token = frame['data_samples'].metainfo['sample_token']
        expected = compute_tokens(model, pseudo_collate([frame]))[0]
        torch.testing.assert_close(tokens[token], expected, rtol=0, atol=0)
        with torch.no_grad():
            torch.testing.assert_close(model.projector(queries[token][None])[0], expected, rtol=0, atol=0)
    train = build_split(encoder.cfg, 'train')
    expected = compute_tokens(load_encoder(encoder.cfg, encoder.checkpoint, space='queries'),
                              pseudo_collate([train[4]]), 'queries')[0]
    torch.testing.assert_close(queries[train.get_data_info(4)['token']], expected, rtol=0, atol=0)


def test_a_killed_extraction_goes_on(run, encoder: SmallEncoder, tmp_path: Path):
    out = tmp_path / 'cache'
    command = [sys.executable, '-c', KILLED, str(encoder.config), str(encoder.checkpoint), '--out', str(out),
               '--shard-size', '2']
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert len(TokenCache(out)) == 4  # two shards; the fifth frame was in memory
    before = {path.name: path.stat().st_mtime_ns for path in out.glob('*.safetensors')}
    assert len(before) == 2
    assert run(out, '--shard-size', '2') == 5  # 9 less 4: none of these is computed again
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert run(out) == 0
    assert run(tmp_path / 'whole') == 9
    cache, whole = TokenCache(out), TokenCache(tmp_path / 'whole')
    assert cache.keys() == whole.keys() and len(cache) == 9
    assert all(torch.equal(cache[token], whole[token]) for token in whole)


def test_a_flipped_byte_is_detected_and_mended(run, tmp_path: Path):
    out = tmp_path / 'cache'
    run(out, '--split', 'val', '--shard-size', '2')
    cache = TokenCache(out)
    tokens = {token: cache[token].clone() for token in cache}
    damaged = out / 'val-00000.safetensors'
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match='val-00000.safetensors is damaged'):
        TokenCache(out)[next(iter(tokens))]
    damaged.unlink()
    assert run(out, '--split', 'val') == 2
    cache = TokenCache(out)
    assert all(torch.equal(cache[token], tokens[token]) for token in tokens)


def test_another_checkpoint_or_config_is_not_mixed_in(run, encoder: SmallEncoder, tmp_path: Path):
    out = tmp_path / 'cache'
    run(out, '--split', 'val')
    index = json.loads((out / 'index.json').read_text())
    other = save_weights(encoder.config, tmp_path / 'other.pth', seed=7)
    with pytest.raises(SystemExit, match='cache of something else:\n  weights: of .*encoder.pth there, of .*other'):
        run(out, checkpoint=other)
    with pytest.raises(SystemExit, match='else:\n  model.decoder.ffn_drop: 0.0 there, 0.5 here\n.*--overwrite'):
        run(out, '--cfg-options', 'model.decoder.ffn_drop=0.5')
    with pytest.raises(SystemExit, match='else:\n  dtype: float32 there, bfloat16 here'):
        run(out, '--dtype', 'bfloat16')
    assert json.loads((out / 'index.json').read_text()) == index
    assert run(out, '--split', 'val', '--overwrite', checkpoint=other) == 3
    assert TokenCache(out).provenance.checkpoint == str(other)


def test_a_few_frames_in_batches(run, tmp_path: Path):
    """First and last of each split; the rest joins later."""
    out = tmp_path / 'cache'
    assert run(out, '--num', '2', '--batch-size', '2', '--dtype', 'float16') == 4
    assert run(out, '--dtype', 'float16', '--num-workers', '1') == 5
    with pytest.raises(SystemExit):
        run(out, '--num', '0')


@MODELS.register_module()
class AnswersWithoutImages(BaseModel):
    def __init__(self, train_cfg=None):  # mmdet3d hands it to any model
        super().__init__()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


def test_a_model_that_reads_no_images_is_refused(run, encoder: SmallEncoder, tmp_path: Path):
    config = tmp_path / 'reader.py'
    config.write_text(f"_base_ = '{encoder.config}'\nmodel = dict(_delete_=True, type='AnswersWithoutImages')\n")
    with pytest.raises(SystemExit, match='Expected the config of a model that reads images.*is a AnswersWithoutImages'):
        run(tmp_path / 'cache', config=config)


def test_bad_input_is_a_sentence(run, encoder: SmallEncoder, tmp_path: Path):
    with pytest.raises(SystemExit, match='extract_tokens.py: There is no checkpoint .*nowhere.pth'):
        run(tmp_path / 'cache', checkpoint=tmp_path / 'nowhere.pth')
    torch.save(dict(state_dict={'language_model.x': torch.zeros(3)}), tmp_path / 'llm.pth')
    with pytest.raises(SystemExit, match='extract_tokens.py: .*llm.pth holds no weights that scene tokens come from'):
        run(tmp_path / 'cache', checkpoint=tmp_path / 'llm.pth')
    weights = torch.load(encoder.checkpoint)['state_dict']
    torch.save({name: value for name, value in weights.items() if name.startswith('backbone.')}, tmp_path / 'part.pth')
    with pytest.raises(SystemExit, match='extract_tokens.py: .*part.pth lacks .* weights of neck, .*decoder'):
        run(tmp_path / 'cache', checkpoint=tmp_path / 'part.pth')
    assert len(TokenCache(tmp_path / 'cache')) == 0
    config = tmp_path / 'several.py'
    config.write_text(f"_base_ = '{encoder.config}'\n"
                      "test_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[{}, {}]))\n")
    with pytest.raises(SystemExit, match='extract_tokens.py: Expected .* one data set .*got ConcatDataset of 2'):
        run(tmp_path / 'cache', config=config)


def test_an_unfit_checkpoint_leaves_the_cache_that_it_was_to_replace(run, encoder: SmallEncoder, tmp_path: Path):
    run(tmp_path / 'cache', '--split', 'val')
    weights = torch.load(encoder.checkpoint)['state_dict']
    torch.save({name: value for name, value in weights.items() if name.startswith('backbone.')}, tmp_path / 'part.pth')
    with pytest.raises(SystemExit, match='part.pth lacks .* weights of neck'):
        run(tmp_path / 'cache', '--overwrite', checkpoint=tmp_path / 'part.pth')
    assert len(TokenCache(tmp_path / 'cache')) == 3


def test_masked_cameras_are_kept_beside_the_tokens(run, encoder: SmallEncoder, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture):
    root = tmp_path / 'nuscenes'
    shutil.copytree(encoder.root, root)
    broken = sorted((root / 'samples/CAM_BACK').iterdir())[4]
    broken.write_bytes(b'')
    config = tmp_path / 'masking.py'
    config.write_text(encoder.config.read_text().replace(str(encoder.root), str(root))
                      + "train_dataloader['dataset'].update(on_fault='mask')\n"
                        "test_dataloader['dataset'].update(on_fault='mask')\n")
    assert run(tmp_path / 'cache', config=config) == 9
    notes = list((tmp_path / 'cache').glob('*-masked_cameras.txt'))
    assert len(notes) == 1 and str(notes[0]) in capsys.readouterr().out
    line, = notes[0].read_text().splitlines()
    assert ' CAM_BACK: ' in line and '0 bytes without the header' in line
    assert line.split()[0] in TokenCache(tmp_path / 'cache')
    other = encoder.checkpoint.with_name('other_weights.pth')
    save_weights(encoder.config, other, seed=11)
    broken.write_bytes(sorted((root / 'samples/CAM_BACK').iterdir())[3].read_bytes())
    run(tmp_path / 'cache', '--overwrite', config=config, checkpoint=other)
    assert not notes[0].exists()
