"""A tokenizer for small language models that are trained from scratch: words, punctuation marks and digits."""
from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .libraries import import_transformers

SPECIAL_TOKENS = dict(pad_token='<pad>', bos_token='<s>', eos_token='</s>', unk_token='<unk>')
# <s>question</s>answer</s>: no words for the roles, so that sequences are short.
CHAT_TEMPLATE = ("{% for message in messages %}{% if message['role'] != 'assistant' %}{{ bos_token }}{% endif %}"
                 "{{ message['content'] + eos_token }}{% endfor %}")
# Known whatever the texts are: any number can be read and written.
ALWAYS_KNOWN = ('0 1 2 3 4 5 6 7 8 9', '0123456789', '?.,:;-')


def build_word_tokenizer(texts: Iterable[str], max_words: int = 8000) -> Any:
    """Learn the words of texts.

    A token is a word, a punctuation mark or a digit; words as they are written, upper and lower case apart. ``▁``
    stands for a blank before it (as in SentencePiece, Kudo and Richardson, arXiv 1808.06226), so that text comes back
    as it was, but for runs of blanks::

        'Turn left, 12.5 m'  ->  ▁Turn  ▁left  ,  ▁  1  2  .  5  ▁m

    The same texts give the same tokenizer.

    Args:
        texts: Questions and answers to learn from.
        max_words: Largest vocabulary; the rarest words become ``<unk>``.

    Returns:
        A ``PreTrainedTokenizerFast`` with ``<pad> <s> </s> <unk>`` (ids 0 to 3) and a chat template;
        ``.save_pretrained(folder)`` writes it.

    Raises:
        ValueError: If there is no text.
    """
    transformers = import_transformers()
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    texts = iter(texts)
    first = next(texts, None)
    if first is None:
        raise ValueError('A word tokenizer is learned from texts, and there are none: give the questions and answers '
                         'of the training set.')
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL_TOKENS['unk_token']))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r'\s+'), ' '), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement='▁', prepend_scheme='always'),
        pre_tokenizers.Punctuation('isolated'),
        pre_tokenizers.Digits(individual_digits=True),
    ])
    tokenizer.decoder = decoders.Metaspace(replacement='▁', prepend_scheme='always')
    trainer = trainers.WordLevelTrainer(
        vocab_size=max_words, special_tokens=list(SPECIAL_TOKENS.values()), show_progress=False)
    tokenizer.train_from_iterator(itertools.chain(ALWAYS_KNOWN, (first, ), texts), trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
        padding_side='left', **SPECIAL_TOKENS)


def save_word_tokenizer(texts: Iterable[str], folder: str | Path, max_words: int = 8000) -> Path:
    """Write the tokenizer of :func:`build_word_tokenizer` as a folder for ``AutoTokenizer``; returns the folder."""
    build_word_tokenizer(texts, max_words).save_pretrained(folder)
    return Path(folder)
