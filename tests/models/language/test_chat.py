import pytest
from small_llm import TEXTS, conversation

from scene_qformer.models.language.chat import ChatFormat, check_conversation
from scene_qformer.models.language.splice import IMAGE_TOKEN_INDEX
from scene_qformer.models.language.word_tokenizer import build_word_tokenizer

CHATML = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA2 = ("{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
          "{% elif m['role'] == 'system' %}{{ raise_exception('no system role') }}"
          "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}")
# the last answer is preceded by an empty thought, earlier ones are not
REASONING = CHATML.replace("m['role'] + '\n'", "m['role'] + '\n' + ('<think>\n' if m['role'] == 'assistant' and "
                           "loop.last else '')").replace('assistant\n', 'assistant\n<think>\n')


def tokenizer(template=None):
    built = build_word_tokenizer([*TEXTS, 'system user assistant think> <think> Question Answer [INST] [/INST] < :'])
    built.add_special_tokens(dict(additional_special_tokens=['<|im_start|>', '<|im_end|>']))
    built.chat_template = template
    return built


def read(chat, ids):
    """Text with the placeholder as ``#``."""
    pieces, text = [[]], []
    for index in ids:
        if index == IMAGE_TOKEN_INDEX:
            pieces.append([])
        else:
            pieces[-1].append(index)
    text = [chat.tokenizer.decode(piece) for piece in pieces]
    return '#'.join(text)


def learned_text(chat, text):
    return chat.tokenizer.decode([index for index, learned in zip(*text) if learned])


def test_ids_and_learned_tokens_by_hand():
    chat = ChatFormat(build_word_tokenizer(TEXTS))
    text = chat.training_text(conversation(('How many cars?', '12')), with_scene=True)
    words = ['▁How', '▁many', '▁cars', '?']
    ids = chat.tokenizer.convert_tokens_to_ids
    assert text.input_ids == [1, IMAGE_TOKEN_INDEX, *ids(words), 2, *ids(['▁', '1', '2']), 2]
    assert text.learned == [False] * 7 + [True] * 4
    assert chat.prompt(conversation(('How many cars?', 'not read')), with_scene=True) == text.input_ids[:7]


@pytest.mark.parametrize(('template', 'prompt', 'learned'), [
    (None, '<s>Question:#What is the state?Answer:', 'moving</s>'),
    (CHATML, '<|im_start|>user#What is the state?<|im_end|>assistant', 'moving<|im_end|>'),
    (LLAMA2, '<s>[INST]#What is the state? [/INST]', 'moving</s>'),
    (REASONING, '<|im_start|>user#What is the state?<|im_end|><|im_start|>assistant <think>', 'moving<|im_end|>'),
])
@pytest.mark.parametrize('question', ['What is the state?', '<image>\nWhat is the state?'])
def test_templates(template, prompt, learned, question):
    chat = ChatFormat(tokenizer(template))
    one = conversation((question, 'moving'))
    text = chat.training_text(one, with_scene=True)
    got = chat.prompt(one, with_scene=True)
    assert text.input_ids[:len(got)] == got
    assert text.learned.index(True) == len(got)
    assert learned_text(chat, text) == learned
    assert read(chat, got).replace(' ', '').replace('<|im_start|>assistant', 'assistant') == (
        prompt.replace(' ', '').replace('<|im_start|>assistant', 'assistant'))


@pytest.mark.parametrize('template', [None, CHATML, LLAMA2])
def test_all_answers_are_learned_and_earlier_turns_are_history(template):
    chat = ChatFormat(tokenizer(template))
    turns = conversation(('Is there a truck?', 'yes'), ('What is <image> the state?', 'moving'),
                         ('Describe.', 'no car'))
    text = chat.training_text(turns, with_scene=True)
    end = chat.tokenizer.decode([chat.end_token_id])
    assert learned_text(chat, text).replace(' ', '') == f'yes{end}moving{end}nocar{end}'
    prompt = chat.prompt(turns, with_scene=True)
    assert text.input_ids[:len(prompt)] == prompt
    assert 'moving' in read(chat, prompt) and 'no car' not in read(chat, prompt)
    assert prompt.count(IMAGE_TOKEN_INDEX) == 1
    assert read(chat, prompt).index('#') > read(chat, prompt).index('truck')


@pytest.mark.parametrize('question', ['How many?', '<image>\nHow many?', 'How <image> many?'])
def test_without_scene_there_is_no_placeholder(question):
    chat = ChatFormat(tokenizer())
    ids = chat.prompt(conversation((question, '3')), with_scene=False)
    assert IMAGE_TOKEN_INDEX not in ids
    assert 'image' not in read(chat, ids)
    assert ids == chat.prompt(conversation(('How many?', '3')), with_scene=False)


def test_system_prompt():
    chat = ChatFormat(tokenizer(CHATML), system_prompt='The scene')
    ids = chat.prompt(conversation(('How many?', '3')), with_scene=True)
    assert read(chat, ids).replace(' ', '').startswith('<|im_start|>systemThescene<|im_end|>')
    with pytest.raises(ValueError, match='(?s)with a system prompt: no system role.*leave system_prompt=None'):
        ChatFormat(tokenizer(LLAMA2), system_prompt='The scene')


def test_templates_of_reasoning_models_take_one_turn():
    chat = ChatFormat(tokenizer(REASONING))
    with pytest.raises(ValueError, match='otherwise once others follow it.*a conversation of its own'):
        chat.training_text(conversation(('a?', 'yes'), ('b?', 'no')), with_scene=True)


def test_a_template_that_does_not_end_answers_is_refused():
    with pytest.raises(ValueError, match='does not end an answer with a special token'):
        ChatFormat(tokenizer("{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}"))


@pytest.mark.parametrize('bad', [
    dict(turns=[]), dict(id='a'), dict(turns='ab'), dict(turns=[('a?', )]), dict(turns=[('a?', None)]), 'a?'])
def test_malformed_conversations(bad):
    with pytest.raises(ValueError, match='at least one turn of two strings, got '):
        check_conversation(bad)


def test_the_mark_in_an_answer_or_twice():
    chat = ChatFormat(tokenizer())
    with pytest.raises(ValueError, match="conversation 'a' has it in the answer"):
        chat.training_text(conversation(('a?', '<image>')), with_scene=True)
    with pytest.raises(ValueError, match="'a' has 2 marks <image>, but a frame has one sequence of scene tokens"):
        chat.training_text(conversation(('<image> a? <image>', 'b')), with_scene=True)
