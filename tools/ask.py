"""Ask a trained model about one frame of its config's test set.

    python tools/ask.py CONFIG CHECKPOINT --frame 12 --question "How many trucks are there?"
    python tools/ask.py CONFIG CHECKPOINT --sample TOKEN          # asks for questions, line by line

Prints question and answer, and the true answer where the test set has that very question. With --picture, also draws
the images with questions and answers beneath. The model reads images (a SceneQFormer with a language model) or a token
cache (a TokenReader), as its config says.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from mmengine.model import BaseModel

from scene_qformer.asking import (
    ask,
    check_answering_weights,
    check_index,
    find_frame,
    require_language_model,
    true_answer,
    true_answers,
    unknown_words,
)
from scene_qformer.dataset_config import innermost_dataset
from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.evaluation.exact_match import normalize_answer
from scene_qformer.inference import build_test_dataset, load_model
from scene_qformer.visualization.answer_view import Exchange, draw_answers_beneath


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--question', '-q', action='append', help='what to ask; several times for several questions. '
                        'Without it, questions are read from the terminal')
    frame = parser.add_mutually_exclusive_group()
    frame.add_argument('--frame', type=int, default=0, help='index of the frame in the test set (default: 0)')
    frame.add_argument('--sample', help='its sample token, instead')
    parser.add_argument('--picture', type=Path, help='file for a picture of the frame, .jpg or .png')
    parser.add_argument('--on-fault', choices=['stop', 'mask'], help="where a camera's image or calibration is broken: "
                        'stop, or answer from the other cameras; default: what the config says')
    parser.add_argument('--device', default='cpu', help='cpu or cuda:0')
    args = parser.parse_args()
    if not args.question and not sys.stdin.isatty():
        parser.error('there is no question: give --question "..." (at a terminal, questions are asked for)')
    if args.picture and args.picture.suffix.lower() not in ('.jpg', '.jpeg', '.png'):
        parser.error(f'--picture is a .jpg or .png file, got {args.picture}')
    return args


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='ERROR')  # the answers are the result, not the log
    try:
        run(args)
    except (FileNotFoundError, LookupError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f'ask.py: {error}')


def run(args: argparse.Namespace) -> None:
    """Find the frame, then ask."""
    cfg = load_config(args)
    require_language_model(cfg)
    if args.on_fault:
        innermost_dataset(cfg.test_dataloader.dataset).on_fault = args.on_fault
    dataset = build_test_dataset(cfg)
    if args.sample:
        index = find_frame(dataset, args.sample)
    else:
        index = args.frame
        check_index(dataset, index)
    model = load_model(cfg, args.checkpoint, args.device)
    check_answering_weights(model, args.checkpoint)
    title = f'frame {index} of {len(dataset)}, sample {dataset.get_data_info(index)["token"]}'
    print(title)
    lost = dataset[index]['data_samples'].metainfo.get('camera_faults', {})
    for name, reason in lost.items():
        print(f'{name} is masked: {reason}')
    if args.question:
        exchanges = show(model, dataset, index, args.question)
    else:
        exchanges = converse(model, dataset, index)
    if args.picture:
        cameras = dataset.get_data_info(index)['images']
        read = {name: mmcv.imread(camera['img_path'], channel_order='rgb')
                for name, camera in cameras.items() if name not in lost}
        black = np.zeros_like(next(iter(read.values())))
        images = {name: read.get(name, black) for name in cameras}
        picture = draw_answers_beneath(images, exchanges, title)
        mmcv.imwrite(picture[..., ::-1], str(args.picture))
        print(f'\nwritten: {args.picture}')


def show(model: BaseModel, dataset: BaseDataset, index: int, questions: list[str],
         echo: bool = True) -> list[Exchange]:
    """Ask and print; without ``echo`` only what is new to who typed the question."""
    exchanges = []
    for question, answer in zip(questions, ask(model, dataset, index, questions)):
        truth = true_answer(dataset, index, question)
        right = None if truth is None else normalize_answer(answer) == normalize_answer(truth)
        exchanges.append(Exchange(question, answer, truth, right))
        known = '' if truth is None else f'    (true: {truth})'
        said = f'{answer or "(an empty answer)"}{known}'
        print(f'\nQ: {question}\nA: {said}' if echo else said, flush=True)
        if unknown := unknown_words(model, question):
            print(f'   (the tokenizer does not know {", ".join(unknown)})')
    return exchanges


def converse(model: BaseModel, dataset: BaseDataset, index: int) -> list[Exchange]:
    """Ask for questions until there is none; each is asked by itself, without the ones before."""
    if examples := list(true_answers(dataset, index))[:3]:
        print('The test set asks about it, for example:', *examples, sep='\n  ')
    print('An empty line ends.')
    exchanges: list[Exchange] = []
    while True:
        try:
            question = input('\n> ').strip()
        except EOFError:
            question = ''
        if not question:
            return exchanges
        exchanges += show(model, dataset, index, [question], echo=False)


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
