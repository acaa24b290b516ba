"""The metric as mmengine runs it: data samples in, scores out, on one process and on several."""
import json
import multiprocessing
import sys

import pytest
import torch
from mmdet3d.registry import METRICS
from mmdet3d.structures import Det3DDataSample
from mmengine.evaluator import Evaluator

from scene_qformer.evaluation.driving_answer import DrivingAnswer, read_answers
from tests.processes import free_port


def conversation(id, type, *turns):
    return dict(id=id, type=type, turns=list(turns))


def sample(token, conversations, predictions):
    data_sample = Det3DDataSample(metainfo=dict(sample_token=token))
    data_sample.gt_text, data_sample.pred_text = conversations, predictions
    return data_sample


def frames():
    """Three frames with 2, 0 and 3 questions; right are 1, 0 and 2 of them."""
    return [
        sample('a', [conversation('a0', 'exist', ('Is there a bus?', 'yes')),
                     conversation('a1', 'count', ('Are there cars?', 'yes'), ('How many?', '3'))], ['Yes.', 'yes']),
        sample('b', [], []),
        sample('c', [conversation('c0', 'exist', ('Is there a car?', 'no')),
                     conversation('c1', 'count', ('How many cones?', '0')),
                     conversation('c2', 'exist', ('Is there a truck?', 'no'))], ['no', '0', 'yes']),
    ]


def build(**options):
    return METRICS.build(dict(type='mmdet3d.DrivingQAMetric', **options))


def test_scores_and_dump(tmp_path):
    evaluator = Evaluator(build(dump=str(tmp_path / 'new' / 'answers.jsonl')))
    samples = frames()
    evaluator.process(samples[:1])
    evaluator.process(samples[1:])
    scores = evaluator.evaluate(len(samples))
    assert scores.pop('driving_qa/accuracy') == 3 / 5
    assert scores.pop('driving_qa/accuracy_exist') == 2 / 3
    assert scores.pop('driving_qa/accuracy_count') == 1 / 2  # the last question is asked; its answer is not `yes`
    # one-word answers: BLEU-1 and ROUGE-L are the accuracy
    assert scores.pop('driving_qa/Bleu_1') == pytest.approx(3 / 5)
    assert scores.pop('driving_qa/ROUGE_L') == pytest.approx(3 / 5)
    assert 0 < scores.pop('driving_qa/CIDEr') < 2.5
    assert sorted(scores) == ['driving_qa/Bleu_2', 'driving_qa/Bleu_3', 'driving_qa/Bleu_4']
    answers = read_answers(tmp_path / 'new' / 'answers.jsonl')
    assert [answer.id for answer in answers] == ['a0', 'a1', 'c0', 'c1', 'c2']
    assert answers[1] == DrivingAnswer('a1', 'count', 'How many?', '3', 'yes')


def test_accuracy_alone_needs_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocoevalcap', None)
    metric = build(free_text=False, prefix='qa')
    metric.process(None, [frame.to_dict() for frame in frames()])
    assert set(metric.evaluate(3)) == {'qa/accuracy', 'qa/accuracy_exist', 'qa/accuracy_count'}


def test_dump_is_written_even_if_a_score_fails(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'pycocoevalcap.bleu.bleu', None)
    metric = build(dump=str(tmp_path / 'answers.jsonl'))
    metric.process(None, [frame.to_dict() for frame in frames()])
    with pytest.raises(ModuleNotFoundError):
        metric.evaluate(3)
    assert len(read_answers(tmp_path / 'answers.jsonl')) == 5


def test_questions_without_answers_are_dumped_and_not_scored(tmp_path):
    samples = frames()
    samples[2].gt_text[2]['turns'] = [('Is there a truck?', '')]
    metric = build(free_text=False, dump=str(tmp_path / 'answers.jsonl'))
    metric.process(None, [frame.to_dict() for frame in samples])
    assert metric.evaluate(3)['driving_qa/accuracy'] == 3 / 4
    assert len(read_answers(tmp_path / 'answers.jsonl')) == 5
    for options, expected in ((dict(dump=str(tmp_path / 'answers.jsonl')), {}), (dict(), None)):
        metric = build(**options)
        metric.process(None, [sample('a', [conversation('a0', 'exist', ('Is there a bus?', ''))], ['yes']).to_dict()])
        if expected is None:
            with pytest.raises(ValueError, match='None of the 1 questions comes with an answer'):
                metric.evaluate(1)
        else:
            assert metric.evaluate(1) == expected
    assert read_answers(tmp_path / 'answers.jsonl')[0].prediction == 'yes'


def run_rank(rank, port, folder):
    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    metric = build(free_text=False, dump=f'{folder}/answers.jsonl', collect_dir=f'{folder}/collect')
    samples = frames()
    # As mmengine's sampler deals out 3 frames to 2 processes: the first comes again to make the shares equal.
    for index in ((0, 2), (1, 0))[rank]:
        metric.process(None, [samples[index].to_dict()])
    scores = metric.evaluate(len(samples))
    with open(f'{folder}/scores{rank}.json', 'w') as file:
        json.dump(scores, file)
    torch.distributed.destroy_process_group()


def test_several_processes(tmp_path):
    port = free_port()
    context = multiprocessing.get_context('fork')  # importing everything anew would take longer than the test
    ranks = [context.Process(target=run_rank, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
        assert process.exitcode == 0
    scores = [json.loads((tmp_path / f'scores{rank}.json').read_text()) for rank in range(2)]
    assert scores[0] == scores[1]
    assert scores[0]['driving_qa/accuracy'] == 3 / 5  # all questions of all frames, none twice
    assert [answer.id for answer in read_answers(tmp_path / 'answers.jsonl')] == ['a0', 'a1', 'c0', 'c1', 'c2']


@pytest.mark.parametrize(('broken', 'message'), [
    (dict(sample_token='t7', gt_text=[]), 'Sample t7 has no pred_text: expected a list, which a model with lang'),
    (dict(sample_token='t7', pred_text=[]), 'Sample t7 has no gt_text: .*it has sample_token, pred_text'),
    (dict(sample_idx=5, gt_text=[conversation('a', 'b', ('q', 'a'))], pred_text=['x', 'y']),
     'Sample 5: .*for each of the 1 conversations of gt_text, found 2 texts'),
    (dict(sample_token='t7', gt_text=[conversation('a', 'b', ('q', 'a'))], pred_text='y'), 'Sample t7: .*one text'),
])
def test_bad_samples_are_named(broken, message):
    with pytest.raises(ValueError, match=message):
        build().process(None, [broken])


def test_no_questions_at_all():
    metric = build()
    metric.process(None, [sample('b', [], []).to_dict()])
    with pytest.raises(ValueError, match='None of the 1 frames has a question'):
        metric.evaluate(1)
