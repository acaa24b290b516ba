"""The demo's steps about questions, without running any: what is done again, and what is not."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from scene_qformer.pipeline import StepFailed
from tools import demo

EPOCHS = 3


class Steps:
    """Stands for the pipeline: notes commands and leaves what they would."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.skipped: list[str] = []

    def skip(self, title: str, reason: str) -> None:
        self.skipped.append(title.split()[0])

    def run(self, title: str, *commands: list[str], digest=None) -> None:
        for command in commands:
            self.commands.append(command)
            options = dict(zip(command, command[1:]))
            if command[0].endswith('create_questions.py'):
                for split in ('train', 'val'):
                    write_questions(Path(options['--root']) / f'questions_{split}.json')
            elif command[0].endswith('create_word_tokenizer.py'):
                Path(options['--out']).mkdir(exist_ok=True)
                (Path(options['--out']) / 'tokenizer.json').write_text('words')
            elif command[0].endswith('train.py'):
                folder = Path(options['--work-dir'])
                folder.mkdir(parents=True, exist_ok=True)
                (folder / 'last_checkpoint').write_text(f'{folder}/epoch_{EPOCHS}.pth')
                (folder / 'answers.jsonl').write_text('')

    @property
    def tools(self) -> list[str]:
        return [Path(command[0]).stem for command in self.commands]


def write_questions(path: Path, words: str = 'How many?') -> None:
    path.write_text(json.dumps(dict(questions=[dict(sample_token='a', question=words) for _ in range(7)])))


@pytest.fixture
def go(tmp_path: Path):
    (tmp_path / 'root').mkdir()
    (tmp_path / 'detector.pth').write_text('weights')

    def go(epochs: int = EPOCHS) -> Steps:
        steps = Steps()
        demo.answer_questions(steps, tmp_path / 'root', tmp_path / 'out', str(tmp_path / 'detector.pth'), epochs,
                              ['--amp'])
        return steps
    return go


def test_all_steps_once(go, tmp_path):
    first = go()
    assert first.tools == ['create_questions', 'create_word_tokenizer', 'extract_tokens', 'train', 'train',
                           'compare_answers', 'ask'] and not first.skipped
    tokens, blind = (command for command in first.commands if 'train.py' in command[0])
    assert f'train_dataloader.dataset.pipeline.0.cache={tmp_path / "out/scene_tokens"}' in tokens
    assert not any('cache' in part for part in blind)
    for command in (tokens, blind):
        assert {'train_cfg.max_epochs=3', 'train_cfg.val_interval=3', 'param_scheduler.1.T_max=3'} <= set(command)
        assert '--resume' not in command and '--amp' in command
    assert first.commands[-1].count('-q') == 2
    again = go()
    assert again.tools == ['extract_tokens', 'compare_answers', 'ask'] and again.skipped == ['write', 'train']


@pytest.mark.parametrize(('epoch', 'resumed'), [(2, True), (3, False)])
def test_answers_are_what_ends_a_training(go, tmp_path, epoch, resumed):
    """Broken off between two epochs, or after the last one before its validation."""
    go()
    folder = tmp_path / 'out/language/tokens'
    (folder / 'answers.jsonl').unlink()
    (folder / 'last_checkpoint').write_text(f'{folder}/epoch_{epoch}.pth')
    command, = (command for command in go().commands if 'train.py' in command[0])
    assert str(folder) in command and ('--resume' in command) == resumed


def test_another_detector_begins_anew(go, tmp_path):
    go()
    (tmp_path / 'detector.pth').write_text('other weights')
    assert go().tools == ['extract_tokens', 'train', 'train', 'compare_answers', 'ask']
    assert len(list((tmp_path / 'out').glob('language_until_*'))) == 1


def test_new_questions_need_new_words(go, tmp_path):
    go()
    path = tmp_path / 'root/questions_train.json'
    write_questions(path, 'How far?')
    later = (tmp_path / 'root/tokenizer/tokenizer.json').stat().st_mtime + 5
    os.utime(path, (later, later))
    assert go().tools[:1] == ['create_word_tokenizer']


def test_what_is_missing_is_said_at_once(monkeypatch):
    monkeypatch.setattr(demo.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(StepFailed, match='needs transformers and peft, .*--no-questions'):
        demo.require_language_model()
