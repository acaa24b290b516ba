"""The plan of the table of answers: which trainings there are, from which configs, and what each of them starts from.

Three ways to answer, at budgets that are stated, each under every seed::

    two stages   detector of Q queries -> its tokens, cached -> projector and language model on the cache
    blind        the same language model without tokens
    end to end   all parts from images, by the language loss, with and without the boxes' losses beside it

Questions, language model and optimizer are the same. In both, detectors start from one image branch (backbone, neck,
dense head), which boxes taught where objects are; end to end backbone and neck rest, so that the two rows differ in
what boxes teach queries and decoder. Batches and rates differ from two stages: compare these two rows with each other.
"""
from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from mmengine import load
from mmengine.config import Config

from . import comparison
from .comparison import with_budget
from .dataset_config import innermost_dataset
from .training_runs import TrainingRun, data_digest
from .variants import Options, with_options

ANSWERS = 'answers.jsonl'  # in the folder of a run that answers
TOKENS = 'tokens'  # in the folder of a detector


@dataclass(frozen=True)
class Recipes:
    """Where the rows come from."""

    detector: Config  # of a model that reads images and finds boxes
    tokens: Config  # of a TokenReader on cached tokens
    blind: Config  # of the same one without
    images: Config  # of both in one, trained together


@dataclass(frozen=True)
class Budget:
    """Epochs; the same for all rows of a kind."""

    image: int  # of an image branch that all detectors in two stages start from; 0: they start from nothing
    detection: int  # of the detector, over the images
    language: int  # of projector and language model, over the cached tokens or the bare text
    joint: int  # of all parts together, over the images


Kind = Literal['two stages', 'blind', 'end to end']


@dataclass(frozen=True)
class LanguageRow:
    """One way to answer."""

    name: str
    kind: Kind
    num_tokens: int  # 0 of the blind model
    runs: tuple[TrainingRun, ...]  # one a seed; each leaves its answers to the held-out questions

    def minutes(self, run: TrainingRun) -> dict[str, float]:
        """What a finished run took, start and validation included, by part.

        ``image branch``, ``detector``, ``tokens``, ``language model``; or ``image branch``, ``all parts``.
        """
        def of(each: TrainingRun, entry: str = 'seconds') -> float:
            return (each.result() or {})[entry] / 60

        if self.kind == 'end to end':
            minutes, branches = {'all parts': of(run)}, run.after
        else:
            minutes, branches = {'language model': of(run)}, ()
            for detector in run.after:
                minutes = {'detector': of(detector), 'tokens': of(run, 'preparation_seconds'), **minutes}
                branches = detector.after
        for branch in branches:
            minutes = {'image branch': of(branch), **minutes}
        return minutes

    def detector_map(self, run: TrainingRun) -> float | None:
        """mAP, 0 to 1, of the boxes that a finished run or its detector finds; None if none are looked for."""
        scores = [(each.result() or {}).get('scores', {}).get('mAP') for each in (*run.after, run)]
        return next((score for score in scores if score is not None), None)


def plan_rows(recipes: Recipes, budget: Budget, numbers: Sequence[int], joint_number: int, seeds: Sequence[int],
              root: Path, extract_script: str | Path, device: str = 'cpu',
              learned_queries: bool = False, patterns: Sequence[str] | None = None) -> list[LanguageRow]:
    """The rows, with the runs that they need.

    Args:
        recipes: Configs; left as they are.
        budget: Epochs.
        numbers: Of scene tokens, of the rows in two stages.
        joint_number: Of scene tokens, of the rows end to end.
        seeds: Of initialisation and order.
        root: Of the folders of all runs.
        extract_script: ``tools/extract_tokens.py``.
        device: On which it computes: ``cpu`` or ``cuda:0``.
        learned_queries: Also rows end to end whose queries are learned alone. Those of ``ProposalQueries`` start where
            a dense head finds objects, which only boxes teach it; these two rows are without that handicap.
        patterns: Only rows so named, as in a shell, and the blind model; None for all.

    Raises:
        ValueError: If no row is so named, or a number cannot be; see :func:`number_options`.
    """
    plan_run = partial(comparison.plan_run, root=root, as_text=_as_text)
    asked, seen = _questions_digest(recipes.blind), _images_digest(recipes.detector)
    start: tuple[TrainingRun, ...] = ()
    if budget.image:
        pretraining = comparison.pretraining_of(recipes.detector, budget.image)
        start = (replace(plan_run('image branch', 0, pretraining, seen), scored=False), )

    def from_start(cfg: Config, frozen: Sequence[str]) -> Config:
        for branch in start:
            cfg = with_options(cfg, image_branch_options(cfg, branch.folder / f'epoch_{budget.image}.pth', frozen))
        return cfg

    def two_stages(number: int, seed: int) -> TrainingRun:
        cfg = with_budget(with_options(recipes.detector, number_options(recipes.detector, number)), budget.detection)
        cfg = from_start(cfg, ['backbone'])
        detector = plan_run(f'detector, {number} queries', seed, cfg, seen, after=start)
        config, checkpoint = detector.folder / 'config.py', detector.folder / f'epoch_{budget.detection}.pth'
        tokens = detector.folder / TOKENS  # trained anew, the detector loses them
        reader = with_budget(recipes.tokens, budget.language)
        read_from(reader, dict(cache=str(tokens), config=str(config), checkpoint=str(checkpoint)))
        run = plan_run(f'{number} tokens, two stages', seed, reader, asked, after=(detector, ))
        return replace(leave_answers(run), preparation=(
            str(extract_script), str(config), str(checkpoint), '--out', str(tokens), '--device', device))

    def blind(seed: int) -> TrainingRun:
        return leave_answers(plan_run('blind', seed, with_budget(recipes.blind, budget.language), asked))

    def end_to_end(name: str, options: Sequence[Options], seed: int) -> TrainingRun:
        cfg = with_budget(recipes.images, budget.joint)
        for each in options:
            cfg = with_options(cfg, each)
        if cfg.model.get('bbox_head') and asks_about_all_frames(cfg):
            cfg.val_evaluator = [recipes.detector.val_evaluator, cfg.val_evaluator]
        return leave_answers(plan_run(name, seed, from_start(cfg, ['backbone', 'neck']), asked, after=start))

    numbered = number_options(recipes.images, joint_number)
    both = f'{joint_number} tokens, end to end'
    joint = {f'{both}, with boxes': [numbered], f'{both}, no boxes': [numbered, NO_BOXES]}
    if learned_queries:
        learned = learned_options(recipes.images, joint_number)
        joint.update({f'{both}, with boxes, learned queries': [learned],
                      f'{both}, no boxes, learned queries': [learned, NO_BOXES]})
    plan: list[tuple[str, Kind, int, Callable[[int], TrainingRun]]] = [
        *((f'{number} tokens, two stages', 'two stages', number, partial(two_stages, number)) for number in numbers),
        ('blind', 'blind', 0, blind),
        *((name, 'end to end', joint_number, partial(end_to_end, name, options)) for name, options in joint.items())]
    names = [name for name, *_ in plan]
    wanted = {name for name in names for pattern in patterns or ('*', ) if fnmatch.fnmatchcase(name, pattern)}
    if not wanted:
        raise ValueError(f'No row is called {" or ".join(patterns or ())}: the rows are {", ".join(map(repr, names))}.')
    return [LanguageRow(name, kind, number, tuple(map(train, seeds))) for name, kind, number, train in plan
            if name in wanted or kind == 'blind']


# Without a head nothing reads boxes: neither denoising nor what teaches the scene queries where objects are. A dense
# head from the image branch stays as it came.
NO_BOXES: Options = {'model.bbox_head': None, 'model.denoising': None}


def number_options(cfg: Config, number: int) -> Options:
    """What makes a config one of so many scene queries; the share of proposals among them stays.

    Raises:
        ValueError: If its queries are not simply so many, or ``number`` leaves no query of a kind.
    """
    queries = cfg.model.scene_queries
    if 'num_queries' not in queries:
        raise ValueError(f'Expected scene queries with num_queries, as SceneQueries or ProposalQueries have; '
                         f'{queries.type} has {", ".join(queries)}.')
    options: Options = {'model.scene_queries.num_queries': number}
    if 'num_proposals' in queries:
        options['model.scene_queries.num_proposals'] = round(number * queries.num_proposals / queries.num_queries)
    if min(options.values()) < 1:
        raise ValueError(f'{number} scene tokens are too few: of {queries.type} with {queries.num_queries} queries as '
                         f'in the config, these would be {options}.')
    return options


def image_branch_options(cfg: Config, checkpoint: Path, frozen: Sequence[str]) -> Options:
    """What lets a detector start from an image branch that was trained alone.

    Args:
        cfg: Of the detector.
        checkpoint: Of :class:`ImageCenterPretraining`, with the parts of this detector.
        frozen: Parts that rest.
    """
    options: Options = {'load_from': str(checkpoint), 'model.frozen_parts': list(frozen)}
    if 'center_head' in cfg.model.scene_queries:  # there it is a part of the scene queries
        options['model.scene_queries.center_head.init_cfg'] = dict(
            type='Pretrained', checkpoint=str(checkpoint), prefix='center_head.')
    return options


def learned_options(cfg: Config, number: int) -> Options:
    """What makes a config one of so many learned scene queries, without proposals."""
    queries = cfg.model.scene_queries
    return {'model.scene_queries': dict(
        _delete_=True, type='SceneQueries', num_queries=number, embed_dims=queries.embed_dims,
        concentration=queries.get('concentration', 1.))}


def read_from(cfg: Config, source: dict) -> None:
    """Let all pipelines of a reader's config read its tokens from a cache, and check that it is of that detector."""
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in innermost_dataset(loader.dataset).pipeline:
            if step.type == 'LoadSceneTokens':
                step.update(source)


def leave_answers(run: TrainingRun) -> TrainingRun:
    """Let the last validation write its answers into the run's folder, which depends on all else."""
    cfg = with_options(run.cfg, {})
    evaluators = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    for evaluator in evaluators:
        if evaluator.type == 'DrivingQAMetric':
            evaluator.dump = str(run.folder / ANSWERS)
    return replace(run, cfg=cfg)


def asks_about_all_frames(cfg: Config) -> bool:
    """Whether every held-out frame has a question: the official detection metric wants all frames of a split."""
    dataset = innermost_dataset(cfg.val_dataloader.dataset)
    frames = load(str(Path(dataset.data_root) / dataset.ann_file))['data_list']
    asked = {question['sample_token'] for question in json.loads(Path(dataset.questions.path).read_text())['questions']}
    return {frame['token'] for frame in frames} <= asked


def missing_files(recipes: Recipes) -> list[str]:
    """What has to be written before anything can be trained, and by which tool; a line each."""
    cfg, lines = recipes.blind, []
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        dataset = innermost_dataset(loader.dataset)
        lines += [f'{path}, by tools/{tool}' for path, tool in (
            (Path(dataset.data_root) / dataset.ann_file, 'create_data.py'),
            (Path(dataset.questions.path), 'create_questions.py')) if not path.is_file()]
    tokenizer = _tokenizer(cfg)
    if tokenizer is not None and not tokenizer.exists():
        lines.append(f'{tokenizer}, by tools/create_word_tokenizer.py')
    return lines


def _tokenizer(cfg: Config) -> Path | None:
    """The folder of a small language model's tokenizer; None where the language model's own folder holds it."""
    language_model = cfg.model.language_model
    described = language_model.model if isinstance(language_model.model, dict) else {}
    folder = language_model.get('tokenizer') or described.get('tokenizer')
    return Path(folder) if folder else None


def _as_text(cfg: Config) -> str:
    """A line an entry. mmengine's own text is made by a formatter that takes seconds over paths of some length."""
    return json.dumps(cfg.to_dict(), indent=1, sort_keys=True, default=repr)


def _images_digest(cfg: Config) -> str:
    train, val = innermost_dataset(cfg.train_dataloader.dataset), innermost_dataset(cfg.val_dataloader.dataset)
    return data_digest(train.data_root, [train.ann_file, val.ann_file])


def _questions_digest(cfg: Config) -> str:
    """Of frames, questions and the words of the tokenizer."""
    train, val = innermost_dataset(cfg.train_dataloader.dataset), innermost_dataset(cfg.val_dataloader.dataset)
    tokenizer = _tokenizer(cfg)
    words = sorted(path for path in tokenizer.glob('*') if path.is_file()) if tokenizer is not None else []
    files = [Path(dataset.questions.path) for dataset in (train, val)] + words
    return data_digest(train.data_root, [train.ann_file, val.ann_file, *(path.resolve() for path in files)])
