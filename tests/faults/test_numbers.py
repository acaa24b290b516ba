"""NaN and infinity, put in everywhere: always told by name, never trained on or scored."""
import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.model import MMFullyShardedDataParallel
from mmengine.optim import OptimWrapper

from scene_qformer.datasets.transforms.finite_inputs import check_finite_inputs
from scene_qformer.datasets.transforms.packing import PackSceneInputs
from scene_qformer.engine import FiniteStepHook, LossSpikeHook, NonFiniteGradientError, finite_step_hook
from scene_qformer.evaluation import NuScenesDetectionMetric
from scene_qformer.finite_losses import NonFiniteLossError, check_finite_losses
from scene_qformer.models.heads.scene_detection_head import SceneDetectionHead
from scene_qformer.token_extraction import compute_tokens
from tests.engine.test_finite_step_hook import OneAfterTheOther, Overflowing
from tests.engine.test_loss_spike_hook import feed, noise
from tests.engine.training_with_faults import Parts, train
from tests.processes import run_processes

AREA = 'Numbers'
VALUES = {'nan': float('nan'), 'inf': float('inf'), '-inf': -float('inf')}
values = pytest.mark.parametrize('value', VALUES.values(), ids=VALUES)
LOOK = 'Look at the samples that are named, or lower the learning rate, or train without --amp; go on with --resume.'


def fault(what, expected, remedy=LOOK):
    return pytest.mark.fault(area=AREA, fault=what, expected=expected, remedy=remedy)


def finite(model):
    return all(value.isfinite().all() for value in model.state_dict().values() if value.is_floating_point())


@fault('a number in the images of a batch is not finite', 'stop before the weights change, with samples and parts')
@values
@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('frame', [0, 5, 13])
def test_inputs_in_training(tmp_path, show, value, accumulate, frame):
    model = Parts()
    with pytest.raises(NonFiniteLossError, match=f'sample {frame}') as error:
        train(tmp_path, model, [FiniteStepHook()], bad={frame: value}, accumulate=accumulate)
    assert 'The inputs held such numbers' in str(error.value) and model.backbone.weight.isfinite().all()
    if (value == VALUES['inf'], accumulate, frame) == (True, 1, 5):
        show(str(error.value))


@fault('the same, with on_bad_step=skip', 'the step is left out, weights and batch norm stay finite')
@values
@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('frame', [0, 5, 13])
def test_inputs_in_training_left_out(tmp_path, value, accumulate, frame):
    model, hook = Parts(), FiniteStepHook('skip')
    train(tmp_path, model, [hook], bad={frame: value}, accumulate=accumulate)
    assert hook.in_all == 1 and finite(model)
    assert not torch.equal(model.head.weight, Parts().head.weight)


@fault('gradients are not finite while the losses are', 'stop before the weights change, with samples and parts')
@pytest.mark.parametrize('step', [0, 3, 6])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.)], ids=['not clipped', 'clipped'])
def test_gradients(tmp_path, show, step, clip):
    model = Parts(bad_gradients=[step])
    with pytest.raises(NonFiniteGradientError, match=rf'sample {2 * step}, .*head.weight \(6\)') as error:
        train(tmp_path, model, [FiniteStepHook()], clip=clip)
    assert finite(model)
    if step == 3:
        show(str(error.value))


@fault('too many bad steps', 'stop, with how many there were')
@pytest.mark.parametrize('in_a_row', [1, 2, 3])
def test_too_many(tmp_path, show, in_a_row):
    model = Parts(bad_gradients=range(1, 7))
    with pytest.raises(NonFiniteGradientError, match=f'after {in_a_row + 1} bad steps in a row') as error:
        train(tmp_path, model, [FiniteStepHook('skip', max_in_a_row=in_a_row)])
    assert finite(model)
    if in_a_row == 3:
        show(str(error.value))


@fault('a weight of a checkpoint is not finite', 'stop in the first step, with its name',
       'The checkpoint is spoilt: start from an earlier one.')
@values
@pytest.mark.parametrize('name', ['backbone.weight', 'backbone.bias', 'norm.weight', 'norm.bias', 'head.weight',
                                  'head.bias'])
def test_weights(tmp_path, show, value, name):
    model = Parts()
    model.state_dict()[name].view(-1)[-1] = value
    with pytest.raises(NonFiniteLossError, match=f'Already before the step, {name} held') as error:
        train(tmp_path, model, [FiniteStepHook()])
    if (name, value) == ('head.bias', VALUES['inf']):
        show(str(error.value))


@fault('a loss is not finite, and no hook watches', 'stop inside the model')
@values
@pytest.mark.parametrize('place', [0, 1, 2])
def test_losses(show, value, place):
    losses = {f'loss_{index}': torch.tensor([1., value if index == place else 2.]) for index in range(3)}
    with pytest.raises(NonFiniteLossError, match=f'by this step: loss_{place}=') as error:
        check_finite_losses(losses, [])
    if (place, value) == (1, VALUES['inf']):
        show(str(error.value))


CORRECT = 'Correct it where it comes from, or leave the sample out.'


@fault('a camera matrix holds a number that is not finite', 'told with sample, camera and place', CORRECT)
@values
@pytest.mark.parametrize('field', ['cam2img', 'lidar2cam'])
@pytest.mark.parametrize('place', [(0, 0, 0), (1, 2, 3), (1, 3, 3)])
def test_matrices(show, value, field, place):
    matrices = {name: np.tile(np.eye(4), (2, 1, 1)) for name in ('cam2img', 'lidar2cam')}
    matrices[field][place] = value
    results = dict(token='aaa', img=[np.zeros((3, 5, 3), np.uint8)] * 2, cam_names=['LEFT', 'RIGHT'], **matrices)
    with pytest.raises(ValueError, match='sample aaa') as error:
        PackSceneInputs(keys=('img', ))(results)
    if (field, place, value) == ('lidar2cam', (1, 2, 3), VALUES['inf']):
        show(str(error.value))


@fault('a box holds a number that is not finite', 'told with the sample', CORRECT)
@values
@pytest.mark.parametrize('column', [0, 3, 6, 8])
def test_boxes(show, value, column):
    numbers = torch.ones(3, 9)
    numbers[1, column] = value
    boxes = LiDARInstance3DBoxes(torch.ones(3, 9), box_dim=9)
    boxes.tensor[:] = numbers
    with pytest.raises(ValueError, match=rf'gt_bboxes_3d .* of sample aaa, found .* at \(1, {column}\)') as error:
        check_finite_inputs(dict(token='aaa', gt_bboxes_3d=boxes))
    if (column, value) == (8, VALUES['inf']):
        show(str(error.value))


@fault('an image in floating point holds a number that is not finite', 'told with sample, camera and pixel', CORRECT)
@values
@pytest.mark.parametrize('camera', [0, 1])
def test_images(show, value, camera):
    images = [np.zeros((3, 5, 3), np.float32) for _ in range(2)]
    images[camera][2, 4, 1] = value
    results = dict(token='aaa', img=images, cam_names=['LEFT', 'RIGHT'])
    with pytest.raises(ValueError, match=rf'{results["cam_names"][camera]} of sample aaa, .* at \(2, 4, 1\)') as error:
        check_finite_inputs(results)
    if (camera, value) == (1, VALUES['inf']):
        show(str(error.value))


def test_masked_cameras_may_hold_anything():
    images = [np.zeros((3, 5, 3), np.float32), np.full((3, 5, 3), np.nan, np.float32)]
    matrices = np.stack([np.eye(4), np.full((4, 4), np.nan)])
    check_finite_inputs(dict(img=images, lidar2cam=matrices, camera_mask=np.array([True, False])))


@fault('cached scene queries hold a number that is not finite', 'told with the sample', CORRECT)
@values
def test_cached_tokens(show, value):
    queries = torch.zeros(7, 5)
    queries[3, 2] = value
    with pytest.raises(ValueError, match=r'cached scene queries .* of sample aaa, found .* at \(3, 2\)') as error:
        check_finite_inputs(dict(token='aaa', scene_queries=queries))
    if value == VALUES['inf']:
        show(str(error.value))


class Tokens(torch.nn.Module):
    """Gives what it is told."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def data_preprocessor(self, batch, training):
        return batch

    def forward(self, data_samples, mode):
        return self.tokens


@fault('scene tokens are not finite', 'told with the sample',
       'Look at its images and calibration, or at the checkpoint.')
@values
def test_scene_tokens(show, value):
    tokens = torch.zeros(2, 3, 5)
    tokens[1, 2, 4] = value
    samples = [type('Sample', (), dict(metainfo=dict(sample_token=name))) for name in ('aaa', 'bbb')]
    with pytest.raises(FloatingPointError, match='The scene tokens of sample bbb are not finite') as error:
        compute_tokens(Tokens(tokens), dict(data_samples=samples))
    if value == VALUES['nan']:
        show(str(error.value))


@fault('predicted boxes or scores are not finite', 'no score, but an error with the sample',
       'Look at its images and calibration, or at the checkpoint.')
@values
@pytest.mark.parametrize('field', ['bboxes_3d', 'scores_3d'])
def test_predictions(show, value, field, monkeypatch):
    metric = object.__new__(NuScenesDetectionMetric)
    monkeypatch.setattr(metric, 'check_every_sample_once', lambda indices: None)
    boxes = LiDARInstance3DBoxes(torch.ones(3, 9), box_dim=9)
    instances = ConfigDict(bboxes_3d=boxes, scores_3d=torch.ones(3))
    (boxes.tensor if field == 'bboxes_3d' else instances.scores_3d).view(-1)[2] = value
    with pytest.raises(ValueError, match=f'The predictions of sample 7 are not finite: 1 numbers of {field}') as error:
        metric.compute_metrics([dict(sample_idx=7, pred_instances_3d=instances)])
    if (field, value) == ('scores_3d', VALUES['nan']):
        show(str(error.value))


@fault('scores or codes of boxes are not finite', 'no boxes are left out in silence, but an error with the sample',
       'Look at its images and calibration, or at the checkpoint.')
@values
@pytest.mark.parametrize('field', ['scores', 'codes'])
def test_boxes_to_be(show, value, field, monkeypatch):
    head = SceneDetectionHead(num_classes=3, embed_dims=8, point_cloud_range=[-9., -9., -2., 9., 9., 2.])
    scores, codes = torch.zeros(1, 2, 5, 3), torch.zeros(1, 2, 5, 10)
    (scores if field == 'scores' else codes)[0, 1, 4, 1] = value
    monkeypatch.setattr(head, 'forward', lambda queries, points: (scores, codes))
    metas = [dict(sample_token=token, box_type_3d=LiDARInstance3DBoxes) for token in ('aaa', 'bbb')]
    with pytest.raises(FloatingPointError, match='Scores or boxes of sample bbb are not finite') as error:
        head.predict(torch.zeros(1), torch.zeros(1), metas)
    if (field, value) == ('codes', VALUES['inf']):
        show(str(error.value))


@fault('the norm of gradients overflows while none of them does', 'stop: clipping would have made all of them zero')
@pytest.mark.parametrize('size', [1e30, 3e38])
def test_norms(tmp_path, show, size):
    class Large(Parts):
        def forward(self, *args, **kwargs):
            return {name: loss * 0 + self.head.bias.sum() * size for name, loss in super().forward(
                *args, **kwargs).items() if name == 'loss_a'}

    model = Large()
    with pytest.raises(FloatingPointError, match='Training stopped, no weight was changed') as error:
        train(tmp_path, model, [FiniteStepHook()], clip=dict(max_norm=1.))
    assert finite(model)
    if size == 1e30:
        show(str(error.value))


def told_of(warned, words):
    """The warnings of what this file is about, not those that mmengine gives of its own."""
    return [text for text in warned if words in text]


NO_HARM = 'None, if it is a few of many. Else as where training stops: look at the samples, or lower the learning rate.'


@fault('bad steps, with on_bad_step=skip', 'each is told with its samples, and their number at the end', NO_HARM)
@pytest.mark.parametrize('steps', [[3], [1, 3, 5]])
def test_steps_left_out_are_told(tmp_path, warned, show, steps):
    train(tmp_path, Parts(bad_gradients=steps), [FiniteStepHook('skip')])
    said, total = told_of(warned, 'step left out'), told_of(warned, 'Steps left out')
    assert [text.split(':')[0] for text in said] == [f'Iteration {step + 1}' for step in steps]
    assert all(f'sample {2 * step}, sample' in text for step, text in zip(steps, said))
    assert len(total) == 1 and f': {len(steps)} ' in total[0]
    if steps == [3]:
        for text in (*said, *total):
            show(text)


@fault('a loss scaler leaves steps out', 'each is told, and their number at the end',
       'None at the start of a training in float16. If it goes on: train in bfloat16.')
def test_overflows_are_told(tmp_path, warned, show):
    model = Parts()
    optimizer = Overflowing(model.parameters())

    class Scaler(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            optimizer.found_inf = torch.tensor(float(runner.iter == 2))

    train(tmp_path, model, [FiniteStepHook(), Scaler()], optim_wrapper=OptimWrapper(optimizer))
    said, total = told_of(warned, 'the loss scaler left this step out'), told_of(warned, 'Steps left out')
    assert len(said) == len(total) == 1 and said[0].startswith('Iteration 3')
    for text in (*said, *total):
        show(text)


@fault('a loss scaler leaves every step out', 'stop, after more than a scale can be halved for good')
def test_overflows_without_end(tmp_path, monkeypatch, show):
    monkeypatch.setattr(finite_step_hook, '_HALVINGS', 3)  # of forty
    model = Parts(bad_gradients=range(7))
    optimizer = Overflowing(model.parameters())
    optimizer.found_inf = torch.tensor(1.)
    with pytest.raises(NonFiniteGradientError, match='left out 4 steps in a row') as error:
        train(tmp_path, model, [FiniteStepHook()], optim_wrapper=OptimWrapper(optimizer))
    show(str(error.value))


@fault('a loss is not finite, and somebody else does the steps, as DeepSpeed', 'stop, and say what may be spoilt',
       'Go on from the last checkpoint: --resume.')
def test_steps_of_somebody_else(tmp_path, show):
    class Elsewhere(OptimWrapper):
        def step(self, **kwargs):
            pass

    model = Parts(bad_loss=[3])
    with pytest.raises(NonFiniteLossError, match='so weights may have changed') as error:
        train(tmp_path, model, [FiniteStepHook('skip')],
              optim_wrapper=Elsewhere(torch.optim.SGD(model.parameters(), lr=0.01)))
    show(str(error.value))


@fault('gradients are not finite when another optimizer has made its step', 'stop, and say so',
       LOOK + ' From the last checkpoint, as weights may have changed.')
def test_one_of_several_optimizers(tmp_path, show):
    model = OneAfterTheOther(bad_gradients=[2])
    with pytest.raises(NonFiniteGradientError, match='other optimizers than this had made their steps') as error:
        train(tmp_path, model, [FiniteStepHook()], optim_wrapper=model.wrappers())
    show(str(error.value))


@fault('the step cannot be repeated, e.g. for lack of memory', 'stop, with the samples, but without the part')
def test_no_second_pass(tmp_path, monkeypatch, show):
    def fail(*_):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory.')

    monkeypatch.setattr(finite_step_hook, 'search_step', fail)
    with pytest.raises(NonFiniteLossError, match='samples sample 6, sample 7. .* could not be found') as error:
        train(tmp_path, Parts(bad_loss=[3]), [FiniteStepHook()])
    show(str(error.value))


def stop_in_pieces(work_dir):
    model = MMFullyShardedDataParallel(Parts(), device_id=torch.device('cpu'), use_orig_params=True)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    try:
        train(work_dir, model, [FiniteStepHook()], {7: VALUES['nan']}, wrapper)
    except NonFiniteLossError as error:
        return str(error)


@fault('a loss is not finite, and weights are in pieces (FSDP)', 'stop, with the samples, but without the part')
def test_pieces_of_weights(tmp_path, show):
    said, = run_processes(1, stop_in_pieces, tmp_path)
    assert 'samples sample 6, sample 7' in said and 'MMFullyShardedDataParallel' in said
    show(said)


SPIKE = 'Look at the samples that are named. If it comes again, lower the learning rate, or clip gradients.'


@fault('a loss jumps', 'said, with its parts and samples; their number at the end', SPIKE)
def test_a_spike(warned, show):
    feed(LossSpikeHook(window=40), [*noise(40), 9., *noise(20)])
    said, total = warned
    assert said.startswith('Iteration 41: loss 9') and 'samples aaa, bbb' in said and total.endswith(': 1.')
    for text in warned:
        show(text)


@fault('losses stay far above those before', 'said; later ones are compared with these',
       'Go back to a checkpoint before, and lower the learning rate.')
def test_a_lasting_rise(warned, show):
    feed(LossSpikeHook(window=40), [*noise(40), *noise(60, level=9.)])
    said, = told_of(warned, 'were all far above')
    assert said.startswith('Iteration 51')
    show(said)


@fault('settings of the hooks that watch numbers make no sense', 'refused, with what was expected',
       'Correct default_hooks in the config.')
@pytest.mark.parametrize(('hook', 'options'), [
    (FiniteStepHook, dict(on_bad_step='ignore')), (FiniteStepHook, dict(max_in_all=0)),
    (LossSpikeHook, dict(window=3))])
def test_settings(show, hook, options):
    with pytest.raises(ValueError, match=f'{hook.__name__}: ') as error:
        hook(**options)
    show(str(error.value))
