"""Questions of one's own about a frame of a dataset, answered by a trained model."""
from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel

from .engine import DETECTION_PARTS, NO_WEIGHTS, checkpoint_weights, require_weights

_ANSWERING_PARTS = ('projector.', 'language_model.')


@torch.inference_mode()
def ask(model: BaseModel, dataset: BaseDataset, index: int, questions: Sequence[str]) -> list[str]:
    """Ask a model about one frame; each question by itself, as in a test.

    Args:
        model: A ``SceneQFormer`` with ``language_model``, or a ``TokenReader``; in evaluation mode.
        dataset: With the test pipeline of that model. Its own questions about the frame, if it has some, are not asked.
        index: Of the frame.
        questions: What to ask. ``<image>`` in a question says where the scene tokens go; they come first by default.

    Returns:
        The answers, in the order of the questions.

    Raises:
        IndexError: If there is no such frame.
        ValueError: If there is no question, or one is empty, or the model has no language model.
    """
    if getattr(model, 'language_model', None) is None:
        raise ValueError(f'Only a language model answers questions, and this {type(model).__name__} has none: expected '
                         'a SceneQFormer with language_model=dict(...), or a TokenReader.')
    if isinstance(questions, str) or not questions or not all(
            isinstance(question, str) and question.strip() for question in questions):
        raise ValueError(f'Expected a list of questions, none of them empty; got {questions!r}.')
    check_index(dataset, index)
    inputs = dataset[index]
    inputs['data_samples'].gt_text = [
        dict(id=str(number), type='asked', turns=[(question, '')]) for number, question in enumerate(questions)]
    return model.test_step(pseudo_collate([inputs]))[0].pred_text


def require_language_model(cfg: Config) -> None:
    """Notice before anything is loaded that nobody will answer.

    Raises:
        ValueError: If the config's model has no language model.
    """
    if not cfg.model.get('language_model'):
        raise ValueError(f'The model of {cfg.filename}, a {cfg.model.type}, has no language_model, so it answers no '
                         'questions. Give a config that has one, e.g. of configs/scene_language/.')


def check_answering_weights(model: BaseModel, checkpoint: str | Path) -> None:
    """A checkpoint must hold all weights that answers come from, and of projector and language model nothing else.

    On loading, mmengine only warns: a random encoder, or a language model without the adapters that were trained,
    would answer.

    Raises:
        ValueError: If it holds less, or something else; names the first.
    """
    weights = checkpoint_weights(checkpoint)
    require_weights(model, checkpoint, DETECTION_PARTS, weights)
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)} | model.state_dict().keys()
    if unknown := {name for name in weights if name.startswith(_ANSWERING_PARTS)
                   and not name.endswith(NO_WEIGHTS)} - known:
        raise ValueError(f'The checkpoint {checkpoint} holds, unknown to this config, {len(unknown)} weights of '
                         f'projector and language model, such as {min(unknown)}. Give the config that it was trained '
                         'with, with the same language model and adapters; it lies beside the checkpoint.')


def check_index(dataset: BaseDataset, index: int) -> None:
    """A frame's index must be one.

    Raises:
        IndexError: If it is none.
    """
    if not 0 <= index < len(dataset):  # not -1 either, which a dataset would take for the last
        raise IndexError(f'There is no frame {index}: the test set has {len(dataset)} frames, 0 to {len(dataset) - 1}.')


def find_frame(dataset: BaseDataset, token: str) -> int:
    """The index of a frame.

    Raises:
        ValueError: If the dataset has no such sample; names the nearest ones.
    """
    tokens = [dataset.get_data_info(index)['token'] for index in range(len(dataset))]
    if token in tokens:
        return tokens.index(token)
    nearest = difflib.get_close_matches(token, tokens, n=3)
    hint = f'The nearest are {", ".join(nearest)}' if nearest else f'The first of them is {tokens[0]}'
    raise ValueError(f'There is no sample {token} among the {len(tokens)} frames of the test set. {hint}. Samples of '
                     'another split, and those without any question, are not in it.')


def true_answers(dataset: BaseDataset, index: int) -> dict[str, str]:
    """What the dataset itself asks about a frame, with the answers; only what is asked without a history.

    Returns:
        Question to answer, in the order of the dataset; empty if it has no questions.
    """
    conversations = dataset.get_data_info(index).get('gt_text', ())
    firsts = [conversation['turns'][0] for conversation in conversations]
    return {_plain(question): answer for question, answer in firsts if answer}


def true_answer(dataset: BaseDataset, index: int, question: str) -> str | None:
    """The answer to that very question, but for upper case and blanks; None if the dataset does not ask it."""
    return next((answer for known, answer in true_answers(dataset, index).items()
                 if known.casefold() == _plain(question).casefold()), None)


def unknown_words(model: BaseModel, question: str) -> list[str]:
    """Words that the model's tokenizer does not know; those of large language models know all."""
    tokenizer = model.language_model.tokenizer
    words = [word.strip('.,;:?!"') for word in _plain(question).split()]
    return [word for word in words
            if tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False)['input_ids']]


def _plain(question: str) -> str:
    return ' '.join(question.replace('<image>', ' ').split())
