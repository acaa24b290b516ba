"""Can the model learn answers by heart? Train a config on a few frames' questions, and ask them.

    DRIVELM_ROOT=data/drivelm python tools/analysis/learn_answers_by_heart.py    # DriveLM-nuScenes' own download
    python tools/analysis/learn_answers_by_heart.py CONFIG --frames 5 --steps 1000

Answers count when greedy decoding reproduces them letter by letter. Much can be learned from the text alone, so the
questions whose very text has another answer in another frame are counted apart, and the same language model is trained
once more without the images. Exit status 1 below ``--wanted`` of what can be reproduced, or if the images add nothing
where the text leaves the answer open. Both models' answers go to the work directory.
"""
from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.driving_answer import DrivingAnswer, read_answers
from scene_qformer.evaluation.learned_answers import LearnedAnswers, count_learned
from scene_qformer.experiment import train_by_heart
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / 'configs/scene_language/scene-language_r18_drivelm.py'
ASKED_TOGETHER = 64  # questions: answers are written a token at a time, and many at once take hardly longer than few


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, nargs='?', default=str(CONFIG), help="default: DriveLM's")
    parser.add_argument('--frames', type=int, help='only the first so many frames; default all')
    parser.add_argument('--steps', type=int, default=1000, help='training steps')
    parser.add_argument('--batch-size', type=int,
                        help="frames a step; default the config's, or fewer if there are fewer")
    parser.add_argument('--wanted', type=float, default=0.98, help='share of what can be reproduced below which this '
                        'fails')
    parser.add_argument('--no-blind', action='store_true', help='do not train the blind model')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/learn_answers_by_heart'))
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def by_heart(cfg: Config, frames: int | None, steps: int, batch_size: int | None) -> BaseDataset:
    """Train and test on the same frames; returns them."""
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        if frames is not None:
            loader.dataset.indices = frames  # BaseDataset keeps the first ones
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    train_by_heart(cfg, steps, min(batch_size or cfg.train_dataloader.batch_size, len(dataset)))
    return dataset


def blind_twin(cfg: Config) -> Config:
    """The same language model on the same questions, without the images."""
    cfg = copy.deepcopy(cfg)
    cfg.model = dict(type='TokenReader', blind=True, language_model=cfg.model.language_model)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        kept = [step for step in loader.dataset.pipeline if step.type == 'ChooseQuestions']
        loader.dataset.pipeline = [*kept, dict(type='PackSceneTokens')]
    return cfg


def conversations_of(dataset: BaseDataset) -> list[tuple[str, Mapping]]:
    """Sample tokens and conversations, frame by frame."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [(info['token'], conversation) for info in infos for conversation in info['gt_text']]


def use_word_tokenizer(cfg: Config, texts: Iterable[str], folder: Path) -> None:
    """For a language model from nothing, the tokenizer of the texts."""
    model = cfg.model.language_model.model
    if isinstance(model, dict):
        model['tokenizer'] = str(save_word_tokenizer(texts, folder))


def check_answers_can_be_written(tokenizer: Any, answers: Iterable[str]) -> None:
    """Text to tokens and back gives the same text.

    Raises:
        ValueError: If it does not for some answer, which then cannot be reproduced, however well it is learned.
    """
    wrong = [(answer, back) for answer in answers if (back := tokenizer.decode(
        tokenizer(answer, add_special_tokens=False)['input_ids'], skip_special_tokens=True).strip()) != answer.strip()]
    if wrong:
        raise ValueError(f'The tokenizer cannot write {len(wrong)} of the answers, first {wrong[0][0]!r}, which comes '
                         f'back as {wrong[0][1]!r}. Expected all to come back as they are: give the model a tokenizer '
                         'that knows all their words.')


def learn(cfg: Config, dataset: BaseDataset) -> tuple[dict[str, float], list[DrivingAnswer]]:
    """Train, and ask all questions; returns facts of the training, and the answers."""
    dump = Path(cfg.work_dir) / 'answers.jsonl'
    cfg.val_evaluator = dict(type='DrivingQAMetric', free_text=False, dump=str(dump))
    runner = Runner.from_cfg(cfg)
    check_answers_can_be_written(runner.model.language_model.tokenizer, (
        answer for _, conversation in conversations_of(dataset) for _, answer in conversation['turns']))
    runner.train()
    seconds, _ = runner.message_hub.get_scalar('train/time').data  # of every step
    runner.model.language_model.questions_per_pass = ASKED_TOGETHER
    runner.val_loop.run()
    runner.model.language_model.questions_per_pass = cfg.model.language_model.get('questions_per_pass')
    facts = dict(loss=round(mean_loss(runner.model, runner.val_dataloader.dataset), 5),
                 minutes=round(float(np.sum(seconds)) / 60, 1), seconds_a_step=round(float(np.median(seconds)), 2))
    return facts, read_answers(dump)


@torch.no_grad()
def mean_loss(model: BaseModel, dataset: BaseDataset) -> float:
    """Of all answers, in nats a token, as the model is used: in evaluation mode; the mean over frames."""
    model.eval()
    batches = (model.data_preprocessor(pseudo_collate([dataset[index]]), False) for index in range(len(dataset)))
    return float(np.mean([float(model(**batch, mode='loss')['loss_text']) for batch in batches]))


def table(groups: Mapping[str, LearnedAnswers]) -> str:
    """What was reproduced, a line for each group of questions."""
    lines = [f'{"questions":<30}{"number":>8}{"exact":>8}{"possible":>10}{"blind":>8}{"text alone, at best":>21}']
    for name, counts in groups.items():
        blind = '-' if counts.exact_blind is None else counts.exact_blind
        lines.append(f'{name:<30}{counts.questions:>8}{counts.exact:>8}{counts.best_by_sight:>10}{blind:>8}'
                     f'{counts.best_by_text:>21}')
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.default_scope)
    try:
        dataset = by_heart(cfg, args.frames, args.steps, args.batch_size)
        texts = conversations_of(dataset)
        use_word_tokenizer(cfg, (text for _, conversation in texts for turn in conversation['turns'] for text in turn),
                           args.work_dir / 'tokenizer')
        cfg.randomness = dict(seed=args.seed)
        trainings, answers = {}, {}
        for name, one in dict(sighted=cfg, **({} if args.no_blind else dict(blind=blind_twin(cfg)))).items():
            one.work_dir = str(args.work_dir / name)
            trainings[name], answers[name] = learn(one, dataset)
    except (OSError, ValueError) as error:
        sys.exit(f'learn_answers_by_heart.py: {error}')
    frames = {str(conversation['id']): token for token, conversation in texts}
    groups = count_learned(answers['sighted'], frames, answers.get('blind'))
    result = dict(config=Path(args.config).stem, frames=len(dataset), steps=args.steps, seed=args.seed,
                  threads=torch.get_num_threads(), **trainings,
                  groups={name: dict(asdict(counts), seen=counts.seen) for name, counts in groups.items()})
    (args.work_dir / 'result.json').write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result))
    print(table(groups))
    every, differing = groups['all'], groups['answered otherwise elsewhere']
    if every.exact < args.wanted * every.best_by_sight:
        sys.exit(f'Learned only {every.exact} of {every.best_by_sight} answers; {args.wanted:.0%} were wanted.')
    if differing.questions and not differing.seen:
        sys.exit('Nothing shows that the images were looked at: where the same question has other answers in other '
                 f'frames, {differing.exact} were reproduced, and {differing.best_by_text} can be from the text alone.')


if __name__ == '__main__':
    main()
