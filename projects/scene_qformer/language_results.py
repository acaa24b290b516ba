"""What came of the plan of the table of answers: scores of all finished runs, and what holds for all of them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config

from .comparison import precision_of
from .evaluation.answer_baselines import MostFrequentAnswer
from .evaluation.answer_table import BLIND_NAME, AnswerRow, compare_answers
from .evaluation.driving_answer import read_answers
from .evaluation.language_table import LanguageRun
from .language_comparison import ANSWERS, Budget, LanguageRow, Recipes

MACHINE = 'minutes'  # the fact that says on what the runs were trained


def results_of(rows: Sequence[LanguageRow], training: MostFrequentAnswer,
               known: Sequence[LanguageRun] = ()) -> tuple[list[AnswerRow], list[LanguageRun]]:
    """Scores of what is finished.

    Args:
        rows: The plan, with a blind row.
        training: Counts of the training answers.
        known: Runs of these rows that were finished elsewhere. What is finished here goes before them.

    Returns:
        Guesses, blind model and models, with the mean over seeds; and every run.

    Raises:
        ValueError: If no run of the blind model is finished.
    """
    finished = {row.name: [run for run in row.runs if run.result()] for row in rows}
    elsewhere = {row.name: [run for run in known if run.row == row.name
                            and run.seed not in {own.seed for own in finished[row.name]}] for row in rows}
    answers = {name: [read_answers(run.folder / ANSWERS) for run in runs] for name, runs in finished.items()
               if runs or elsewhere[name]}
    blind_name = next(row.name for row in rows if row.kind == 'blind')
    if blind_name not in answers:
        raise ValueError('No run of the blind model is finished, and no table is without it.')
    blind = answers.pop(blind_name)
    answer_rows = compare_answers(
        answers, blind, training, free_text=False,
        known={BLIND_NAME if name == blind_name else name: [run.scores for run in runs]
               for name, runs in elsewhere.items() if runs})
    scores = {blind_name if row.name == BLIND_NAME else row.name: row.runs for row in answer_rows}
    runs: list[LanguageRun] = []
    for row in rows:
        own = [LanguageRun(row.name, row.num_tokens, run.seed, of_run, row.detector_map(run), row.minutes(run))
               for run, of_run in zip(finished[row.name], scores.get(row.name, ()))]
        runs += sorted([*own, *elsewhere[row.name]], key=lambda run: run.seed)
    return answer_rows, runs


def check_known(facts: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Runs may stand in one table if all that decides their results is the same; machine and times may differ.

    Args:
        facts: From :func:`facts_of`.
        known: Those of the table that the others are from.

    Raises:
        ValueError: Names the first difference.
    """
    for name in dict.fromkeys([*facts, *known]):
        mine, theirs = facts.get(name), known.get(name)
        if name != MACHINE and mine is not None and theirs is not None and mine != theirs:
            raise ValueError(f'The known runs are of another comparison: their {name!r} is {theirs!r}, here it is '
                             f'{mine!r}. Take the same options and data, or leave them out.')


def facts_of(recipes: Recipes, budget: Budget, rows: Sequence[LanguageRow], num_questions: int) -> dict[str, str]:
    """What holds for all rows: budgets, precision, machine.

    Args:
        recipes: Configs.
        budget: Epochs.
        rows: The plan.
        num_questions: Of the training set.
    """
    kinds = {row.kind for row in rows}
    chosen = [f', {step.num} of each frame at every step' for step in recipes.blind.train_dataloader.dataset.pipeline
              if step.type == 'ChooseQuestions']
    facts = {'training questions': f'{num_questions}{"".join(chosen)}'}
    if budget.image:
        facts['image branch, once'] = f'{_steps(recipes.detector, budget.image)}, under `ImageCenterPretraining`'
    if 'two stages' in kinds:
        facts['two stages, detector'] = _steps(recipes.detector, budget.detection)
    facts['two stages and blind, language model'] = _steps(recipes.blind, budget.language)
    if 'end to end' in kinds:
        facts['end to end'] = _steps(recipes.images, budget.joint)
        with_boxes = [run.cfg for row in rows if row.kind == 'end to end' for run in row.runs
                      if run.cfg.model.get('bbox_head')]
        if not all(isinstance(cfg.val_evaluator, list) for cfg in with_boxes):
            facts['detector mAP, end to end'] = 'not measured: some held-out frames have no question'
    facts['start'] = ('from one image branch: backbone (frozen), neck (end to end frozen) and dense head; all else'
                      if budget.image else 'all') + ' from nothing; tokens are of the detector under the same seed'
    facts['precision of training'] = precision_of(recipes.detector)
    results = [result for row in rows for run in row.runs for each in (*run.after, run) if (result := each.result())]
    threads = ' or '.join(map(str, sorted({result['threads'] for result in results})))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    facts[MACHINE] = f'start and last validation included; {device}, number of threads of a training {threads}'
    return facts


def _steps(cfg: Config, epochs: int) -> str:
    frames, batch_size = len(DATASETS.build(cfg.train_dataloader.dataset)), cfg.train_dataloader.batch_size
    return (f'{epochs} epochs of {frames} frames, batch {batch_size}: {epochs * -(-frames // batch_size)} steps '
            f'of {cfg.optim_wrapper.optimizer.type} (`{Path(cfg.filename).name}`)')
