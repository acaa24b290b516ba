"""The metric of answers to driving questions."""
from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from mmdet3d.registry import METRICS
from mmengine.logging import print_log

from .answer_scores import score_answers
from .driving_answer import DrivingAnswer, write_answers
from .every_sample_once import EverySampleOnce


@METRICS.register_module()
class DrivingQAMetric(EverySampleOnce):
    """Compare the answers of a language model with the true ones.

    Reads of every data sample::

        gt_text    list of conversations, dict(id=str, type=str, turns=[(question, answer), ...]); maybe empty
        pred_text  list of str, parallel to it: what was answered to the *last* question of each

    Scores, under ``prefix/``::

        accuracy         exact match over all questions, 0 to 1
        accuracy_<type>  over those of one type (NuScenes-QA's convention, see ``exact_match.py``)
        Bleu_1 ... Bleu_4, ROUGE_L  0 to 1;  CIDEr  raw, 0 to 10 (see ``text_scores.py``); with ``free_text``

    Args:
        free_text: Also score the texts; needs pycocoevalcap. With answers of one or two words this says little.
        dump: File to write all answers to, JSON lines with id, type, question, answer and prediction, from which
            ``tools/analysis/compare_answers.py`` makes tables.
        prefix: Before the names of the scores.
        collect_device: As in mmengine.
        collect_dir: As in mmengine.
    """

    default_prefix = 'driving_qa'

    def __init__(self,
                 free_text: bool = True,
                 dump: str | None = None,
                 prefix: str | None = None,
                 collect_device: str = 'cpu',
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.free_text = free_text
        self.dump = None if dump is None else Path(dump)

    def process(self, data_batch: object, data_samples: Sequence[Mapping]) -> None:
        """Keep questions, answers and predictions of a batch.

        Raises:
            ValueError: a sample lacks ``gt_text`` or ``pred_text``, or they differ in length; names the sample.
        """
        # One entry a frame, with all its questions: mmengine cuts what processes have gathered to the number of frames.
        self.results.extend((_name_of(sample), _answers_of(sample)) for sample in data_samples)

    def compute_metrics(self, results: list[tuple[Hashable, list[DrivingAnswer]]]) -> dict[str, float]:
        """Scores of all frames together.

        Questions of a test set that come without answers are dumped only; of these alone there are no scores.

        Raises:
            ValueError: the frames have no question at all, or none with an answer and there is no ``dump``; or a frame
                is missing or comes twice.
        """
        self.check_every_sample_once([name for name, _ in results])
        answers = [answer for _, frame in results for answer in frame]
        if not answers:
            raise ValueError(f'None of the {len(results)} frames has a question: expected gt_text with at least one '
                             'conversation. Do the questions belong to the frames of this ann_file?')
        if self.dump is not None:
            write_answers(self.dump, answers)  # first: a failing score shall not lose an hour of generation
        unknown = sum(not answer.known for answer in answers)
        if unknown == len(answers) and self.dump is None:
            raise ValueError(f'None of the {len(answers)} questions comes with an answer, so that there is nothing to '
                             'score: expected answers, or `dump=<file>` to have what was answered written.')
        if unknown:
            print_log(f'{unknown} of {len(answers)} questions come without an answer and are not scored.', 'current',
                      logging.WARNING)
        if unknown == len(answers):
            return {}
        scores = score_answers(answers, self.free_text)
        return {'accuracy': scores.overall.fraction,
                **{f'accuracy_{name}': accuracy.fraction for name, accuracy in scores.types.items()}, **scores.text}


def _name_of(sample: Mapping) -> Hashable:
    return sample.get('sample_token', sample.get('sample_idx', 'without sample_token'))


def _answers_of(sample: Mapping) -> list[DrivingAnswer]:
    name = _name_of(sample)
    for key, origin in (('gt_text', 'the dataset with its questions'), ('pred_text', 'a model with language_model')):
        if sample.get(key) is None:
            raise ValueError(f'Sample {name} has no {key}: expected a list, which {origin} gives; it has '
                             f'{", ".join(map(str, sample)) or "nothing"}.')
    conversations, predictions = sample['gt_text'], sample['pred_text']
    if isinstance(predictions, str) or len(conversations) != len(predictions):
        found = 'one text' if isinstance(predictions, str) else f'{len(predictions)} texts'
        raise ValueError(f'Sample {name}: expected pred_text to be a list with one text for each of the '
                         f'{len(conversations)} conversations of gt_text, found {found}.')
    answers = []
    for conversation, prediction in zip(conversations, predictions):
        question, answer = conversation['turns'][-1]
        answers.append(DrivingAnswer(str(conversation['id']), conversation['type'], question, answer, prediction))
    return answers
