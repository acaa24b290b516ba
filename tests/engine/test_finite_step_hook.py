"""A step on numbers that are not finite is told with names, and changes nothing."""
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict

from scene_qformer.engine import ExactResumeHook, FiniteStepHook, MuonAdamW, NonFiniteGradientError
from scene_qformer.models import NonFiniteLossError
from tests.engine.training_with_faults import Parts, train

NAN, INF = float('nan'), float('inf')


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(first, second):
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_nothing_happens_where_all_is_finite(tmp_path):
    watched, plain = Parts(), Parts()
    train(tmp_path / 'a', watched, [FiniteStepHook()], name='a')
    train(tmp_path / 'b', plain, [], name='b')
    assert_same(watched.state_dict(), plain.state_dict())
    assert not torch.equal(watched.backbone.weight, Parts().backbone.weight)


@pytest.mark.parametrize('clip', [None, dict(max_norm=1.)])
def test_gradients_are_named_with_their_samples(tmp_path, clip):
    model = Parts(bad_gradients=[2])
    with pytest.raises(NonFiniteGradientError) as error:
        train(tmp_path, model, [FiniteStepHook()], clip=clip)
    text = str(error.value)
    assert 'samples sample 4, sample 5' in text and 'no weight was changed' in text
    assert 'how many numbers of them: head.weight (6)' in text and 'output' not in text
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_losses_are_named_with_the_first_part_that_gave_such_a_number(tmp_path):
    with pytest.raises(NonFiniteLossError) as error:
        train(tmp_path, Parts(), [FiniteStepHook()], bad={7: NAN})
    text = str(error.value)
    assert 'loss_a=nan, loss_b=nan in the batch of samples sample 6, sample 7' in text
    assert 'The inputs held such numbers: inputs.' in text
    assert 'The first output that was not finite came from backbone.' in text
    assert 'backbone.weight (15), ' in text and ' and 1 more.' in text  # six parameters, five of them told


def test_weights_that_were_spoilt_before_are_told(tmp_path):
    model = Parts()
    model.head.bias.data[1] = INF
    with pytest.raises(NonFiniteLossError, match='Already before the step, head.bias held numbers that are not finite'):
        train(tmp_path, model, [FiniteStepHook()])


@pytest.mark.parametrize('fault', [dict(bad={4: NAN}), dict(bad={5: INF}), dict(gradients=[2]), dict(loss=[2])])
def test_a_step_that_is_left_out_changes_nothing(tmp_path, fault):
    """The third of seven steps is bad: weights, optimizer and batch norm are as after the six others."""
    model = Parts(fault.get('gradients', ()), fault.get('loss', ()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    before, after = [], []

    class Look(FiniteStepHook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            super().before_train_iter(runner, batch_idx, data_batch)
            if runner.iter == 2:
                before.append((state_of(model), [value.clone() for each in optimizer.state.values()
                                                 for value in each.values()]))

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            if runner.iter == 2:
                after.append((state_of(model), [value.clone() for each in optimizer.state.values()
                                                for value in each.values()]))

    hook = Look('skip')
    train(tmp_path, model, [hook], fault.get('bad'), OptimWrapper(optimizer))
    (weights, moments), (weights_after, moments_after) = before[0], after[0]
    assert_same(weights, weights_after)
    assert len(moments) == 3 * 6 and all(map(torch.equal, moments, moments_after))
    assert (hook.in_all, hook.in_a_row) == (1, 0)
    assert not torch.equal(model.head.weight, weights['head.weight'])  # the later steps were made
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_one_bad_part_spoils_the_whole_accumulated_step(tmp_path):
    """Steps of two batches: 0-1, 2-3, 4-5, 6. Batch 2 is bad, so that the second is left out."""
    hook, model = FiniteStepHook('skip'), Parts()
    train(tmp_path, model, [hook], bad={4: NAN}, accumulate=2)
    assert hook.in_all == 1 and all(value.isfinite().all() for value in model.state_dict().values())
    with pytest.raises(NonFiniteLossError, match='samples sample 4, sample 5, sample 6, sample 7'):
        train(tmp_path, Parts(), [FiniteStepHook()], bad={4: NAN}, accumulate=2, name='stop')


def test_the_second_look_draws_what_each_batch_drew(tmp_path):
    class Draws(Parts):
        def forward(self, *args, **kwargs):
            drawn.append(torch.rand(()).item())
            return super().forward(*args, **kwargs)

    drawn: list[float] = []
    with pytest.raises(NonFiniteLossError):
        train(tmp_path, Draws(), [ExactResumeHook(), FiniteStepHook()], bad={4: NAN}, accumulate=2)
    assert len(drawn) == 6 and drawn[4:] == drawn[2:4] and len(set(drawn)) == 4


@pytest.mark.parametrize(('options', 'bad', 'message'), [
    (dict(max_in_a_row=2), [2, 3, 4], '3 bad steps in a row and 3 in all .2 and 100 are allowed'),
    (dict(max_in_all=2), [1, 3, 5], '1 bad steps in a row and 3 in all .3 and 2 are allowed'),
])
def test_more_bad_steps_than_allowed_stop(tmp_path, options, bad, message):
    with pytest.raises(NonFiniteGradientError, match=message):
        train(tmp_path, Parts(bad_gradients=bad), [FiniteStepHook('skip', **options)])


def test_as_many_bad_steps_as_allowed_do_not(tmp_path):
    hook = FiniteStepHook('skip', max_in_a_row=2, max_in_all=4)
    train(tmp_path, Parts(bad_gradients=[1, 2, 4, 5]), [hook])
    assert hook.in_all == 4


def test_with_muon(tmp_path):
    model = Parts(bad_gradients=[3])
    groups = [dict(params=[model.backbone.weight, model.head.weight], muon=True),
              dict(params=[model.backbone.bias, model.head.bias, *model.norm.parameters()], muon=False)]
    hook = FiniteStepHook('skip')
    train(tmp_path, model, [hook], optim_wrapper=OptimWrapper(MuonAdamW(groups)))
    assert hook.in_all == 1 and all(value.isfinite().all() for value in model.state_dict().values())


def test_large_gradients_are_finite(tmp_path):
    """Their squares are not: 1e25 ** 2 in float32. Nothing is clipped, so nothing is lost."""
    class Large(Parts):
        def forward(self, *args, **kwargs):
            return {name: loss * 1e25 for name, loss in super().forward(*args, **kwargs).items()}

    hook = FiniteStepHook()
    train(tmp_path, Large(), [hook])
    assert hook.in_all == 0


class Overflowing(torch.optim.Optimizer):
    """As a fused optimizer under a loss scaler, which says in ``found_inf`` that it leaves this step out."""

    def __init__(self, params):
        super().__init__(params, dict(lr=0.01))
        self.steps = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        for parameter in self.param_groups[0]['params'] if not self.found_inf else ():
            parameter -= 0.01 * parameter.grad


def test_the_loss_scalers_overflows_are_no_bad_steps(tmp_path):
    model, hook = Parts(bad_gradients=[1, 2]), FiniteStepHook()
    optimizer = Overflowing(model.parameters())

    class Scaler(FiniteStepHook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            optimizer.found_inf = torch.tensor(float(runner.iter in (1, 2)))

    train(tmp_path, model, [hook, Scaler()], optim_wrapper=OptimWrapper(optimizer))
    assert (hook.in_all, hook.scaled_down, hook.scaled_in_a_row) == (0, 2, 0) and optimizer.steps == 7
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_loss_that_is_not_finite_is_counted_once_where_a_scaler_left_its_step_out(tmp_path):
    """A scaler finds NaN in the gradients and does not call the optimizer; the loss tells that it is no overflow."""
    class Scaled(OptimWrapper):
        loss_scaler = None

        def step(self, **kwargs):
            if all(parameter.grad.isfinite().all() for parameter in model.parameters()):
                super().step(**kwargs)

    model, hook = Parts(bad_gradients=[1]), FiniteStepHook('skip')
    wrapper = Scaled(torch.optim.SGD(model.parameters(), lr=0.01))
    train(tmp_path, model, [hook], bad={8: NAN}, optim_wrapper=wrapper)
    assert (hook.in_all, hook.scaled_down) == (1, 1)


def test_two_trainings_in_one_process_do_not_hear_of_each_other(tmp_path):
    """The model of a runner that is not the newest stops at its own loss, told by its own hook."""
    class Nested(FiniteStepHook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            super().before_train_iter(runner, batch_idx, data_batch)
            if runner.iter == 2:
                train(tmp_path / 'inner', Parts(), [FiniteStepHook()], name='inner')

    hook = Nested('skip')
    train(tmp_path, Parts(bad_loss=[1, 4]), [hook])
    assert hook.in_all == 2


class TwoOptimizers(Parts):
    """One of ``backbone`` and ``norm``, which steps first, and one of ``head``."""

    def train_step(self, data, optim_wrapper):
        loss, log = self.parse_losses(self(**self.data_preprocessor(data, True), mode='loss'))
        optim_wrapper['rest']._inner_count += 1  # as its own backward pass would
        optim_wrapper['head'].backward(loss)
        self.finite = all(parameter.grad.isfinite().all() for parameter in self.parameters())
        for wrapper in optim_wrapper.values():
            if wrapper.should_update():
                wrapper.step()
                wrapper.zero_grad()
        return log

    def wrappers(self, kind=OptimWrapper, **options):
        groups = dict(rest=[*self.backbone.parameters(), *self.norm.parameters()], head=[*self.head.parameters()])
        return OptimWrapperDict(**{name: kind(optimizer=torch.optim.SGD(group, lr=0.01), **options)
                                   for name, group in groups.items()})


class OneAfterTheOther(TwoOptimizers):
    """As in a contest of two networks: the second's gradients are computed when the first has stepped, and are bad."""

    def train_step(self, data, optim_wrapper):
        self.step, step = -1, self.step
        loss, log = self.parse_losses(self(**self.data_preprocessor(data, True), mode='loss'))
        optim_wrapper['rest'].update_params(loss)
        self.step = step
        loss, _ = self.parse_losses(self(**self.data_preprocessor(data, True), mode='loss'))
        optim_wrapper['head'].update_params(loss)
        return log


def test_several_optimizers(tmp_path):
    """The first does not step if the gradients of the second are ready, and bad; the parts are still found."""
    model = TwoOptimizers(bad_gradients=[2])
    with pytest.raises(NonFiniteGradientError, match=r'samples sample 4, sample 5\. .*head.weight \(6\)') as error:
        train(tmp_path, model, [FiniteStepHook()], optim_wrapper=model.wrappers())
    assert 'no weight was changed by this step' in str(error.value)


def test_what_another_optimizer_did_before_is_told(tmp_path, monkeypatch):
    model = OneAfterTheOther(bad_gradients=[3])
    with pytest.raises(NonFiniteGradientError, match='other optimizers than this had made their steps'):
        train(tmp_path / 'a', model, [FiniteStepHook()], optim_wrapper=model.wrappers(), name='a')
    told = []
    monkeypatch.setattr('scene_qformer.engine.finite_step_hook.print_log', lambda text, *_, **__: told.append(text))
    model, hook = OneAfterTheOther(bad_gradients=[3]), FiniteStepHook('skip')
    train(tmp_path / 'b', model, [hook], optim_wrapper=model.wrappers(), name='b')
    assert hook.in_all == 1 and 'other optimizers than this had made their steps' in told[0]


@pytest.mark.parametrize('gradients', ['head', 'all'])
def test_a_step_that_is_left_out_is_left_out_by_all(gradients, tmp_path):
    """Weights before and after the bad step."""
    class Looks(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            self.before = {name: value.clone() for name, value in runner.model.named_parameters()}

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            changed.append(sorted(name for name, value in runner.model.named_parameters()
                                  if not torch.equal(value, self.before[name])))

    changed: list[list[str]] = []
    fault = dict(bad_gradients=[2]) if gradients == 'head' else dict(bad_loss=[2])
    model = TwoOptimizers(**fault)
    train(tmp_path, model, [FiniteStepHook('skip'), Looks()], optim_wrapper=model.wrappers())
    assert changed[2] == [] and all(len(names) > 1 for step, names in enumerate(changed) if step != 2)


@pytest.mark.parametrize(('fault', 'bad'), [
    (dict(bad_gradients=[1, 2, 4]), None), (dict(bad_loss=[1, 2, 4]), None), (dict(), {2: NAN, 5: NAN, 9: NAN})])
def test_a_bad_step_of_several_optimizers_is_one(tmp_path, fault, bad):
    """Whether one of them sees it or both; and a good look of the one does not end the other's row."""
    model, hook = TwoOptimizers(**fault), FiniteStepHook('skip', max_in_a_row=2)
    train(tmp_path / 'a', model, [hook], bad, model.wrappers(), name='a')
    assert (hook.in_all, hook.in_a_row) == (3, 0)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    model = TwoOptimizers(**fault)
    with pytest.raises((NonFiniteGradientError, NonFiniteLossError), match='after 2 bad steps in a row and 2 in all'):
        train(tmp_path / 'b', model, [FiniteStepHook('skip', max_in_a_row=1)], bad, model.wrappers(), name='b')


def test_overflows_of_several_scalers_are_no_foreign_steps(tmp_path):
    """Theirs do not call the optimizers; the step is told as one, and a loss that is not finite as a bad one."""
    class Scaled(OptimWrapper):
        loss_scaler = None

        def step(self, **kwargs):
            if model.finite:
                super().step(**kwargs)

    model, hook = TwoOptimizers(bad_gradients=[1, 2]), FiniteStepHook('skip')
    train(tmp_path, model, [hook], {8: NAN}, model.wrappers(Scaled))
    assert (hook.in_all, hook.scaled_down, hook.scaled_in_a_row) == (1, 2, 0)


def test_several_optimizers_that_accumulate(tmp_path):
    """Updates after batches 1, 3, 5 and the last; the second is bad by its first batch, and nothing stops before."""
    model, hook = TwoOptimizers(bad_loss=[2]), FiniteStepHook('skip')
    train(tmp_path, model, [hook], optim_wrapper=model.wrappers(accumulative_counts=2))
    assert hook.in_all == 1
    model = TwoOptimizers(bad_loss=[2])
    with pytest.raises(NonFiniteLossError, match='samples sample 4, sample 5, sample 6, sample 7'):
        train(tmp_path, model, [FiniteStepHook()], optim_wrapper=model.wrappers(accumulative_counts=2), name='stop')


def test_a_second_pass_that_fails_does_not_hide_the_first(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyError

    monkeypatch.setattr('scene_qformer.engine.finite_step_hook.search_step', fail)
    with pytest.raises(NonFiniteLossError, match='samples sample 6, sample 7. .* could not be found: KeyError'):
        train(tmp_path, Parts(bad_loss=[3]), [FiniteStepHook()])


def test_overflows_without_end_stop(tmp_path, monkeypatch):
    monkeypatch.setattr('scene_qformer.engine.finite_step_hook._HALVINGS', 3)
    model = Parts(bad_gradients=range(7))
    optimizer = Overflowing(model.parameters())
    optimizer.found_inf = torch.tensor(1.)
    with pytest.raises(NonFiniteGradientError, match='left out 4 steps in a row.*samples sample 6, sample 7.*head'):
        train(tmp_path, model, [FiniteStepHook()], optim_wrapper=OptimWrapper(optimizer))


def test_a_loss_is_told_where_somebody_else_does_the_steps(tmp_path):
    """As DeepSpeed, whose optimizer nobody can look into: no step is watched, and nothing piles up."""
    class Elsewhere(OptimWrapper):
        def step(self, **kwargs):
            pass

    hook, model = FiniteStepHook('skip'), Parts(bad_loss=[3])
    wrapper = Elsewhere(torch.optim.SGD(model.parameters(), lr=0.01))
    with pytest.raises(NonFiniteLossError, match='loss_b=inf in .* samples sample 6, sample 7.*Elsewhere does its'):
        train(tmp_path, model, [hook], optim_wrapper=wrapper)
    model = Parts()
    train(tmp_path, model, [hook], optim_wrapper=Elsewhere(torch.optim.SGD(model.parameters(), lr=0.01)), name='b')
    assert not hook._batches


def test_empty_gradients_are_finite(tmp_path):
    """FSDP leaves a process parameters of which it has no number."""
    class WithEmpty(Parts):
        def __init__(self):
            super().__init__()
            self.empty = torch.nn.Parameter(torch.zeros(0))

        def forward(self, *args, **kwargs):
            losses = super().forward(*args, **kwargs)
            return dict(losses, loss_b=losses['loss_b'] + self.empty.sum())

    hook = FiniteStepHook()
    train(tmp_path, WithEmpty(), [hook])
    assert hook.in_all == 0


def test_numbers_survive_a_checkpoint():
    hook, other, checkpoint = FiniteStepHook('skip'), FiniteStepHook('skip'), {}
    hook.in_all, hook.in_a_row, hook.scaled_down = 7, 2, 5
    hook.before_save_checkpoint(None, checkpoint)
    other.after_load_checkpoint(type('Runner', (), dict(_resume=True)), checkpoint)
    assert (other.in_all, other.in_a_row, other.scaled_down) == (7, 2, 5)
    anew = FiniteStepHook()
    anew.after_load_checkpoint(type('Runner', (), dict(_resume=False)), checkpoint)
    assert anew.in_all == 0


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(on_bad_step='ignore'), "one of stop, skip, got 'ignore'"), (dict(max_in_all=0), 'must be at least 1'),
])
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FiniteStepHook(**arguments)
