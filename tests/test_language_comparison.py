"""The plan of the table of answers: what is trained, from what, into what; nothing is trained here."""
import json
from pathlib import Path

import mmengine
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from scene_qformer.evaluation.answer_baselines import MostFrequentAnswer
from scene_qformer.evaluation.answer_scores import AnswerScores
from scene_qformer.evaluation.driving_answer import DrivingAnswer, write_answers
from scene_qformer.evaluation.exact_match import Accuracy
from scene_qformer.evaluation.language_table import LanguageRun
from scene_qformer.language_comparison import (
    ANSWERS,
    Budget,
    Recipes,
    asks_about_all_frames,
    learned_options,
    missing_files,
    number_options,
    plan_rows,
)
from scene_qformer.language_results import check_known, results_of

register_all_modules(init_default_scope=True)
CONFIGS = Path(__file__).parents[1] / 'configs'
SEEDS = (3, 5)


def write_data(root, asked=('a', 'b')):
    (root / 'tokenizer').mkdir(parents=True)
    (root / 'tokenizer' / 'tokenizer.json').write_text('words')
    for split in ('train', 'val'):
        mmengine.dump(dict(data_list=[dict(token='a'), dict(token='b')]), root / f'nuscenes_infos_{split}.pkl')
        (root / f'questions_{split}.json').write_text(json.dumps(dict(
            questions=[dict(sample_token=token) for token in asked])))


def read_recipes():
    return Recipes(*(Config.fromfile(CONFIGS / path) for path in (
        'scene_qformer/scene-qformer_tiny_synthetic.py', 'scene_language/scene-language_tiny-tokens_synthetic.py',
        'scene_language/scene-language_tiny-blind_synthetic.py',
        'scene_language/scene-language_tiny-images_synthetic.py')))


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(tmp_path / 'data'))
    write_data(tmp_path / 'data')
    return read_recipes()


def plan(recipes, root, seeds=SEEDS[:1], detection=3, image=0, **options):
    return plan_rows(recipes, Budget(image, detection, 7, 5), [24], 48, seeds, root, 'extract.py', **options)


def test_rows_and_what_they_are_trained_from(recipes, tmp_path):
    staged, blind, with_boxes, no_boxes = plan(recipes, tmp_path / 'runs')
    assert [(row.name, row.kind, row.num_tokens) for row in (staged, blind, with_boxes, no_boxes)] == [
        ('24 tokens, two stages', 'two stages', 24), ('blind', 'blind', 0),
        ('48 tokens, end to end, with boxes', 'end to end', 48), ('48 tokens, end to end, no boxes', 'end to end', 48)]

    run, = staged.runs
    detector, = run.after
    queries = detector.cfg.model.scene_queries
    assert (queries.num_queries, queries.num_proposals) == (24, 14)  # 140 of 240
    assert detector.cfg.train_cfg.max_epochs == detector.cfg.train_cfg.val_interval == 3
    assert detector.cfg.randomness.seed == run.cfg.randomness.seed == 3
    script, config, checkpoint, flag, tokens, *_ = run.preparation
    assert (script, flag) == ('extract.py', '--out') and config == str(detector.folder / 'config.py')
    assert checkpoint == str(detector.folder / 'epoch_3.pth')  # what a budget of 3 epochs leaves
    for loader in (run.cfg.train_dataloader, run.cfg.val_dataloader, run.cfg.test_dataloader):
        assert loader.dataset.pipeline[0] == dict(type='LoadSceneTokens', cache=tokens, config=config,
                                                  checkpoint=checkpoint)

    blinded, = blind.runs
    assert blinded.cfg.model.blind and not blinded.after and not blinded.preparation
    assert blinded.cfg.train_cfg.max_epochs == run.cfg.train_cfg.max_epochs == 7
    assert blinded.cfg.model.language_model == run.cfg.model.language_model

    seen, unseen = with_boxes.runs[0].cfg, no_boxes.runs[0].cfg
    assert seen.model.bbox_head and seen.model.denoising
    assert unseen.model.bbox_head is None and unseen.model.denoising is None
    for part in set(seen.model) - {'bbox_head', 'denoising'}:
        assert seen.model[part] == unseen.model[part]
    assert seen.train_dataloader == unseen.train_dataloader and seen.optim_wrapper == unseen.optim_wrapper
    assert seen.train_cfg == unseen.train_cfg and seen.train_cfg.max_epochs == 5
    assert seen.model.scene_queries.num_queries == 48 and seen.model.scene_queries.num_proposals == 28


def test_detectors_start_from_one_image_branch(recipes, tmp_path):
    rows = plan(recipes, tmp_path / 'runs', SEEDS, image=2, patterns=['24 *'])
    detectors = [run.after[0] for run in rows[0].runs]
    assert detectors[0].after == detectors[1].after and rows[0].runs[0].cfg.randomness.seed == 3
    branch, = detectors[0].after
    assert branch.cfg.model.type == 'ImageCenterPretraining' and branch.cfg.train_cfg.max_epochs == 2
    assert not branch.scored and not branch.after
    for part, init_weights in (('backbone', False), ('neck', False), ('scene_queries.center_head', True)):
        model = MODELS.build(branch.cfg.model)
        with torch.no_grad():
            for value in model.parameters():
                value.fill_(0.37)
        branch.folder.mkdir(parents=True, exist_ok=True)
        torch.save(dict(state_dict=model.state_dict()), branch.folder / 'epoch_2.pth')
        detector = MODELS.build(detectors[0].cfg.model)
        if init_weights:
            detector.init_weights()
        else:
            load_checkpoint(detector, detectors[0].cfg.load_from)
        assert all((value == 0.37).all() for value in detector.get_submodule(part).parameters())
        assert all(value.requires_grad == (part != 'backbone') for value in detector.get_submodule(part).parameters())
    assert plan(recipes, tmp_path / 'runs', image=3, patterns=['24 *'])[0].runs[0].folder != rows[0].runs[0].folder


def test_answers_go_where_the_run_is(recipes, tmp_path):
    rows = plan(recipes, tmp_path / 'runs')
    for row in rows:
        run, = row.runs
        evaluators = run.cfg.val_evaluator
        evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
        metric = next(each for each in evaluators if each.type == 'DrivingQAMetric')
        assert metric.dump == str(run.folder / ANSWERS)
    assert [each.type for each in rows[2].runs[0].cfg.val_evaluator] == ['NuScenesDetectionMetric', 'DrivingQAMetric']
    assert rows[3].runs[0].cfg.val_evaluator.type == 'DrivingQAMetric'


def test_a_reader_is_another_one_where_its_detector_is(recipes, tmp_path):
    first, = plan(recipes, tmp_path / 'one', patterns=['24 *'])[0].runs
    moved, = plan(recipes, tmp_path / 'two', patterns=['24 *'])[0].runs
    longer, = plan(recipes, tmp_path / 'one', detection=4, patterns=['24 *'])[0].runs
    assert moved.folder.name == first.folder.name and moved.after[0].folder.name == first.after[0].folder.name
    assert longer.after[0].folder != first.after[0].folder and longer.folder != first.folder


def test_new_questions_leave_the_detectors(recipes, tmp_path):
    before = plan(recipes, tmp_path / 'runs', patterns=['24 *'])
    (tmp_path / 'data' / 'tokenizer' / 'tokenizer.json').write_text('other words')
    after = plan(recipes, tmp_path / 'runs', patterns=['24 *'])
    assert before[0].runs[0].after[0].folder == after[0].runs[0].after[0].folder
    assert all(old.runs[0].folder != new.runs[0].folder for old, new in zip(before, after))


def test_boxes_are_scored_end_to_end_only_if_all_frames_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(tmp_path / 'data'))
    write_data(tmp_path / 'data', asked=('a', ))
    recipes = read_recipes()
    assert not asks_about_all_frames(recipes.images)
    _, row = plan(recipes, tmp_path / 'runs', patterns=['* with boxes'])
    assert row.runs[0].cfg.val_evaluator.type == 'DrivingQAMetric'


def test_learned_queries_have_no_proposals(recipes):
    queries = learned_options(recipes.images, 11)['model.scene_queries']
    assert queries['type'] == 'SceneQueries' and queries['num_queries'] == 11 and queries['embed_dims'] == 128


def test_numbers_that_cannot_be(recipes):
    with pytest.raises(ValueError, match='0 scene tokens are too few: of ProposalQueries with 240 queries'):
        number_options(recipes.detector, 0)
    recipes.detector.model.scene_queries = dict(type='PatchQueries', grid=(2, 3))
    with pytest.raises(ValueError, match='Expected scene queries with num_queries, .* PatchQueries has type, grid'):
        number_options(recipes.detector, 11)


def test_missing_files(recipes, tmp_path):
    assert missing_files(recipes) == []
    (tmp_path / 'data' / 'questions_val.json').unlink()
    assert missing_files(recipes) == [f'{tmp_path / "data" / "questions_val.json"}, by tools/create_questions.py']


def test_the_tokenizer_is_found_wherever_it_is_named(recipes, tmp_path):
    folder = tmp_path / 'data' / 'tokenizer'
    language_model = recipes.blind.model.language_model
    language_model.model.pop('tokenizer')
    language_model.tokenizer = str(folder)
    assert missing_files(recipes) == []
    (folder / 'tokenizer.json').rename(tmp_path / 'moved.json')
    folder.rmdir()
    assert missing_files(recipes) == [f'{folder}, by tools/create_word_tokenizer.py']
    language_model.update(model='some/model', tokenizer=None)  # which brings its own
    assert missing_files(recipes) == []


def test_results_are_those_of_finished_runs(recipes, tmp_path):
    rows = plan(recipes, tmp_path / 'runs', SEEDS, patterns=['24 *'])
    staged, blind = rows[:2]

    def finish(run, prediction=None, **result):
        run.folder.mkdir(parents=True)
        (run.folder / 'result.json').write_text(json.dumps(dict(threads=1, **result)))
        if prediction:
            write_answers(run.folder / ANSWERS, [DrivingAnswer('0', 'count', 'How many?', '2', prediction)])

    training = MostFrequentAnswer([dict(id='0', type='count', turns=[('How many?', '3')])])
    with pytest.raises(ValueError, match='No run of the blind model is finished'):
        results_of(rows, training)
    finish(blind.runs[1], '3', seconds=60, scores=dict(accuracy=0.))
    finish(staged.runs[1].after[0], seconds=120, scores=dict(mAP=0.25))
    finish(staged.runs[1], '2', seconds=180, preparation_seconds=30, scores=dict(accuracy=1.))
    answer_rows, runs = results_of(rows, training)
    assert [(row.kind, row.accuracy()) for row in answer_rows[2:]] == [('guess', 0.), ('blind', 0.), ('model', 1.)]
    assert [(run.row, run.num_tokens, run.seed, run.detector_map) for run in runs] == [
        ('24 tokens, two stages', 24, 5, 0.25), ('blind', 0, 5, None)]
    assert runs[0].minutes == {'detector': 2., 'tokens': 0.5, 'language model': 3.}
    assert runs[0].scores.overall.fraction == 1.


def test_runs_that_were_finished_elsewhere_join_the_table(recipes, tmp_path):
    staged, blind = plan(recipes, tmp_path / 'runs', SEEDS, patterns=['24 *'])[:2]
    run = staged.runs[1]
    run.folder.mkdir(parents=True)
    (run.folder / 'result.json').write_text(json.dumps(dict(threads=1, seconds=180, preparation_seconds=30)))
    run.after[0].folder.mkdir(parents=True)
    (run.after[0].folder / 'result.json').write_text(json.dumps(dict(threads=1, seconds=120)))
    write_answers(run.folder / ANSWERS, [DrivingAnswer('0', 'count', 'How many?', '2', '2')])
    training = MostFrequentAnswer([dict(id='0', type='count', turns=[('How many?', '3')])])

    def known(row, seed, right, count=1):
        accuracy = Accuracy(right, count)
        return LanguageRun(row.name, row.num_tokens, seed, AnswerScores(accuracy, dict(count=accuracy), {}), None, {})

    others = [known(staged, 3, 0), known(staged, 5, 0), known(blind, 3, 0)]
    answer_rows, runs = results_of([staged, blind], training, others)
    assert [(row.kind, row.accuracy()) for row in answer_rows[3:]] == [('blind', 0.), ('model', 0.5)]
    assert [(run.row, run.seed, run.scores.overall.right) for run in runs] == [
        (staged.name, 3, 0), (staged.name, 5, 1), ('blind', 3, 0)]  # what was finished here goes first
    with pytest.raises(ValueError, match="answered other questions: by type .'count': 2., the others .'count': 1."):
        results_of([staged, blind], training, [known(blind, 3, 1, count=2)])


def test_runs_of_another_comparison_are_refused():
    facts = {'training questions': '7', 'minutes': 'one thread'}
    check_known(facts, {'training questions': '7', 'minutes': 'two threads', 'end to end': '5 epochs'})
    with pytest.raises(ValueError, match="their 'training questions' is '11', here it is '7'"):
        check_known(facts, {'training questions': '11'})
