"""The main job on the embedded data: write a synthetic nuScenes, train on it, test, draw what the model sees, ask it.

    make demo                                  # after the set-up 15 minutes on 2 cores, and some more for questions
    make demo DEMO_ARGS='--no-questions'       # the detector alone, at most 15 minutes
    make demo DEMO_ARGS='--longer'             # four times the epochs, better scores
    python tools/demo.py --epochs 3            # in an environment that is there

Every step is one of the project's tools; the command of each is shown. An interrupted demo goes on where it stopped.
"""
from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import torch
from mmengine.config import Config

from scene_qformer.engine import bfloat16_is_fast
from scene_qformer.evaluation.results_table import read_scores
from scene_qformer.experiment import epoch_options, has_scores, keep_other_results, last_epoch
from scene_qformer.pipeline import Pipeline, StepFailed, training_line
from scene_qformer.synthetic.intact import find_fault
from scene_qformer.token_cache.provenance import file_sha256

CONFIG = 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
VERSION = 'v1.0-mini'
LONGER = 4  # times the config's epochs
NUM_FRAMES = 6
SCORE_THRESHOLD = 0.25
LANGUAGE_CONFIGS = {name: f'configs/scene_language/scene-language_tiny-{name}_synthetic.py' for name in (
    'tokens', 'blind')}
LANGUAGE_EPOCHS = 10


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where the results go')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=int, help="epochs of training (default: the config's)")
    length.add_argument('--longer', action='store_true', help=f'{LONGER} times the epochs: longer and better')
    parser.add_argument('--language-epochs', type=int, default=LANGUAGE_EPOCHS,
                        help='epochs of the language model (default: %(default)s)')
    parser.add_argument('--no-questions', action='store_true', help='leave the language model out')
    parser.add_argument('--verbose', action='store_true', help='show all that training and tests log')
    args = parser.parse_args()
    for name in ('epochs', 'language_epochs'):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1, got {value}')
    return args


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(CONFIG)
    epochs = cfg.train_cfg.max_epochs * (LONGER if args.longer else 1) if args.epochs is None else args.epochs
    root, out = Path(cfg.data_root), args.out
    train_dir, untrained = out / 'train', out / 'untrained' / 'untrained.pth'
    options = ['--cfg-options', *epoch_options(cfg, epochs)]
    amp = bfloat16_is_fast()  # faster, where the machine has it
    keep_other_results(out, dict(config=CONFIG, config_sha256=config_digest(CONFIG), epochs=epochs, amp=amp))
    if not args.no_questions:
        require_language_model()
    demo = Pipeline(7 if args.no_questions else 11, args.verbose)

    title = f'write the synthetic nuScenes, {VERSION}: 10 scenes, six cameras'
    fault = find_fault(root, VERSION)
    if fault is None:
        demo.skip(title, f'{root} holds it, all files are there')
    elif fault == 'not there':
        demo.run(title, ['tools/create_synthetic_nuscenes.py', '--out', str(root), '--version', VERSION])
    else:
        raise StepFailed(f'{root}: {fault}. Move it away, or let the demo write another folder: set the environment '
                         'variable SYNTHETIC_NUSCENES_ROOT')

    title = 'collect its info files'
    if all((root / f'nuscenes_infos_{split}.pkl').is_file() for split in ('train', 'val')):
        demo.skip(title, 'they are there')
    else:
        demo.run(title, ['tools/create_data.py', '--root', str(root), '--version', VERSION])

    title = 'test the untrained model with the official metric'
    if has_scores(untrained.parent):
        demo.skip(title, f'{untrained.parent} holds its scores')
    else:
        demo.run(title, ['tools/initialize_checkpoint.py', CONFIG, '--out', str(untrained)],
                 ['tools/test.py', CONFIG, str(untrained), '--work-dir', str(untrained.parent)], digest=training_line)

    title = f'train {epochs} epochs'
    if last_epoch(train_dir) >= epochs:
        demo.skip(title, f'{train_dir} holds all of them')
    else:
        flags = ['--resume'] if last_epoch(train_dir) else []
        flags += ['--amp'] if amp else []
        demo.run(title, ['tools/train.py', CONFIG, '--work-dir', str(train_dir), *flags, *options],
                 digest=training_line)
    checkpoint = str(train_dir / f'epoch_{epochs}.pth')

    demo.run('test the trained model',
             ['tools/test.py', CONFIG, checkpoint, '--work-dir', str(out / 'trained')], digest=training_line)
    before = read_scores(untrained.parent)
    start = json.dumps(dict(mAP=round(before.mAP, 4), NDS=round(before.NDS, 4)))
    demo.run('compare', [
        'tools/analysis/compare_results.py', f'untrained={untrained.parent}', f'trained={out / "trained"}',
        '--out-dir', str(out)
    ], [
        'tools/analysis/learning_curve.py', str(train_dir), '--out', str(out / 'learning_curve.png'),
        '--untrained', start, '--title', Path(CONFIG).stem
    ])
    demo.run('draw frames of mini_val', [
        'tools/visualize_predictions.py', CONFIG, checkpoint, '--out-dir', str(out / 'frames'),
        '--num', str(NUM_FRAMES), '--score-thr', str(SCORE_THRESHOLD)
    ])
    if not args.no_questions:
        answer_questions(demo, root, out, checkpoint, args.language_epochs, ['--amp'] if amp else [])
    print(summary(demo, out, not args.no_questions))


def config_digest(path: str) -> str:
    """Of all that a config says."""
    return hashlib.sha256(repr(Config.fromfile(path).to_dict()).encode()).hexdigest()


def require_language_model() -> None:
    """Look for what the last steps need before the first ones take a quarter of an hour.

    Raises:
        StepFailed: If it is not there.
    """
    missing = [name for name in ('transformers', 'peft') if importlib.util.find_spec(name) is None]
    missing += [] if hasattr(torch.optim, 'Muon') else ['torch 2.9']
    if missing:
        raise StepFailed(f"the language model needs {' and '.join(missing)}, which this environment does not have: "
                         "install with  pip install -e '.[llm]'  or leave it out with --no-questions")


def answer_questions(demo: Pipeline, root: Path, out: Path, checkpoint: str, epochs: int, flags: list[str]) -> None:
    """Teach a small language model to read the detector's scene tokens, and ask it."""
    train, val = root / 'questions_train.json', root / 'questions_val.json'
    tokenizer, tokens, language = root / 'tokenizer', out / 'scene_tokens', out / 'language'
    commands = []
    if not (train.is_file() and val.is_file()):
        commands.append(['tools/create_questions.py', '--root', str(root), '--version', VERSION])
    words = tokenizer / 'tokenizer.json'
    if commands or not words.is_file() or words.stat().st_mtime < train.stat().st_mtime:  # those of other questions
        commands.append(['tools/create_word_tokenizer.py', '--questions', str(train), '--out', str(tokenizer),
                         '--overwrite'])
    title = 'write questions with exact answers, and a tokenizer of their words'
    if commands:
        demo.run(title, *commands)
    else:
        demo.skip(title, f'{root} holds them')
    demo.run('write the scene tokens of all frames', [
        'tools/extract_tokens.py', CONFIG, checkpoint, '--out', str(tokens), '--split', 'both', '--overwrite'])

    trainings = {name: language / name for name in LANGUAGE_CONFIGS}
    keep_other_results(language, dict(
        epochs=epochs, amp='--amp' in flags, detector=file_sha256(checkpoint), questions=file_sha256(train),
        configs={name: config_digest(config) for name, config in LANGUAGE_CONFIGS.items()}))
    commands = []
    for name, config in LANGUAGE_CONFIGS.items():
        answers = trainings[name] / 'answers.jsonl'
        if not answers.is_file():  # the last thing that a training writes
            options = {**dict(option.split('=') for option in epoch_options(Config.fromfile(config), epochs)),
                       'train_cfg.val_interval': epochs, 'val_evaluator.dump': answers}
            if name == 'tokens':
                options |= {f'{part}_dataloader.dataset.pipeline.0.cache': tokens for part in ('train', 'val', 'test')}
            resume = ['--resume'] if 0 < last_epoch(trainings[name]) < epochs else []
            commands.append(['tools/train.py', config, '--work-dir', str(trainings[name]), *flags, *resume,
                             '--cfg-options', *(f'{key}={value}' for key, value in options.items())])
    title = f'train a language model on them, and one that sees the text alone: {epochs} epochs each'
    if commands:
        demo.run(title, *commands, digest=training_line)
    else:
        demo.skip(title, f'{language} holds all of them')
    questions = json.loads(val.read_text())['questions']
    asked = [each['question'] for each in questions if each['sample_token'] == questions[0]['sample_token']]
    demo.run('compare their answers about held-out scenes, and ask about a frame', [
        'tools/analysis/compare_answers.py', '--train-questions', str(train), '--no-free-text',
        '--dumps', f'tokens={trainings["tokens"] / "answers.jsonl"}',
        '--blind', str(trainings['blind'] / 'answers.jsonl'), '--out', str(out / 'answers')
    ], [
        'tools/ask.py', LANGUAGE_CONFIGS['tokens'], str(trainings['tokens'] / f'epoch_{epochs}.pth'),
        '--sample', questions[0]['sample_token'], '--picture', str(out / 'answers' / 'frame.jpg'),
        *(part for each in asked[::5] for part in ('-q', each)),
        '--cfg-options', f'test_dataloader.dataset.pipeline.0.cache={tokens}'
    ])


def summary(demo: Pipeline, out: Path, with_questions: bool) -> str:
    """Where the results are, how long it took, and what to type next."""
    answers = '''
  scene_tokens/               of all frames what a language model reads through a projector, (Q, C + 32)
  language/                   checkpoints and answers of the language model, and of one without scene tokens
  answers/                    answers.md, answers.png: accuracy by type of question; frame.jpg: a frame, asked'''
    times = '\n'.join(f'  {seconds:6.0f} s  {title}' for title, seconds in demo.times)
    return f'''
Time, {demo.seconds / 60:.1f} minutes in all:
{times}

{out}/
  results.md, results.json    mAP, NDS, errors and AP by class, trained beside untrained
  class_ap.png                the same by class, as bars
  learning_curve.png          loss, mAP and NDS against training time
  frames/                     six cameras and the bird's-eye view, predicted and true boxes
  train/                      checkpoints and logs; train/<timestamp>/vis_data/config.py is the whole config{
    answers if with_questions else ""}

Better scores:   make demo DEMO_ARGS='--longer'
Real nuScenes:   python tools/create_data.py --root /path/to/nuscenes --version v1.0-trainval
                 NUSCENES_ROOT=/path/to/nuscenes python tools/train.py \\
                     configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py
'''


if __name__ == '__main__':
    try:
        main()
    except (StepFailed, FileNotFoundError) as error:
        sys.exit(f'\ndemo: {error}\nMend that and start the demo again: data and epochs that are there are kept.')
    except KeyboardInterrupt:
        sys.exit('\ndemo: interrupted. Start it again to go on: data and epochs that are there are kept.')
