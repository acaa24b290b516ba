"""From the cache and from images a reader learns the same; a cache of another encoder, or a difference, is told."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mmengine.fileio import load

from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
from tests.datasets.question_files import generated
from tests.small_encoder import TOKEN_WIDTH, SmallEncoder, make_small_encoder, save_weights
from tools import extract_tokens
from tools.analysis import compare_cached_training as tool

READER = '''
_base_ = '{config}'
model = dict(
    projector=dict(in_channels={width}, hidden_channels=17),
    language_model=dict(model=dict(hidden_size=24, intermediate_size=31, num_hidden_layers=1, num_attention_heads=3,
                                   num_key_value_heads=1, tokenizer='{root}/tokenizer')))
# not Muon, which orthogonalises in bfloat16: rounding would grow
optim_wrapper = dict(constructor='DefaultOptimWrapperConstructor',
                     optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, betas=(0.9, 0.95)))
data_root = '{root}'
train_dataloader = dict(batch_size=2, dataset=dict(
    data_root=data_root, questions=dict(path='{root}/questions.json'), pipeline=[
        dict(type='LoadSceneTokens', cache='nowhere'), dict(type='ChooseQuestions', num=2),
        dict(type='PackSceneTokens')]))
'''


@pytest.fixture(scope='module')
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SmallEncoder:
    """With three questions about each of its first five training frames, a tokenizer, and the cache of its tokens."""
    encoder = make_small_encoder(tmp_path_factory.mktemp('encoder'))
    tokens = [info['token'] for info in load(encoder.root / 'nuscenes_infos_train.pkl')['data_list'][:5]]
    texts = [(f'How many {kind} are there?', str(number)) for number, kind in enumerate(('cars', 'buses', 'cones'))]
    content = generated()
    content['questions'] = [dict(id=f'{token}-{number}', sample_token=token, scene='s', type='count', question=question,
                                 answer=answer)
                            for token in tokens for number, (question, answer) in enumerate(texts)]
    (encoder.root / 'questions.json').write_text(json.dumps(content))
    save_word_tokenizer([text for pair in texts for text in pair], encoder.root / 'tokenizer')
    (encoder.root / 'reader.py').write_text(READER.format(config=tool.READER, root=encoder.root, width=TOKEN_WIDTH))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['extract_tokens.py', str(encoder.config), str(encoder.checkpoint), '--split',
                                    'train', '--out', str(encoder.root / 'cache')])
        extract_tokens.main()
    return encoder


@pytest.fixture
def run(encoder: SmallEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: str, checkpoint: Path = encoder.checkpoint) -> dict:
        monkeypatch.setattr(sys, 'argv', [
            'compare_cached_training.py', str(encoder.config), str(checkpoint), '--cache', str(encoder.root / 'cache'),
            '--reader', str(encoder.root / 'reader.py'), '--out', str(tmp_path / 'result.json'), *arguments])
        tool.main()
        return json.loads((tmp_path / 'result.json').read_text())
    return run


def test_the_same_losses(run):
    result = run('--epochs', '2', '--wanted', '0')
    assert (result['frames'], result['steps']) == (5, 6)
    losses = result['losses']
    assert losses[tool.CACHED] == pytest.approx(losses[tool.DECODED], abs=1e-5)
    assert losses[tool.KEPT] == losses[tool.DECODED]
    assert len(set(losses[tool.CACHED])) == 6 and losses[tool.CACHED][-1] < losses[tool.CACHED][0]  # they learn
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result['seconds'].values())
    assert result['times_faster'][tool.KEPT] == pytest.approx(
        result['median_seconds'][tool.KEPT] / result['median_seconds'][tool.CACHED])


def test_some_frames(run):
    assert run('--epochs', '1', '--wanted', '0', '--frames', '3')['steps'] == 2


def test_the_cache_of_another_checkpoint_is_refused(run, encoder, tmp_path):
    other = save_weights(encoder.config, tmp_path / 'other.pth', seed=4)
    with pytest.raises(SystemExit, match='compare_cached_training.py: (.|\n)*checkpoint'):
        run(checkpoint=other)


def test_what_is_wrong_is_told():
    result = dict(largest_difference=3e-4, times_faster={tool.DECODED: 4.94, tool.KEPT: 2.})
    assert tool.problems(result, wanted=4.9, tolerance=3e-4) == []
    slow, = tool.problems(result, wanted=5, tolerance=1)
    assert slow.startswith('An epoch from the cache is only 4.9 times faster')
    differing, = tool.problems(result, wanted=1, tolerance=1e-4)
    assert differing.startswith('Losses from the cache differ by up to 0.0003 ')
    assert len(tool.problems(dict(result, largest_difference=float('nan')), wanted=1, tolerance=1)) == 1
