"""Two processes give the gradients of one with the joint batch, however unevenly objects and samples are spread."""
import copy

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch.nn.parallel import DistributedDataParallel

from scene_qformer.joint_batch import joint_normalizer
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
from tests.models.test_distributed import RUNTIME
from tests.models.test_scene_qformer import TINY
from tests.processes import run_processes

TOLERANCE = 1e-6
NO_GRADIENT = 'attention.key.bias'  # softmax is blind to what all keys share: what comes out is rounding
NUM_OBJECTS = (5, 0, 2, 11, 1)
SHARES = {  # of the five samples, one list a process
    'three and two': ([0, 2, 4], [1, 3]),
    'one and four': ([3], [0, 1, 2, 4]),
    'no object on one': ([0, 2, 3, 4], [1]),
    'three processes': ([4, 1], [0, 3], [2]),
}
RANGE = (-20., -20., -4., 20., 20., 4.)
DETECTOR = {
    **TINY,
    'positional_encoding': dict(type='Sine2DEncoding', embed_dims=12),
    'scene_queries': dict(
        type='ProposalQueries', num_queries=13, num_proposals=5, embed_dims=12, center_head=dict(num_classes=3),
        point_cloud_range=RANGE),
    'decoder': {**TINY['decoder'], 'ffn_drop': 0., 'refine_reference_points': True},
    'bbox_head': dict(type='SceneDetectionHead', num_classes=3, embed_dims=12, point_cloud_range=RANGE),
    # without noise, whose random numbers would depend on how the samples are spread
    'denoising': dict(type='QueryDenoising', embed_dims=12, num_groups=2, center_noise=(0., 0., 0.),
                      point_cloud_range=RANGE),
}
JOINT_ENCODER = dict(type='JointSceneEncoder', num_layers=2, embed_dims=12, attn_cfg=TINY['decoder']['self_attn_cfg'],
                     feedforward_channels=17, ffn_drop=0.)
BLIP2 = dict(type='Blip2QueryDecoder', num_layers=2, embed_dims=12, memory_dims=12, num_heads=3,
             feedforward_channels=17, attn_drop=0., drop=0.)
VARIANTS = dict(
    detector=DETECTOR,
    aux_head={**DETECTOR, 'aux_heads': dict(near=DETECTOR['bbox_head'])},
    joint_encoder={**DETECTOR, 'decoder': JOINT_ENCODER},
    blip2={**DETECTOR, 'decoder': BLIP2},
    image_centers=dict(
        type='ImageCenterPretraining', backbone=TINY['backbone'], neck=TINY['neck'],
        center_head=dict(num_classes=3, embed_dims=12), data_preprocessor=TINY['data_preprocessor']),
)
LLM = dict(model_type='llama', hidden_size=24, intermediate_size=31, num_hidden_layers=2, num_attention_heads=3,
           num_key_value_heads=1, max_position_embeddings=97, initializer_range=0.3)
ANSWERS = ('3', 'The car waits at the crossing', 'no', 'left', 'moving')


def sample(index):
    """A frame with its own rig, objects and questions, the same whoever asks for it."""
    generator = torch.Generator().manual_seed(index)
    number = NUM_OBJECTS[index]
    boxes = torch.rand(number, 9, generator=generator) * 3 + 0.5
    boxes[:, :2] = torch.rand(number, 2, generator=generator) * 30 - 15
    cam2img = torch.eye(4).repeat(2, 1, 1)
    cam2img[:, 0, 0] = cam2img[:, 1, 1] = 40 + index
    cam2img[:, 0, 2], cam2img[:, 1, 2] = 40, 24
    ahead = torch.tensor([[0., -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    lidar2cam = torch.stack((ahead, ahead @ torch.diag(torch.tensor([-1., -1, 1, 1]))))
    data_sample = Det3DDataSample(
        metainfo=dict(sample_token=f'token{index}', box_type_3d=LiDARInstance3DBoxes, cam2img=cam2img.numpy(),
                      lidar2cam=lidar2cam.numpy(), lidar2img=(cam2img @ lidar2cam).numpy()),
        gt_instances_3d=InstanceData(bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9),
                                     labels_3d=torch.arange(number) % 3))
    data_sample.gt_text = [dict(id=f'{index}{k}', type='x', turns=[('How many cars are ahead?', ANSWERS[index - k])])
                           for k in range(index % 3 + 1)]
    image = torch.randn(2, 3, 48, 80, generator=generator)
    return image, torch.randn(7, 12, generator=generator), data_sample


def batch(config, indices):
    images, queries, data_samples = zip(*(sample(index) for index in indices))
    inputs = dict(scene_queries=torch.stack(queries)) if config['type'] == 'TokenReader' else dict(
        imgs=torch.stack(images))
    return inputs, list(data_samples)


def gradients(config, shares):
    """Of all parameters, averaged over processes, each of which has its share."""
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    model.train()
    if getattr(model, 'language_model', None) is not None:
        model.language_model.double()  # its rows are padded otherwise on each process, and so rounded otherwise
    indices = shares[0]
    runs = model
    if len(shares) > 1:
        indices = shares[torch.distributed.get_rank()]
        runs = DistributedDataParallel(model, find_unused_parameters=Config.fromfile(RUNTIME).find_unused_parameters)
    losses = runs(*batch(config, indices), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    return total.item(), {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def compare(config, shares):
    loss, joint = gradients(config, [range(len(NUM_OBJECTS))])
    results = run_processes(len(shares), gradients, config, shares)
    assert sum(result[0] for result in results) / len(shares) == pytest.approx(loss, rel=1e-5)
    for _, separate in results:
        for name, expected in joint.items():
            if name.endswith(NO_GRADIENT):
                continue
            difference = (separate[name] - expected).norm() / expected.norm().clamp(min=1e-6)
            assert difference < TOLERANCE, f'{name}: {difference:.1e} of the gradient'
    assert sum(value.norm() > 0 for value in joint.values()) > len(joint) / 2  # something was compared


@pytest.mark.parametrize('shares', SHARES.values(), ids=SHARES)
def test_detector(shares):
    compare(DETECTOR, shares)


@pytest.mark.parametrize('name', ['aux_head', 'joint_encoder', 'blip2', 'image_centers'])
def test_variants(name):
    compare(VARIANTS[name], SHARES['three and two'])


def test_language_model(tokenizer_folder):
    """Answers of different lengths, other numbers of questions on each process."""
    language_model = dict(type='SceneLanguageModel', model={**LLM, 'tokenizer': tokenizer_folder}, trainable=True)
    projector = dict(type='MLPProjector', in_channels=12, hidden_channels=13)
    compare({**DETECTOR, 'language_model': language_model, 'projector': projector}, SHARES['one and four'])
    reader = dict(type='TokenReader', language_model={**language_model, 'share_scene_tokens': True},
                  projector=projector)
    compare(reader, SHARES['three and two'])


@pytest.fixture(scope='module')
def tokenizer_folder(tmp_path_factory):
    return str(save_word_tokenizer([*ANSWERS, 'How many cars are ahead?'], tmp_path_factory.mktemp('tokenizer')))


def test_a_normalizer_of_ones_own_would_be_seen():
    own = {**DETECTOR, 'bbox_head': {**DETECTOR['bbox_head'], 'sync_cls_avg_factor': False}}
    with pytest.raises(AssertionError, match='of the gradient|comparison failed'):
        compare(own, SHARES['three and two'])


def normalizers():
    return [joint_normalizer(count) for count in COUNTS[torch.distributed.get_rank()]]


COUNTS = ((0, 1, 5, 2**30), (0, 0, 2, 2**30))


def test_normalizer():
    """By hand: half of the sum, and at least half of one, lest a sum of 0 or 1 is divided by something else."""
    assert [joint_normalizer(count) for count in (0, 1, 5)] == [1, 1, 5]
    assert run_processes(2, normalizers) == [[0.5, 0.5, 3.5, 2.**30]] * 2


def test_padding_is_seen_by_nobody():
    """A sample's denoising queries end the same, however many objects another sample of the batch has."""
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    for decoder in (DETECTOR['decoder'], JOINT_ENCODER, BLIP2):
        model = MODELS.build(copy.deepcopy({**DETECTOR, 'decoder': decoder})).eval()
        model.init_weights()
        (alone, alone_objects), (both, both_objects) = (decode(model, indices) for indices in ([2], [2, 3]))
        number, most = NUM_OBJECTS[2], NUM_OBJECTS[3]
        assert alone_objects.shape[1] == 2 * number and both_objects.shape[1] == 2 * most
        for group in range(2):
            assert torch.allclose(alone[:, 0, group * number:(group + 1) * number],
                                  both[:, 0, group * most:group * most + number], atol=1e-5)


@torch.no_grad()
def decode(model, indices):
    inputs, data_samples = batch(DETECTOR, indices)
    denoising = model.denoising([sample.gt_instances_3d.bboxes_3d.gravity_center for sample in data_samples])
    decoded = model.decode_queries(inputs['imgs'], [sample.metainfo for sample in data_samples], denoising)
    return decoded.queries, denoising.object_index
