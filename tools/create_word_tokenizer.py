"""Write the tokenizer of a small language model that is trained from scratch: the words of question files.

    python tools/create_word_tokenizer.py --questions data/synthetic_nuscenes/questions_train.json \\
        --out data/synthetic_nuscenes/tokenizer

Only the training questions belong in it. ``model=dict(model_type=...)`` of a ``SceneLanguageModel`` takes the folder as
its ``tokenizer``.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--questions', required=True, nargs='+', type=Path, help='files of training questions')
    parser.add_argument('--questions-type', default='GeneratedQuestions', metavar='TYPE',
                        help='their format, a source of questions by its registered name; default: %(default)s')
    parser.add_argument('--out', required=True, type=Path, help='folder of the tokenizer')
    parser.add_argument('--max-words', type=int, default=8000, help='largest vocabulary; default: %(default)s')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing one: a model that was trained '
                        'with it then reads other words')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if (args.out / 'tokenizer.json').exists() and not args.overwrite:
        sys.exit(f'create_word_tokenizer.py: {args.out} holds a tokenizer already; say --overwrite to replace it.')
    from mmdet3d.registry import TASK_UTILS
    from mmengine.registry import init_default_scope

    from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
    init_default_scope('mmdet3d')
    try:
        questions = [question for path in args.questions
                     for question in TASK_UTILS.build(dict(type=args.questions_type, path=str(path))).load()]
        save_word_tokenizer((text for question in questions for turn in question.turns for text in turn), args.out,
                            args.max_words)
    except (FileNotFoundError, KeyError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f'create_word_tokenizer.py: {error}')
    print(f'{args.out}: the words of {len(questions)} questions')


if __name__ == '__main__':
    main()
