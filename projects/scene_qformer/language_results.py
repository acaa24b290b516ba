"""What came of the plan of the table of answers: scores of all finished runs, and what holds for all of them."""
from __future__ import annotations

from collections.abc import Sequence
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


def results_of(rows: Sequence[LanguageRow], training: MostFrequentAnswer) -> tuple[list[AnswerRow], list[LanguageRun]]:
    """Scores of what is finished.

    Args:
        rows: The plan, with a blind row.
        training: Counts of the training answers.

    Returns:
        Guesses, blind model and models, with the mean over seeds; and every run.

    Raises:
        ValueError: If no run of the blind model is finished.
    """
    finished = {row.name: [run for run in row.runs if run.result()] for row in rows}
    answers = {name: [read_answers(run.folder / ANSWERS) for run in runs] for name, runs in finished.items() if runs}
    blind_name = next(row.name for row in rows if row.kind == 'blind')
    if blind_name not in answers:
        raise ValueError('No run of the blind model is finished, and no table is without it.')
    blind = answers.pop(blind_name)
    answer_rows = compare_answers(answers, blind, training, free_text=False)
    scores = {blind_name if row.name == BLIND_NAME else row.name: row.runs for row in answer_rows}
    runs = [LanguageRun(row.name, row.num_tokens, run.seed, of_run, row.detector_map(run), row.minutes(run))
            for row in rows if finished[row.name] for run, of_run in zip(finished[row.name], scores[row.name])]
    return answer_rows, runs


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
    facts['minutes'] = f'start and last validation included; {device}, number of threads of a training {threads}'
    return facts


def _steps(cfg: Config, epochs: int) -> str:
    frames, batch_size = len(DATASETS.build(cfg.train_dataloader.dataset)), cfg.train_dataloader.batch_size
    return (f'{epochs} epochs of {frames} frames, batch {batch_size}: {epochs * -(-frames // batch_size)} steps '
            f'of {cfg.optim_wrapper.optimizer.type} (`{Path(cfg.filename).name}`)')
