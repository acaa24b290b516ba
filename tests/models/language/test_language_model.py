import copy
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import ConfigDict
from small_llm import BATCH, FAMILIES, SIZES, TEXTS, conversation

from scene_qformer.models.language import SceneLanguageModel
from scene_qformer.models.language.text_rows import training_rows
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer

LORA = dict(r=3, lora_alpha=6)


def build(family, tokenizer, **kwargs):
    return SceneLanguageModel(SIZES[family], tokenizer, **kwargs)


def scene(queries=5, frames=2):
    return torch.randn(frames, queries, 24)


def answers_of(model, tokens, batch=BATCH, **options):
    return model.eval().generate(tokens, batch, **(dict(max_new_tokens=7) | options))


class TestWhatMoves:
    """One step of training."""

    @staticmethod
    def moved(model):
        tokens = scene().requires_grad_()
        before = {name: parameter.detach().clone() for name, parameter in model.llm.named_parameters()}
        for _ in range(2):  # adapters start with B = 0, so A moves from the second step on
            loss = model.train().loss(tokens, BATCH)['loss_text']
            loss.backward()
            trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
            if trained:
                torch.optim.SGD(trained, lr=0.1).step()
        assert tokens.grad.abs().sum((0, 2)).min() > 0  # each scene token is read
        return {name for name, parameter in model.llm.named_parameters() if not torch.equal(before[name], parameter)}

    @pytest.mark.parametrize('checkpointing', [False, True])
    @pytest.mark.parametrize('family', FAMILIES)
    def test_frozen(self, family, checkpointing, tokenizer_folder):
        model = build(family, tokenizer_folder, gradient_checkpointing=checkpointing)
        assert self.moved(model) == set()
        assert not any(parameter.requires_grad for parameter in model.parameters())

    @pytest.mark.parametrize('family', FAMILIES)
    def test_lora(self, family, tokenizer_folder):
        model = build(family, tokenizer_folder, lora=LORA)
        adapters = {name for name, _ in model.llm.named_parameters() if '.lora_' in name}
        assert self.moved(model) == adapters
        targets = dict(gpt2='c_attn', llama='q_proj', qwen2='q_proj')
        assert any(targets[family] in name for name in adapters)

    @pytest.mark.parametrize('family', FAMILIES)
    def test_trainable(self, family, tokenizer_folder):
        model = build(family, tokenizer_folder, trainable=True)
        still = {name for name, _ in model.llm.named_parameters()} - self.moved(model)
        assert still <= {'transformer.wpe.weight'}, still


@pytest.mark.parametrize('family', FAMILIES)
class TestGenerate:

    def test_with_cached_keys_as_without(self, family, tokenizer_folder):
        model, tokens = build(family, tokenizer_folder), scene()
        lengths = []  # of what a layer reads at each step
        layer = next(module for name, module in model.llm.named_modules() if name.endswith(('layers.1', 'h.1')))
        layer.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
        cached = answers_of(model, tokens, use_cache=True)
        assert [len(frame) for frame in cached] == [2, 3]
        assert len({answer for frame in cached for answer in frame}) > 1
        assert lengths[0] > 5 and set(lengths[1:]) == {1}
        first = lengths[0]
        lengths.clear()
        assert cached == answers_of(model, tokens, use_cache=False)
        assert lengths == list(range(first, first + len(lengths))) and len(lengths) > 1
        assert answers_of(model, tokens, num_beams=2) == answers_of(model, tokens, num_beams=2, use_cache=False)

    def test_as_the_plain_forward_pass_says(self, family, tokenizer_folder):
        """Greedy, one sample at a time, by hand."""
        model, tokens = build(family, tokenizer_folder).eval(), scene()
        embed = model.llm.get_input_embeddings()
        for frame, conversations in enumerate(BATCH):
            for number, one in enumerate(conversations):
                ids = model.chat.prompt(one, True)
                place = ids.index(-200)
                embeds = torch.cat((embed(torch.tensor(ids[:place])), tokens[frame],
                                    embed(torch.tensor(ids[place + 1:]))))[None]
                new = []
                while len(new) < 7 and (not new or new[-1] != model.tokenizer.eos_token_id):
                    new.append(model.llm(inputs_embeds=embeds).logits[0, -1].argmax().item())
                    embeds = torch.cat((embeds, embed(torch.tensor(new[-1:]))[None]), dim=1)
                expected = model.tokenizer.decode(new, skip_special_tokens=True).strip()
                assert answers_of(model, tokens)[frame][number] == expected

    def test_batched_as_one_by_one(self, family, tokenizer_folder):
        model, tokens = build(family, tokenizer_folder), scene()
        single = [[answers_of(model, tokens[frame:frame + 1], [[one]])[0][0] for one in conversations]
                  for frame, conversations in enumerate(BATCH)]
        assert answers_of(model, tokens) == single
        model.questions_per_pass = 2
        assert answers_of(model, tokens) == single

    def test_blind(self, family, tokenizer_folder):
        model = build(family, tokenizer_folder)
        assert [len(frame) for frame in answers_of(model, None)] == [2, 3]
        assert torch.isfinite(model.loss(None, BATCH)['loss_text'])


class TestLoss:

    @pytest.mark.parametrize('family', FAMILIES)
    def test_as_transformers_own_loss(self, family, tokenizer_folder):
        """On one conversation, where nothing is padded or weighted."""
        model, tokens = build(family, tokenizer_folder).eval(), scene(frames=1)
        text = model.chat.training_text(BATCH[0][1], True)
        place = text.input_ids.index(-200)
        before, after = (torch.tensor(ids) for ids in (text.input_ids[:place], text.input_ids[place + 1:]))
        embed = model.llm.get_input_embeddings()
        labels = torch.tensor([-100] * (place + 5) + [
            index if learned else -100 for index, learned in zip(after.tolist(), text.learned[place + 1:])])
        expected = model.llm(inputs_embeds=torch.cat((embed(before), tokens[0], embed(after)))[None],
                             labels=labels[None]).loss
        assert torch.allclose(model.loss(tokens, [[BATCH[0][1]]])['loss_text'], expected, atol=1e-6)

    def test_mean_over_all_answers_tokens_however_they_are_passed(self, tokenizer_folder):
        model, tokens = build('llama', tokenizer_folder).eval(), scene()
        total, count = 0, 0
        for frame, conversations in enumerate(BATCH):
            for one in conversations:
                learned = sum(model.chat.training_text(one, True).learned)
                total += model.loss(tokens[frame:frame + 1], [[one]])['loss_text'] * learned
                count += learned
        for per_pass in (None, 1, 2, 5, 9):
            model.questions_per_pass = per_pass
            assert torch.allclose(model.loss(tokens, BATCH)['loss_text'], total / count, atol=1e-5)

    @pytest.mark.parametrize('kwargs', [dict(), dict(trainable=True), dict(lora=LORA)])
    def test_gradient_checkpointing_changes_nothing_but_memory(self, kwargs, tokenizer_folder):
        calls, gradients = [], []
        tokens = scene()
        for checkpointing in (False, True):
            torch.manual_seed(3)
            model = build('gpt2', tokenizer_folder, gradient_checkpointing=checkpointing, **kwargs)
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            layer = next(module for module in model.modules() if type(module).__name__ == 'GPT2Block')
            layer.register_forward_pre_hook(lambda *args: calls.append(1))
            read = tokens.clone().requires_grad_()
            model.train().loss(read, BATCH)['loss_text'].backward()
            gradients.append(read.grad)
        assert len(calls) == 1 + 2  # once, then once more in the backward pass
        assert torch.allclose(*gradients, atol=1e-6)

    def test_frozen_model_does_not_drop_out(self, tokenizer_folder):
        model = build('gpt2', tokenizer_folder, gradient_checkpointing=True).train()  # dropout of 0.1 in its config
        tokens = scene()
        assert model.loss(tokens, BATCH)['loss_text'] == model.loss(tokens, BATCH)['loss_text']
        trained = build('gpt2', tokenizer_folder, trainable=True).train()
        assert trained.loss(tokens, BATCH)['loss_text'] != trained.loss(tokens, BATCH)['loss_text']

    @pytest.mark.parametrize('kwargs', [dict(), dict(lora=LORA)])
    def test_bfloat16(self, kwargs, tokenizer_folder):
        model = build('llama', tokenizer_folder, dtype='bfloat16', **kwargs)
        tokens = scene().requires_grad_()
        loss = model.loss(tokens, BATCH)['loss_text']
        loss.backward()
        assert loss.dtype == torch.float32 and tokens.grad.dtype == torch.float32
        assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} <= {torch.float32}
        assert {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad} == {torch.bfloat16}
        assert len(answers_of(model, tokens)) == 2

    def test_too_long_conversations_are_cut_at_the_end(self, tokenizer_folder):
        """Five scene tokens, a prompt of 6 and an answer of 7 tokens, its end token included."""
        one, tokens = conversation(('Is the truck?', 'The car waits at the crossing')), scene(frames=1)
        model = build('llama', tokenizer_folder)
        text = model.chat.training_text(one, True)
        assert (text.learned.count(False), text.learned.count(True)) == (7, 7)  # <s> -200 Is the truck ? </s>

        def cut(max_length):
            return training_rows(model.chat, [[one]], tokens, max_length)[0].text

        assert cut(5 + 6 + 7) == cut(None) == text
        assert cut(5 + 6 + 7 - 3) == (text.input_ids[:-3], text.learned[:-3])
        model.max_length = 5 + 6 + 7 - 3
        four_words = [[conversation(('Is the truck?', 'The car waits at'))]]  # its end token is cut
        assert torch.equal(model.loss(tokens, [[one]])['loss_text'], model.loss(tokens, four_words)['loss_text'])
        model.max_length = 5 + 6
        for method in (model.loss, model.generate):
            with pytest.raises(ValueError, match=r"Conversation 'a' takes 12 places.*but there are 11 \(max_length"):
                method(tokens, [[one]])
        model.max_length = 5 + 6 + 1
        assert len(model.eval().generate(tokens, [[one]])[0][0].split()) <= 1


def build_again(model, tokenizer):
    """The same weights with default options."""
    other = build('llama', tokenizer).eval()
    other.load_state_dict(model.state_dict())
    return other


def test_generation_options_of_config_and_call(tokenizer_folder):
    model, tokens = build('llama', tokenizer_folder, generation=dict(max_new_tokens=3)), scene()
    short = model.eval().generate(tokens, BATCH)
    assert short == build_again(model, tokenizer_folder).generate(tokens, BATCH, max_new_tokens=3)
    assert short != model.generate(tokens, BATCH, max_new_tokens=9)  # the call precedes the config
    with pytest.raises(ValueError, match='num_return_sequences=2: one answer is returned for each question'):
        model.generate(tokens, BATCH, num_return_sequences=2, do_sample=True)
    with pytest.raises(ValueError, match='takes no max_length: it would count the scene tokens.*max_new_tokens'):
        model.generate(tokens, BATCH, max_length=20)
    unbounded = dict(max_new_tokens=None, max_length=None)
    assert model.generate(tokens, BATCH, **unbounded) == model.generate(tokens, BATCH, max_new_tokens=64)
    with pytest.raises(ValueError, match='max_new_token'):
        model.generate(tokens, BATCH, max_new_token=2)


def test_the_end_of_a_turn_ends_an_answer(tokenizer_folder, monkeypatch):
    """Beside the end token of the tokenizer: templates may have one of their own."""
    model = build('llama', tokenizer_folder).eval()
    model.chat.end_token_id = end = model.tokenizer.convert_tokens_to_ids('?')
    given = {}
    generate = model.llm.generate
    monkeypatch.setattr(model.llm, 'generate', lambda **kwargs: given.update(kwargs) or generate(**kwargs))
    answers_of(model, scene())
    assert given['eos_token_id'] == sorted({end, model.tokenizer.eos_token_id})


def test_no_more_is_generated_than_there_are_places(tokenizer_folder):
    model = build('gpt2', tokenizer_folder)
    assert len(answers_of(model, scene(queries=80), max_new_tokens=200)) == 2


class TestErrors:

    @pytest.mark.parametrize(('kwargs', 'message'), [
        (dict(model=SIZES['llama'], tokenizer=None), r'no tokenizer: give its folder in model=dict\(tokenizer='),
        (dict(trainable=True, lora=LORA), 'exclude each other'),
        (dict(lora=dict(rank=3)), "lora has no setting 'rank'"),
        (dict(lora=dict(r=3, target_modules=['nothing'])), '(?s)does not fit LlamaForCausalLM.*down_proj, gate_proj'),
        (dict(dtype='int8'), "dtype must be one of 'float32', 'bfloat16', 'float16', got 'int8'"),
        (dict(questions_per_pass=0), 'questions_per_pass must be at least 1'),
        (dict(model=dict(model_type='lama')), r"needs model_type.*got 'lama'. The nearest are llama"),
        (dict(model=dict(model_type='bert-like')), 'needs model_type'),
        (dict(model=dict(model_type='llama', hiden_size=8)), "LlamaConfig has no setting 'hiden_size'. The nearest"),
        (dict(model=dict(SIZES['llama'], vocab_size=7)), r'\d+ tokens, but the language model has embeddings for 7'),
    ])
    def test_arguments(self, kwargs, message, tokenizer_folder):
        with pytest.raises(ValueError, match=message):
            SceneLanguageModel(**dict(model=SIZES['llama'], tokenizer=tokenizer_folder) | kwargs)

    @pytest.mark.parametrize(('name', 'message'), [
        ('nobody/no-such-model', r'(?s)tokenizer of the language model.*neither a folder nor in the local Hugging Face '
                                 r'cache.*hf download nobody/no-such-model.*download=True'),
        ('./no/folder', 'There is no folder no/folder. Expected a folder with config.json'),
        ('my/llms/folder', 'There is no folder my/llms/folder. Expected a folder with config.json'),
    ])
    def test_nothing_there(self, name, message):
        with pytest.raises(FileNotFoundError, match=message):
            SceneLanguageModel(name)

    @pytest.mark.parametrize('name', ['checkpoints/no-such-model', 'here/no-such-model'])
    def test_a_path_is_no_name_to_download(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'here').mkdir()
        with pytest.raises(FileNotFoundError, match=f'There is no folder {name}.*hf download <owner>/<name> '
                                                    f'--local-dir {name}'):
            SceneLanguageModel(name)

    def test_folder_of_something_else(self, tmp_path):
        (tmp_path / 'notes.txt').touch()
        with pytest.raises(FileNotFoundError, match='no folder of a Hugging Face model.*It holds notes.txt'):
            SceneLanguageModel(str(tmp_path))

    def test_folder_without_weights(self, tokenizer_folder, llm_folders, tmp_path):
        shutil.copy(Path(llm_folders['llama']) / 'config.json', tmp_path)
        with pytest.raises(FileNotFoundError, match='weights of the language model.*holds config.json'):
            SceneLanguageModel(str(tmp_path), tokenizer_folder)

    def test_folder_without_the_head(self, tokenizer_folder, tmp_path):
        build('llama', tokenizer_folder).llm.model.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match='lacks 1 weights of LlamaForCausalLM, the first is lm_head.weight'):
            SceneLanguageModel(str(tmp_path), tokenizer_folder)

    def test_folder_that_brings_code(self, llm_folders, tmp_path):
        """It is neither run nor asked for at the terminal."""
        shutil.copytree(llm_folders['llama'], tmp_path, dirs_exist_ok=True)
        config = json.loads((tmp_path / 'config.json').read_text())
        config |= dict(model_type='own', auto_map=dict(AutoConfig='own.Config', AutoModelForCausalLM='own.Model'))
        (tmp_path / 'config.json').write_text(json.dumps(config))
        (tmp_path / 'own.py').write_text(f'open({str(tmp_path / "was_run")!r}, "w")')
        with pytest.raises(ValueError, match='(?s)cannot read the .* as those of a causal language model'):
            SceneLanguageModel(str(tmp_path))
        assert not (tmp_path / 'was_run').exists()

    @pytest.mark.parametrize(('tokens', 'message'), [
        (torch.ones(2, 5, 23), r'\(B, Q, D\) = \(2, Q, 24\) .*got \(2, 5, 23\). Set out_channels of the proj'),
        (torch.ones(3, 5, 24), r'for 2 frames.*got \(3, 5, 24\)'),
        (torch.ones(5, 24), r'got \(5, 24\)'),
    ])
    @pytest.mark.parametrize('method', ['loss', 'generate'])
    def test_scene_tokens(self, tokens, message, method, tokenizer_folder):
        with pytest.raises(ValueError, match=message):
            getattr(build('llama', tokenizer_folder), method)(tokens, BATCH)

    @pytest.mark.parametrize(('batch', 'message'), [
        ([[], []], 'None of the 2 frames has a conversation'),
        (BATCH[0], 'list of B lists of conversations, one list for each frame, got list of .*dict'),
    ])
    def test_batch_text(self, batch, message, tokenizer_folder):
        with pytest.raises(ValueError, match=message):
            build('llama', tokenizer_folder).loss(scene(), batch)


def test_frames_without_questions_among_others(tokenizer_folder):
    model, tokens = build('llama', tokenizer_folder), scene(frames=3)
    assert answers_of(model, tokens, [BATCH[0], [], BATCH[1]])[1] == []


def test_another_family_is_another_folder(llm_folders):
    """Nothing else changes, as configs give it."""
    for folder in llm_folders.values():
        model = SceneLanguageModel(**ConfigDict(model=folder, lora=dict(r=2)))
        assert model.hidden_size == 24
        assert len(answers_of(model, scene())) == 2


def test_from_a_config(tokenizer_folder):
    settings = ConfigDict(SIZES['qwen2'], tokenizer=tokenizer_folder)
    model = MODELS.build(ConfigDict(type='SceneLanguageModel', model=settings,
                                    lora=dict(r=2, target_modules=['q_proj', 'down_proj']),
                                    generation=dict(num_beams=2)))
    adapted = {name.split('.')[-4] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert adapted == {'down_proj', 'q_proj'} and not hasattr(model.llm.config, 'tokenizer')
    assert settings.tokenizer == tokenizer_folder  # the config stays as it is
    assert len(model.eval().generate(scene(), BATCH)) == 2


def test_adapters_on_layers_that_are_stored_transposed(tokenizer_folder):
    """Conv1D is not GPT-2's alone; peft would only warn, and set it right."""
    gpt = dict(model_type='openai-gpt', n_embd=24, n_layer=1, n_head=3, n_positions=97)
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*fan_in_fan_out.*')
        model = SceneLanguageModel(gpt, tokenizer_folder, lora=dict(r=2, target_modules=['c_attn']))
    assert model.llm.peft_config['default'].fan_in_fan_out


def test_the_argument_precedes_the_tokenizer_of_the_model(llm_folders, tokenizer_folder, tmp_path):
    folder = str(save_word_tokenizer([*TEXTS, 'mountain'], tmp_path))
    models = (dict(SIZES['llama'], tokenizer=tokenizer_folder), dict(SIZES['llama'], tokenizer='nowhere'))
    words = [len(SceneLanguageModel(*args).tokenizer) for args in ((models[0], ), (models[1], folder))]
    assert words[1] == words[0] + 1


def test_a_copy_is_the_same_model(tokenizer_folder):
    model, tokens = build('llama', tokenizer_folder).eval(), scene()
    assert torch.equal(copy.deepcopy(model).loss(tokens, BATCH)['loss_text'], model.loss(tokens, BATCH)['loss_text'])


def test_embedding_width_where_it_is_not_the_hidden_size(tokenizer_folder):
    """OPT projects its embeddings; scene tokens must be as wide as these."""
    opt = dict(model_type='opt', hidden_size=24, word_embed_proj_dim=12, ffn_dim=31, num_hidden_layers=1,
               num_attention_heads=3, max_position_embeddings=97)
    model = SceneLanguageModel(opt, tokenizer_folder, lora=LORA)
    assert model.hidden_size == 12
    assert torch.isfinite(model.loss(torch.randn(2, 5, 12), BATCH)['loss_text'])
    assert len(answers_of(model, torch.randn(2, 5, 12))) == 2
