"""Answers of models beside the blind model and the most frequent answers: a table, its numbers, a bar chart.

    python tools/analysis/compare_answers.py --train-questions data/questions_train.json \\
        --dumps ours=work_dirs/ours/answers.jsonl ours=work_dirs/ours_seed1/answers.jsonl \\
        --blind work_dirs/blind/answers.jsonl --out work_dirs/answers

The dumps are what DrivingQAMetric writes with ``dump=<file>``. A name that comes again is another run (seed) of the
same model: the table gives their mean. From the training questions come the most frequent answers.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
from mmdet3d.registry import TASK_UTILS
from mmengine.registry import init_default_scope

from scene_qformer.evaluation.answer_baselines import MostFrequentAnswer
from scene_qformer.evaluation.answer_table import compare_answers, to_json, to_markdown
from scene_qformer.evaluation.driving_answer import DrivingAnswer, read_answers
from scene_qformer.visualization.answer_plot import draw_answers


def named_file(text: str) -> tuple[str, Path]:
    """``name=path`` as its two parts."""
    name, separator, path = text.partition('=')
    if not separator or not name or not path:
        raise argparse.ArgumentTypeError(f'expected NAME=FILE, got {text!r}')
    return name, Path(path)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--train-questions', type=Path, required=True, metavar='FILE', help='questions of the training')
    parser.add_argument('--questions-type', default='GeneratedQuestions', metavar='TYPE',
                        help='format of that file, a source of questions by its registered name; default: %(default)s')
    parser.add_argument('--dumps', nargs='+', type=named_file, required=True, metavar='NAME=FILE',
                        help='answers of the models; the same name again for another run')
    parser.add_argument('--blind', nargs='+', type=Path, required=True, metavar='FILE',
                        help='answers of the model without scene tokens; several files for several runs')
    parser.add_argument('--no-free-text', action='store_true', help='leave BLEU, ROUGE-L and CIDEr out')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='where answers.md, answers.json and answers.png are written')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmdet3d')
    questions = TASK_UTILS.build(dict(type=args.questions_type, path=str(args.train_questions))).load()
    models: dict[str, list[list[DrivingAnswer]]] = {}
    for name, path in args.dumps:
        models.setdefault(name, []).append(read_answers(path))
    rows = compare_answers(models, [read_answers(path) for path in args.blind],
                           MostFrequentAnswer(question.as_text() for question in questions), not args.no_free_text)
    facts = {'training questions': f'{len(questions)}, {args.train_questions.name}'}
    table = to_markdown(rows, facts)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'answers.md').write_text(table)
    (args.out / 'answers.json').write_text(to_json(rows, facts))
    mmcv.imwrite(draw_answers(rows)[..., ::-1], str(args.out / 'answers.png'))
    print(f'{table}\nwritten: answers.md, answers.json and answers.png in {args.out}')


if __name__ == '__main__':
    main()
