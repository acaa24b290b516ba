"""One table of answers: how many scene tokens are needed, and does the detection head's supervision help?

    python tools/analysis/compare_language.py --list
    python tools/analysis/compare_language.py --jobs 2

In two stages (detector, its cached tokens, language model) with 64 to 512 tokens; end to end from images, with and
without the boxes' losses; beside them always the blind model and the most frequent answers. All on held-out scenes,
under every seed, at the epochs that are stated. The plan stands in ``projects/scene_qformer/language_comparison.py``.
Every run has a folder of its own below the work directory. Started again, the script goes on where it was; what changed
(config, budget, data, precision, or a run that it starts from) is done anew.
"""
from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import mmcv
import torch
from mmdet3d.registry import TASK_UTILS
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from scene_qformer.engine import bfloat16_is_fast
from scene_qformer.evaluation.answer_baselines import MostFrequentAnswer
from scene_qformer.evaluation.language_table import LanguageRun, runs_from_json, to_json, to_markdown
from scene_qformer.language_comparison import Budget, LanguageRow, Recipes, missing_files, plan_rows
from scene_qformer.language_results import check_known, facts_of, results_of
from scene_qformer.marked_page import write_between
from scene_qformer.training_runs import TrainingRun, train_all, with_earlier_ones
from scene_qformer.visualization.language_plot import draw_language

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / 'configs'
BEGIN, END = '<!-- written by compare_language.py -->', '<!-- end -->'
PICTURE = 'language_results.png'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tokens', type=int, nargs='+', default=[64, 128, 256, 512], metavar='Q',
                        help='numbers of scene tokens, in two stages (default: %(default)s)')
    parser.add_argument('--joint-tokens', type=int, default=128, metavar='Q', help='end to end (default: %(default)s)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1], help='every row is trained for each')
    parser.add_argument('--image-epochs', type=int, default=12, help='of backbone, neck and dense head alone, once, '
                        'before all detectors in two stages, which start from there with the backbone frozen; 0: from '
                        'nothing (default: %(default)s)')
    parser.add_argument('--detection-epochs', type=int, help="of every detector; default: the config's")
    parser.add_argument('--language-epochs', type=int, help="on cached tokens, and blind; default: the config's")
    parser.add_argument('--joint-epochs', type=int, help="end to end, with and without boxes; default: the config's")
    parser.add_argument('--learned-queries', action='store_true', help='also end to end with learned queries alone, '
                        'with and without boxes: no proposals, which only boxes can teach')
    parser.add_argument('--rows', nargs='+', metavar='PATTERN',
                        help="only rows so named, e.g. '64 *' '*no boxes'; the blind model is always there")
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time, which share the cores')
    parser.add_argument('--encoder-options', nargs='+', action=DictAction, metavar='KEY=VALUE', default={},
                        help='override entries of the configs that read images')
    parser.add_argument('--language-options', nargs='+', action=DictAction, metavar='KEY=VALUE', default={},
                        help='override entries of the configs with a language model')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/language'))
    parser.add_argument('--page', type=Path, help=f'Markdown page to write the tables into, between {BEGIN!r} and '
                        f'{END!r}; the picture goes to images/ beside it')
    parser.add_argument('--known', type=Path, help='table.json of the same comparison elsewhere: its runs join the '
                        'table, and are not trained here')
    parser.add_argument('--list', action='store_true', help='say what would be run, and stop')
    parser.add_argument('--no-training', action='store_true', help='the table of what is finished by now')
    args = parser.parse_args()
    if args.image_epochs < 0:
        parser.error(f'--image-epochs must be at least 0, got {args.image_epochs}')
    return args


def read_recipes(args: argparse.Namespace) -> Recipes:
    """The configs, with the options of the command line."""
    def read(path: str, *options: Mapping) -> Config:
        cfg = Config.fromfile(CONFIGS / path)
        for each in options:
            cfg.merge_from_dict(each)
        return cfg
    images, language = args.encoder_options, args.language_options
    return Recipes(
        detector=read('scene_qformer/scene-qformer_tiny_synthetic.py', images),
        tokens=read('scene_language/scene-language_tiny-tokens_synthetic.py', language),
        blind=read('scene_language/scene-language_tiny-blind_synthetic.py', language),
        images=read('scene_language/scene-language_tiny-images_synthetic.py', images, language))


def read_known(args: argparse.Namespace) -> tuple[list[LanguageRun], dict[str, str]]:
    """Runs that were finished elsewhere, and what holds for them."""
    if args.known is None:
        return [], {}
    try:
        return runs_from_json(args.known.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f'compare_language.py: --known {args.known}: {error}')


def to_train(rows: list[LanguageRow], known: list[LanguageRun]) -> list[TrainingRun]:
    """The runs of all rows, seed by seed, less those that are known."""
    elsewhere = {(run.row, run.seed) for run in known}
    return [run for seed in zip(*(row.runs for row in rows)) for row, run in zip(rows, seed)
            if (row.name, run.seed) not in elsewhere]


def list_rows(rows: list[LanguageRow], known: list[LanguageRun]) -> None:
    """What would be run, and what of it is finished."""
    wanted = to_train(rows, known)
    runs = {}
    for row in rows:
        print(row.name)
        for run in row.runs:
            if run not in wanted:
                print(f'    seed {run.seed}: known')
                continue
            for each in with_earlier_ones([run]):
                runs[each.folder] = each
                print(f'    {each.folder.name}: {"finished" if each.result() else "to be trained"}, '
                      f'{each.cfg.train_cfg.max_epochs} epochs')
    print(f'{len(rows)} rows, {len(runs)} trainings, {sum(not run.result() for run in runs.values())} to be done')


def write_results(args: argparse.Namespace, recipes: Recipes, budget: Budget, rows: list[LanguageRow],
                  known: list[LanguageRun], known_facts: Mapping[str, str]) -> None:
    """Table, numbers, picture; also into the page, if one is given."""
    questions = TASK_UTILS.build(recipes.blind.train_dataloader.dataset.questions).load()
    facts = facts_of(recipes, budget, rows, len(questions))
    check_known(facts, known_facts)
    answer_rows, runs = results_of(rows, MostFrequentAnswer(question.as_text() for question in questions), known)
    table = to_markdown(answer_rows, runs, facts)
    picture = draw_language(answer_rows, runs, [row.name for row in rows if row.kind == 'two stages'],
                            f'Answers about held-out scenes, seeds {", ".join(map(str, args.seeds))}')
    (args.work_dir / 'table.md').write_text(table)
    (args.work_dir / 'table.json').write_text(to_json(answer_rows, runs, facts))
    mmcv.imwrite(picture[..., ::-1], str(args.work_dir / PICTURE))
    if args.page:
        mmcv.imwrite(picture[..., ::-1], str(args.page.parent / 'images' / PICTURE))
        write_between(args.page, BEGIN, END, f'![Accuracy against the number of scene tokens, and by question type]'
                                             f'(images/{PICTURE})\n\n{table}')
    print(f'\n{table}\nwritten: table.md, table.json and {PICTURE} in {args.work_dir}')


def main() -> None:
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    recipes = read_recipes(args)
    init_default_scope(recipes.detector.default_scope)
    missing = missing_files(recipes)
    if missing:
        sys.exit('These files have to be written first:\n  ' + '\n  '.join(missing))
    budget = Budget(args.image_epochs, *(epochs or cfg.train_cfg.max_epochs for epochs, cfg in (
        (args.detection_epochs, recipes.detector), (args.language_epochs, recipes.blind),
        (args.joint_epochs, recipes.images))))
    device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    try:
        rows = plan_rows(recipes, budget, args.tokens, args.joint_tokens, args.seeds, args.work_dir / 'runs',
                         REPOSITORY / 'tools' / 'extract_tokens.py', device, args.learned_queries, args.rows)
    except ValueError as error:
        sys.exit(f'compare_language.py: {error}')
    known, known_facts = read_known(args)
    if args.list:
        list_rows(rows, known)
        return
    args.work_dir.mkdir(parents=True, exist_ok=True)
    failures = {}
    if not args.no_training:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the trainings with this script
        failures = train_all(to_train(rows, known), REPOSITORY / 'tools' / 'train.py', args.jobs,
                             ['--amp'] if bfloat16_is_fast() else [], report=lambda line: print(line, flush=True))
    try:
        write_results(args, recipes, budget, rows, known, known_facts)
    except ValueError as error:
        sys.exit(f'compare_language.py: {error}')
    if failures:
        sys.exit(f'{len(failures)} runs failed, as told above; started again, the script repeats just these.')


if __name__ == '__main__':
    main()
