"""Every recipe of the language bridge builds and learns a step; rates reach the parameters that the schedule names.

The folder of the 7B model is replaced by one with a tiny random model of the same classes.
"""
import ast
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import load_checkpoint

from scene_qformer.models.language import SceneLanguageModel
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
from scene_qformer.random_batch import random_batch

register_all_modules(init_default_scope=True)

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs' / 'scene_language'
ALL = sorted(CONFIGS.glob('*.py'))
# by what they read: the ones are trained from scratch on the synthetic set, the others start from a folder of weights
TINY = [path for path in ALL if 'tiny' in path.stem]
LARGE = [path for path in ALL if path.stem.endswith(('_nus-qa', '_nus-qa-336'))]
HEADS_FIRST = [path for path in ALL if 'heads-first' in path.stem]
QUESTIONS = (('How many cars are ahead?', '3'), ('Is there a truck behind left?', 'yes'))
FAMILIES = dict(
    llama=dict(model_type='llama', hidden_size=24, intermediate_size=31, num_hidden_layers=2, num_attention_heads=3,
               num_key_value_heads=1, max_position_embeddings=997),
    qwen2=dict(model_type='qwen2', hidden_size=40, intermediate_size=31, num_hidden_layers=2, num_attention_heads=5,
               num_key_value_heads=1, max_position_embeddings=997),
    gpt2=dict(model_type='gpt2', n_embd=21, n_layer=2, n_head=3, n_positions=997))


def named(stem):
    return CONFIGS / f'{stem}.py'


STAGE1 = named('scene-language_r50_stage1_8xb2-6e_nus-qa-336')
LORA = named('scene-language_r50_lora_8xb2-6e_nus-qa-336')
STAGE2 = named('scene-language_r50_stage2_8xb2-6e_nus-qa-336')
IMAGES = named('scene-language_tiny-images_synthetic')


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    texts = [text for turn in QUESTIONS for text in turn]
    return save_word_tokenizer(texts, tmp_path_factory.mktemp('synthetic') / 'tokenizer')


@pytest.fixture(scope='module')
def llms(tokenizer, tmp_path_factory):
    """A folder of weights and tokenizer by family."""
    folders = {}
    for family, size in FAMILIES.items():
        model = SceneLanguageModel(size, str(tokenizer))
        folders[family] = str(tmp_path_factory.mktemp(family))
        model.llm.save_pretrained(folders[family])
        model.tokenizer.save_pretrained(folders[family])
    return folders


@pytest.fixture
def read(llms, tokenizer, monkeypatch):
    """Reads a config with what is on no test machine replaced: pretrained weights, the folder of the 7B model."""
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(tokenizer.parent))

    def read_config(path, family='llama'):
        cfg = Config.fromfile(path)
        language_model = cfg.model.get('language_model', {})
        if language_model.get('model') == 'checkpoints/vicuna-7b-v1.5':
            cfg.merge_from_dict({'model.language_model.model': llms[family]})  # as --cfg-options does
        if 'backbone' in cfg.model:
            cfg.model.backbone.init_cfg = None
            if cfg.model.backbone.depth == 50:  # narrow
                cfg.merge_from_dict({'model.backbone.base_channels': 4, 'model.neck.in_channels': [64, 128]})
            if cfg.model.decoder.type != 'NoDecoder':
                cfg.merge_from_dict({'model.decoder.num_layers': 2, 'model.decoder.feedforward_channels': 64})
            if cfg.model.scene_queries.get('grid'):
                cfg.model.scene_queries.grid = (2, 3)  # images are small here
        return cfg

    return read_config


def test_a_folder_takes_the_place_of_the_embedded_model_by_one_line(read, tmp_path):
    save_word_tokenizer(['other', 'words'], tmp_path / 'tokenizer')
    other = SceneLanguageModel(dict(FAMILIES['gpt2'], tokenizer=str(tmp_path / 'tokenizer')))
    other.llm.save_pretrained(tmp_path / 'llm')
    other.tokenizer.save_pretrained(tmp_path / 'llm')
    for path in (*TINY, named('scene-language_r18_drivelm')):
        cfg = read(path)
        cfg.merge_from_dict({'model.language_model.model': str(tmp_path / 'llm')})
        model = MODELS.build(cfg.model.language_model)
        assert model.llm.config.model_type == 'gpt2'
        assert model.tokenizer.get_vocab() == other.tokenizer.get_vocab()


def asked(data_samples):
    for sample in data_samples:
        sample.gt_text = [dict(id=str(number), type='any', turns=[turn]) for number, turn in enumerate(QUESTIONS)]
    return data_samples


def inputs(model, width=64, height=48):
    if hasattr(model, 'backbone'):
        return dict(imgs=torch.randn(2, 6, 3, height, width))
    return {} if model.blind else dict(scene_queries=torch.randn(2, 5, model.projector.layers[0].in_features))


def learn_and_answer(cfg):
    """A step of training, then a prediction; returns model, losses, names of what got a gradient, and data samples."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    frame = inputs(model)
    data_samples = asked(random_batch(6, (64, 48), batch_size=2, num_objects=3)['data_samples'])
    losses = model.train()(frame, data_samples, mode='loss')
    optimizer.backward(model.parse_losses(losses)[0])
    learned = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    optimizer.step()
    with torch.no_grad():
        results = model.eval()(frame, data_samples, mode='predict')
    return model, losses, learned, results


def parts_of(names):
    """Parts of the model that parameters are of."""
    return {name.partition('.')[0] for name in names}


@pytest.mark.parametrize('path', LARGE + TINY, ids=lambda path: path.stem)
def test_every_recipe_learns_a_step_and_answers(path, read):
    cfg = read(path)
    if cfg.optim_wrapper.get('type') == 'ZeroOptimWrapper':
        cfg.optim_wrapper.type = 'OptimWrapper'  # the other one steps through DeepSpeed's engine
    model, losses, learned, results = learn_and_answer(cfg)
    assert losses['loss_text'].isfinite() and losses['loss_text'] > 0
    has_head = cfg.model.get('bbox_head') is not None
    assert ('loss_cls' in losses) == has_head
    for sample in results:
        assert [type(answer) for answer in sample.pred_text] == [str, str]
        assert ('pred_instances_3d' in sample) == has_head
    assert parts_of(learned) & {'projector', 'language_model'}
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    if not any(name.startswith('language_model.') for name in trained):
        assert path in LARGE and 'stage1' in path.stem  # nowhere else is the language model frozen
    elif path in LARGE and '-fsdp_' not in path.stem:  # which is there to train all of it
        assert all('.lora_' in name for name in trained if name.startswith('language_model.'))


def test_every_config_is_tested_here_or_is_a_detector_or_has_a_tool_of_its_own():
    others = {path.stem for path in ALL} - {path.stem for path in LARGE + TINY + HEADS_FIRST}
    assert others <= {'scene-language_r18_drivelm'}  # learn_answers_by_heart.py runs it


def rates(cfg):
    """Learning rate and weight decay of every trained parameter by name; None for one that is frozen."""
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    settings = {id(parameter): (round(group['lr'], 9), group['weight_decay']) for group in groups
                for parameter in group['params']}
    return {name: settings[id(parameter)] if parameter.requires_grad else None
            for name, parameter in model.named_parameters()}


def by_part(settings):
    """Part of the model to the set of its settings."""
    parts = {}
    for name, setting in settings.items():
        parts.setdefault(name.partition('.')[0], set()).add(setting)
    return parts


BEHIND_THE_BACKBONE = ('neck', 'positional_encoding', 'scene_queries', 'decoder', 'projector', 'bbox_head')


def test_stage_1_trains_what_is_between_backbone_and_language_model(read):
    assert by_part(rates(read(STAGE1))) == dict(
        backbone={None}, language_model={None}, **{part: {(1e-4, 0.01)} for part in BEHIND_THE_BACKBONE})


def test_lora_trains_adapters_and_projector(read):
    settings = rates(read(LORA))
    parts = by_part(settings)
    assert parts.pop('language_model') == {None, (2e-4, 0.)}
    assert parts.pop('projector') == {(1e-4, 0.01)}
    assert set.union(*parts.values()) == {None} and set(parts) == {*BEHIND_THE_BACKBONE[:4], 'backbone'}


def test_stage_2_has_three_rates(read):
    settings = rates(read(STAGE2))
    parts = by_part(settings)
    assert parts.pop('backbone') == {(1e-5, 0.01)}
    assert parts.pop('language_model') == {None, (2e-4, 0.)}
    assert parts == {part: {(1e-4, 0.01)} for part in BEHIND_THE_BACKBONE}


@pytest.mark.parametrize('family', FAMILIES)
def test_adapters_have_a_rate_of_their_own_in_every_family(family, read):
    """The parameters at 2e-4 are the adapters, one pair for every linear layer, and nothing else has that rate."""
    settings = rates(read(STAGE2, family))
    adapters = {name for name in settings if '.lora_' in name}
    assert {name for name, setting in settings.items() if setting and setting[0] == 2e-4} == adapters
    linear_layers = dict(llama=7, qwen2=7, gpt2=4)[family]  # of a block; gpt2's queries, keys and values are one
    assert len(adapters) == 2 * 2 * linear_layers  # A and B, two blocks
    assert not any('embed' in name or 'lm_head' in name or 'wte' in name for name in adapters)


def test_the_whole_language_model_can_be_trained(read, tmp_path):
    """The config of the docs; gpt2's last layer is that of its embeddings."""
    text = (ROOT / 'docs' / 'language_recipes.md').read_text()
    recipe = next(part for part in text.split('```') if part.startswith('python\n_base_')).partition('\n')[2]
    path = tmp_path / 'own.py'
    path.write_text(recipe.replace("'configs/", f"'{ROOT}/configs/"))
    cfg = read(path, 'gpt2')
    assert by_part(rates(cfg))['language_model'] == {(2e-5, 0.)}
    learned = learn_and_answer(cfg)[2]
    assert 'language_model.llm.transformer.wte.weight' in learned


def test_the_language_models_key_precedes_the_backbones(read):
    """Some families call their layers backbone, as Mamba does."""
    cfg = read(STAGE2)

    class Parts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(2, 3)
            self.language_model = torch.nn.ModuleDict(dict(backbone=torch.nn.Linear(2, 3)))

    model = Parts()
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    rate = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
    assert rate[id(model.backbone.weight)] == pytest.approx(1e-5)
    assert rate[id(model.language_model['backbone'].weight)] == pytest.approx(2e-4)


@pytest.mark.parametrize('path', [STAGE1, STAGE2], ids=['stage1', 'stage2'])
@pytest.mark.parametrize('family', ['qwen2', 'gpt2'])
def test_another_family_by_changing_one_line(family, path, read):
    """Of another width too: 40 and 21 instead of 24; the projector follows."""
    model, losses, _, results = learn_and_answer(read(path, family))
    assert model.language_model.llm.config.model_type == family
    assert model.projector.out_channels == dict(qwen2=40, gpt2=21)[family]
    assert losses['loss_text'].isfinite() and len(results[0].pred_text) == 2


def test_one_line_for_the_whole_recipe():
    """The folder is named in one place."""
    files = [path for path in (ROOT / 'configs').rglob('*.py')
             if any(isinstance(node, ast.Constant) and node.value == 'checkpoints/vicuna-7b-v1.5'
                    for node in ast.walk(ast.parse(path.read_text().replace('{{', '').replace('}}', ''))))]
    assert [path.name for path in files] == ['vicuna-7b.py']


@pytest.mark.parametrize(('path', 'num_tokens'), [
    ('r50_stage1', 512), ('r50_q64_stage1', 64), ('r50_q128_stage1', 128), ('r50_q256_stage1', 256),
    ('r50_blip2-q32_stage1', 32), ('r50_patches_stage1', 72), ('r50_patches-9x9_stage1', 36), ('r50_lora', 512)])
def test_number_of_tokens(path, num_tokens, read):
    """The patches of 48x64 pixels are 3x4 a camera; the grid is 2x3 here."""
    model = MODELS.build(read(named(f'scene-language_{path}_8xb2-6e_nus-qa-336')).model)
    with torch.no_grad():
        tokens = model.eval()(inputs(model)['imgs'], mode='tensor')
    assert tokens.shape == (2, num_tokens, 24)


def test_the_baselines_are_what_they_are_named_for():
    patches = Config.fromfile(named('scene-language_r50_patches_stage1_8xb2-6e_nus-qa-336')).model
    pooled = Config.fromfile(named('scene-language_r50_patches-9x9_stage1_8xb2-6e_nus-qa-336')).model
    ours = Config.fromfile(STAGE1).model
    assert patches.scene_queries.positional_encoding == ours.positional_encoding
    assert patches.projector == dict(type='MLPProjector', in_channels=256, hidden_channels=None)
    assert pooled.scene_queries.pop('grid') == (9, 9) and pooled == patches
    blip2 = Config.fromfile(named('scene-language_r50_blip2-q32_stage1_8xb2-6e_nus-qa-336')).model
    assert blip2.scene_queries == dict(type='SceneQueries', num_queries=32, embed_dims=768)
    assert not blip2.decoder.get('encode_reference_points')
    for model in (patches, pooled, blip2):
        assert model.bbox_head is None and model.frozen_parts == ('backbone', )
        assert model.language_model == ours.language_model and model.backbone == ours.backbone


@pytest.mark.parametrize('path', ALL, ids=lambda path: path.stem)
def test_checkpoints_to_start_from_are_results_of_other_configs(path):
    """Of the last epoch, and of the same queries."""
    cfg = Config.fromfile(path)
    if cfg.get('load_from') is None:
        return
    stem, file = Path(cfg.load_from).parts[1:]
    assert Path(cfg.load_from).parts[0] == 'work_dirs'
    source = Config.fromfile(named(stem))
    assert file == f'epoch_{source.train_cfg.max_epochs}.pth'
    for part in set(cfg.model) & {'scene_queries', 'decoder', 'neck', 'positional_encoding'}:
        assert cfg.model[part] == source.model[part]


@pytest.mark.parametrize('path', HEADS_FIRST, ids=lambda path: path.stem)
def test_stage_1_takes_all_that_heads_first_trained(path, read, tmp_path, llms):
    """The detector's weights load into stage 1 of any language model: its projector has no counterpart."""
    stage1 = named(path.stem.replace('heads-first_8xb4-24e_nus-336', 'stage1_8xb2-6e_nus-qa-336'))
    detector = MODELS.build(read(path).model)
    model = MODELS.build(read(stage1, 'qwen2').model)
    missing, unexpected = model.load_state_dict(detector.state_dict(), strict=False)
    assert not unexpected
    assert {name.partition('.')[0] for name in missing} <= {'projector', 'language_model'}
    default = Config.fromfile(ROOT / 'configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py').model
    theirs = Config.fromfile(path).model
    assert theirs.projector is None
    for part in set(default) - {'projector', 'scene_queries'}:
        assert theirs[part] == default[part]


def test_stage_1_leads_to_lora_and_stage_2_and_a_reader_of_tokens(read, tmp_path):
    """What stage 1 saves is all there: without the frozen language model, whose folder has it."""
    torch.manual_seed(1)
    saved = MODELS.build(read(STAGE1).model).state_dict()
    assert [name for name in saved if name.startswith('language_model.')] == ['language_model.llm_fingerprint']
    torch.save(dict(state_dict=saved), tmp_path / 'epoch_6.pth')
    for path in (LORA, STAGE2, named('scene-language_r50_lora-tokens_8xb2-6e_nus-qa')):
        model = MODELS.build(read(path).model)
        missing, _ = model.load_state_dict(saved, strict=False)
        assert all('.lora_' in name for name in missing)
        model = MODELS.build(read(path).model)
        load_checkpoint(model, str(tmp_path / 'epoch_6.pth'))  # as load_from does
        assert torch.equal(model.projector.layers[0].weight, saved['projector.layers.0.weight'])


@pytest.mark.parametrize('path', LARGE + [IMAGES], ids=lambda path: path.stem)
def test_questions_in_every_loader_and_no_mirror(path):
    cfg = Config.fromfile(path)
    source = 'GeneratedQuestions' if path == IMAGES else 'NuScenesQAQuestions'
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val'), (cfg.test_dataloader, 'val')):
        assert loader.dataset.type == 'DrivingQuestionsDataset'
        assert loader.dataset.questions.type == source and f'_{split}' in loader.dataset.questions.path
        assert split in loader.dataset.ann_file
        assert 'RandomMirrorScene' not in [step.type for step in loader.dataset.pipeline]
    assert 'ChooseQuestions' in [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert 'ChooseQuestions' not in [step.type for step in cfg.test_dataloader.dataset.pipeline]
    assert cfg.val_evaluator == cfg.test_evaluator == dict(type='DrivingQAMetric', free_text=False)
    if cfg.model.get('bbox_head'):
        assert cfg.train_dataloader.dataset.pipeline[-1] == dict(type='PackSceneInputs')  # with boxes


def test_the_file_names_tell_batch_and_epochs():
    for path in LARGE:
        cfg = Config.fromfile(path)
        batch, epochs = cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs
        assert f'_8xb{batch}-{epochs}e_' in path.stem
        assert cfg.auto_scale_lr.base_batch_size == 8 * batch


def test_the_tiny_models_are_one(read):
    """From images, from tokens and blind: the same language model and projector, so that they can be compared."""
    tokens = read(named('scene-language_tiny-tokens_synthetic')).model
    for path in (IMAGES, named('scene-language_tiny-blind_synthetic')):
        model = read(path).model
        assert model.language_model == tokens.language_model
        assert model.projector == tokens.projector
    assert read(IMAGES).model.bbox_head.type == 'SceneDetectionHead'


def test_tiny_rates(read):
    """AdamW's and Muon's; there are no linear layers in convolutional parts."""
    by_images = by_part(rates(read(IMAGES)))
    for part in ('backbone', 'neck'):
        assert by_images.pop(part) == {(8e-4, 0.05)}
    assert {'decoder', 'projector', 'bbox_head', 'language_model'} <= set(by_images)
    assert set.union(*by_images.values()) == {(8e-4, 0.05), (2e-3, 0.05)}
    for name in ('tokens', 'blind'):
        parts = by_part(rates(read(named(f'scene-language_tiny-{name}_synthetic'))))
        assert set(parts) == {'language_model'} | ({'projector'} if name == 'tokens' else set())
        assert set.union(*parts.values()) == {(1e-3, 0.05), (3e-3, 0.05)}


def test_the_language_loss_alone_reaches_every_part_from_images(read):
    cfg = read(IMAGES)
    cfg.model.bbox_head = cfg.model.denoising = None
    _, losses, learned, _ = learn_and_answer(cfg)
    assert set(losses) == {'loss_text'}
    assert parts_of(learned) == {'backbone', 'neck', 'scene_queries', 'decoder', 'projector', 'language_model'}


def test_the_encoder_freezes_by_one_line(read):
    cfg = read(IMAGES)
    line = next(line for line in IMAGES.read_text().splitlines() if line.strip().startswith('# frozen_parts='))
    cfg.model.frozen_parts = ast.literal_eval(line.partition('=')[2].strip().rstrip(',').replace('),', ')'))
    _, _, learned, _ = learn_and_answer(cfg)
    assert parts_of(learned) == {'projector', 'language_model', 'bbox_head', 'denoising'}
