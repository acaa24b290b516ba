"""Questions that cannot be asked: nobody to answer, no such frame, or weights that were not trained."""
import pytest
import torch
from datasets.small_nuscenes import write_small_nuscenes
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import scene_qformer  # noqa: F401  registers the models
from scene_qformer.asking import ask, check_answering_weights, find_frame, require_language_model
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
from tests.small_encoder import BASE

AREA = 'Asking'
LLAMA = dict(model_type='llama', hidden_size=24, intermediate_size=31, num_hidden_layers=1, num_attention_heads=3,
             max_position_embeddings=97)
WITH_LANGUAGE = 'Give a config with a language model, e.g. of configs/scene_language/.'


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    init_default_scope('mmdet3d')


@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    """A TokenReader of few words."""
    folder = tmp_path_factory.mktemp('words') / 'tokenizer'
    save_word_tokenizer(['How many cars are there?', '3'], folder)
    init_default_scope('mmdet3d')
    return MODELS.build(dict(
        type='TokenReader', projector=dict(type='MLPProjector', in_channels=13, hidden_channels=17),
        language_model=dict(type='SceneLanguageModel', model=dict(LLAMA, tokenizer=str(folder)))))


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """Two frames."""
    root = tmp_path_factory.mktemp('frames') / 'nuscenes'
    write_small_nuscenes(root, 'v1.0-mini', ('scene-0103', ), samples_per_scene=2)
    create_info_files(root, 'v1.0-mini')
    return DATASETS.build(dict(type='mmdet3d.NuScenesSceneDataset', data_root=str(root), test_mode=True,
                               ann_file='nuscenes_infos_val.pkl'))


@pytest.mark.fault(area=AREA, fault='a model without a language model is asked', expected='refused, by its name',
                   remedy=WITH_LANGUAGE)
def test_nobody_answers(dataset, show):
    cfg = Config.fromfile(str(BASE))
    with pytest.raises(ValueError, match='tiny_synthetic.py, a SceneQFormer, has no language_model') as caught:
        require_language_model(cfg)
    show(caught.value)
    with pytest.raises(ValueError, match='this SceneQFormer has none') as caught:
        ask(MODELS.build(cfg.model), dataset, 0, ['How many cars are there?'])
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='questions that are empty, or no texts', expected='refused',
                   remedy='Give a list of questions; of tools/ask.py, --question "..." for each.')
@pytest.mark.parametrize('questions', ['How many?', [], None, [''], ['How many?', ' '], [7], ['How many?', None]],
                         ids=repr)
def test_no_questions(reader, dataset, show, questions):
    with pytest.raises(ValueError, match='Expected a list of questions, none of them empty; got ') as caught:
        ask(reader, dataset, 0, questions)
    if questions in ('How many?', ['How many?', ' '], [7]):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a frame that the test set does not have', expected='said which it has',
                   remedy='Give an index of the test set, or a sample token of its info file.')
@pytest.mark.parametrize('index', [2, -1, 10 ** 9])
def test_no_frame(reader, dataset, show, index):
    with pytest.raises(IndexError, match=f'no frame {index}: the test set has 2 frames, 0 to 1') as caught:
        ask(reader, dataset, index, ['How many cars are there?'])
    if index == 2:
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a sample that the test set does not have', expected='said which are nearest',
                   remedy='Copy the token again. Samples of another split take the config of that split.')
@pytest.mark.parametrize('token', ['scene-0103-sample-7', '?', ''])
def test_no_sample(dataset, show, token):
    with pytest.raises(ValueError, match=r'no sample .* among the 2 frames of the test set. The ') as caught:
        find_frame(dataset, token)
    if token:
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a checkpoint of another language model, or with adapters that the config lacks',
                   expected='said which weights',
                   remedy='Give the config that it was trained with, which lies beside the checkpoint.')
@pytest.mark.parametrize('change', ['an adapter more', 'a projector of other layers', 'a projector less'])
def test_other_weights(reader, tmp_path, show, change):
    weights = dict(reader.state_dict())
    if change == 'an adapter more':
        weights['language_model.llm.lora_A'] = torch.zeros(2)
    elif change == 'a projector less':
        weights = {name: value for name, value in weights.items() if not name.startswith('projector')}
    else:
        weights['projector.layers.9.weight'] = torch.zeros(2)
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'trained.pth')
    with pytest.raises(ValueError, match='unknown to this config, 1 weights|lacks . weights of projector') as caught:
        check_answering_weights(reader, tmp_path / 'trained.pth')
    show(caught.value)
