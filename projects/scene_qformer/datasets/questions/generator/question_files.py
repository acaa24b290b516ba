"""From info files to ``questions_{train,val}.json``, in the format that ``GeneratedQuestions`` reads."""
from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nuscenes.nuscenes import NuScenes
from tqdm import tqdm

from ....durable_file import OF_A_TOOL, write_durably
from ...info_file import check_cameras, check_once, load_info_file
from ...nuscenes_infos import open_nuscenes
from ...nuscenes_scene_dataset import NUSCENES_CAMERAS
from ...output_files import check_outputs
from ..driving_question import DrivingQuestion
from .balance import Choice, TextPool, draw, text_only_statistics
from .families import FAMILIES, questions_about
from .frame_facts import FrameFacts, read_frame
from .rules import RULES

GENERATION = 1  # grows when the same root, version and seed give other questions
SPLITS = ('train', 'val')


def create_question_files(
    root: str | Path,
    version: str,
    out: str | Path | None = None,
    info_root: str | Path | None = None,
    per_frame: int = 20,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Write ``questions_train.json`` and ``questions_val.json``; the splits are those of the info files.

    Args:
        root: The nuScenes root, real or synthetic, anywhere.
        version: 'v1.0-mini' or 'v1.0-trainval'.
        out: Where to write. Defaults to ``info_root``.
        info_root: Where ``nuscenes_infos_{train,val}.pkl`` are. Defaults to the root.
        per_frame: The most questions a frame. Balancing leaves some frames fewer.
        seed: Draws wordings and questions; the same seed gives the same files.
        overwrite: Replace existing files.

    Returns:
        The files. A split without frames gets none.

    Raises:
        FileExistsError: If a file exists and ``overwrite`` is False. Nothing was written then.
        NotADirectoryError: If ``out`` is a file.
        FileNotFoundError: If something of the root, or an info file, is missing.
        ValueError: If the version has no annotations or is not that of the info files, these are damaged or not of this
            root, a scene is in both splits, ``per_frame`` is not positive, or no question is left.
        NotWrittenError: If the disk does not take a file; what was there is intact.
    """
    info_root = Path(root if info_root is None else info_root)
    out = Path(info_root if out is None else out)
    targets = {split: out / f'questions_{split}.json' for split in SPLITS}
    if version == 'v1.0-test':
        raise ValueError('v1.0-test has no annotations to make questions from; expected v1.0-mini or v1.0-trainval.')
    if per_frame < 1:
        raise ValueError(f'Expected at least one question a frame, got per_frame={per_frame}.')
    check_outputs(targets.values(), overwrite)
    infos = {split: _read_infos(info_root / f'nuscenes_infos_{split}.pkl', version) for split in SPLITS}
    print(f'Reading the tables of {root}', flush=True)
    nusc = open_nuscenes(root, version)
    scenes = {split: [_scene_name(nusc, info) for info in infos[split]] for split in SPLITS}
    shared = sorted(set(scenes['train']) & set(scenes['val']))
    if shared:
        raise ValueError(f'The info files in {info_root} have {len(shared)} scenes in both splits, {shared[0]} first: '
                         'a model could answer by heart. Create them anew with tools/create_data.py.')
    written = []
    for split, path in targets.items():
        if not infos[split]:
            old = f'; {path} is of an earlier time and stays' if path.exists() else ''
            print(f'No {split} questions: {info_root} has no {split} frames{old}')
            continue
        frames = (read_frame(info, nusc) for info in tqdm(infos[split], f'{version} {split} questions', unit='frame'))
        pools = pool_questions(frames, [info['token'] for info in infos[split]], seed)
        decided = sum(len(places) for pool in pools.values() for places in pool.frames.values())
        print(f'Drawing from {decided} questions that the annotations decide', flush=True)
        choices = draw(pools, per_frame, random.Random(f'{seed} {split}'))
        if not choices:
            raise ValueError(f'The {len(infos[split])} {split} frames of {root} leave no question whose answer is not '
                             'always the same. More frames or scenes are needed.')
        questions = [_question(choice, index, infos[split][choice.frame]['token'], scenes[split][choice.frame])
                     for index, choice in enumerate(choices)]
        rows = statistics(choices)
        metainfo = dict(generation=GENERATION, dataset='nuscenes', version=version, split=split, seed=seed,
                        per_frame=per_frame, num_frames=len(infos[split]), scenes=sorted(set(scenes[split])),
                        rules=RULES, statistics=rows)
        _write(path, metainfo, questions)
        print(f'{path}: {len(questions)} questions about {len(infos[split])} frames')
        print(format_statistics(rows))
        written.append(path)
    return written


def pool_questions(frames: Iterable[FrameFacts], tokens: Sequence[str], seed: int) -> dict[str, TextPool]:
    """Every decided question of the frames, each in one of its wordings; frames by their place in the sequence.

    Args:
        frames: What the annotations say, in the order of ``tokens``.
        tokens: Sample tokens. With the seed they draw the wordings, so that a frame's do not depend on other frames.
    """
    pools: dict[str, TextPool] = {}
    for index, (facts, token) in enumerate(zip(frames, tokens)):
        rng = random.Random(f'{seed} {token}')
        for asked in questions_about(facts):
            text = rng.choice(asked.template.wordings).format(**asked.words)
            pool = pools.setdefault(text, TextPool(asked.template.type, asked.template.least))
            pool.frames[asked.answer].append(index)
    return pools


def statistics(choices: Sequence[Choice]) -> dict[str, dict]:
    """:func:`text_only_statistics` of each type, and of all together under ``all``."""
    by_type = {name: [choice for choice in choices if choice.type == name] for name in FAMILIES}
    return {name: text_only_statistics(some) for name, some in (*by_type.items(), ('all', choices))}


def format_statistics(rows: dict[str, dict]) -> str:
    """A table for the terminal."""
    lines = [f'  {"type":<10}{"questions":>10}{"answers":>9}{"most frequent":>15}{"best text-only":>16}']
    lines += [f'  {name:<10}{row["number"]:>10}{len(row["answers"]):>9}{row["majority_accuracy"]:>15.1%}'
              f'{row["text_only_accuracy"]:>16.1%}' for name, row in rows.items()]
    return '\n'.join(lines)


def _read_infos(path: Path, version: str) -> list[dict]:
    content = load_info_file(path)
    found = content['metainfo'].get('version')
    if found not in (None, version):
        raise ValueError(f"{path} was made from version '{found}', but --version is '{version}'. Give that version, or "
                         '--info-root with the info files of this one.')
    check_once(content['data_list'], path)
    for info in content['data_list']:
        check_cameras(info, NUSCENES_CAMERAS, path)
        info.pop('cam_instances', None)  # the larger half of an info, not needed here
    return content['data_list']


def _scene_name(nusc: NuScenes, info: dict) -> str:
    try:
        sample = nusc.get('sample', info['token'])
    except KeyError:
        raise ValueError(f'Sample {info["token"]} of the info files is not in {nusc.dataroot}/{nusc.version}. Give the '
                         'root that they were made from, or create them anew with tools/create_data.py.') from None
    return nusc.get('scene', sample['scene_token'])['name']


def _question(choice: Choice, index: int, token: str, scene: str) -> DrivingQuestion:
    return DrivingQuestion(id=f'{token}_{index}', type=choice.type, turns=((choice.text, choice.answer), ),
                           sample_token=token, scene=scene)


def _records(questions: Sequence[DrivingQuestion]) -> Iterator[dict]:
    for question in questions:
        (text, answer), = question.turns
        yield dict(id=question.id, sample_token=question.sample_token, scene=question.scene, type=question.type,
                   question=text, answer=answer)


def _write(path: Path, metainfo: dict, questions: Sequence[DrivingQuestion]) -> None:
    """One question a line; the file appears only when it is whole."""
    lines = ',\n'.join(json.dumps(record) for record in _records(questions))
    text = f'{{"metainfo": {json.dumps(metainfo, indent=1)},\n"questions": [\n{lines}\n]}}\n'
    write_durably(path, text.encode(), OF_A_TOOL)
