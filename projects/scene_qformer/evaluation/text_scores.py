"""BLEU, ROUGE-L and CIDEr of free text, by the code of COCO's caption challenge."""
from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

PINNED = '1.2'  # pycocoevalcap, as in requirements/test.txt
TEXT_SCORES = ('Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L', 'CIDEr')

# The words that COCO's challenge counts, without Stanford's PTBTokenizer, which needs Java: in lower case, words with
# inner hyphens, points and apostrophes whole, numbers with their points and commas (even one before them), clitics
# ('s, n't) apart, each bracket and symbol by itself; quotes . , : ; ! ? - are dropped. Of the 958 questions and answers
# of five DriveLM frames both split all alike; they differ in abbreviations (`etc.`), which keep their point there.
_TOKEN = re.compile(r"""
    [-+]?[.,]?\d+(?:[-.,:/]\d+)*(?![-.,:/]?\d|[^\W\d_])  # a number
  | [^\W\d_]+(?=n't\b)                                 # the verb before n't
  | n't\b | '(?:s|re|ve|ll|d|m)\b                       # clitics
  | \w+(?:(?:[-./]|'(?!(?:s|re|ve|ll|d|m)\b))\w+)*     # a word
  | [^\w\s'"`.,:;!?-]                                  # a symbol
""", re.VERBOSE)


def tokenize(text: str) -> list[str]:
    """Words of a text, as they are counted.

    >>> tokenize("There's a truck (red), 3.5 m away: don't brake.")
    ['there', "'s", 'a', 'truck', '(', 'red', ')', '3.5', 'm', 'away', 'do', "n't", 'brake']
    """
    return _TOKEN.findall(text.lower().replace('\N{RIGHT SINGLE QUOTATION MARK}', "'"))


def text_scores(answers: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Scores of a corpus, each prediction against its one answer; all higher is better.

    ``Bleu_1`` to ``Bleu_4`` (Papineni et al. 2002), 0 to 1, over the whole corpus, not averaged over sentences, without
    smoothing: where no n-gram is right ``Bleu_n`` is 0, up to the library's guards against division by zero (0.032 at
    most), so that ``Bleu_4`` says nothing of answers with fewer than four words.

    ``ROUGE_L`` (Lin 2004), 0 to 1: the mean of F with beta 1.2 of the longest common subsequence.

    ``CIDEr`` (Vedantam et al., arXiv:1411.5726; what the code computes is its CIDEr-D, with clipped counts and a
    penalty on length): raw, 0 to 10. Papers print it times 100 (COCO's 1.2 as 120), and so does
    :mod:`.answer_table`. The weights of n-grams (idf) come from the answers of *this* corpus: it is not comparable
    between sets of questions, and it is 0 for one question, for which all weights are 0. It is the mean over n = 1 to
    4, and an answer with fewer than n words scores 0 there: a corpus of one-word answers cannot pass 2.5.

    The library is pycocoevalcap, since these are the very figures that OmniDrive, DriveLM's challenge and ORION
    report. Its METEOR, SPICE and tokenizer need Java and are not used; the words are those of :func:`tokenize`.

    Args:
        answers: What is right.
        predictions: As many.

    Raises:
        ModuleNotFoundError: without pycocoevalcap; says how to install it.
        ValueError: no answers, or unequal numbers.
    """
    if not answers or len(answers) != len(predictions):
        raise ValueError('Expected as many predictions as answers, and at least one; got '
                         f'{len(predictions)} predictions, {len(answers)} answers.')
    references = {str(index): [_spaced(text)] for index, text in enumerate(answers)}
    candidates = {str(index): [_spaced(text)] for index, text in enumerate(predictions)}
    bleu, _ = _scorer('bleu', 'Bleu')(4).compute_score(references, candidates, verbose=0)
    rouge, _ = _scorer('rouge', 'Rouge')().compute_score(references, candidates)
    cider = 0.
    if any(text for [text] in references.values()):  # of empty texts alone the library cannot take weights
        cider, _ = _scorer('cider', 'Cider')().compute_score(references, candidates)
    return dict(zip(TEXT_SCORES, map(float, (*bleu, rouge, cider))))


def _spaced(text: str) -> str:
    return ' '.join(tokenize(text))


def _scorer(name: str, class_name: str) -> Any:
    """A class of pycocoevalcap, imported on first use, so that all else works without it."""
    try:
        return getattr(importlib.import_module(f'pycocoevalcap.{name}.{name}'), class_name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split('.')[0] != 'pycocoevalcap':
            raise
        raise ModuleNotFoundError(
            'BLEU, ROUGE-L and CIDEr need pycocoevalcap, which is not installed: `pip install pycocoevalcap=='
            f'{PINNED}`, or leave them out with `free_text=False`.', name='pycocoevalcap') from error
