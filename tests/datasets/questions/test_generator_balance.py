"""Drawing in rounds, counted by hand."""
import random
from collections import Counter

from scene_qformer.datasets.questions.generator.balance import Choice, TextPool, draw, text_only_statistics


def pool(kind, least, **frames):
    made = TextPool(kind, least)
    made.frames.update(frames)
    return made


def drawn(pools, per_frame=100, seed=0):
    return draw(pools, per_frame, random.Random(seed))


def test_yes_as_often_as_no():
    choices = drawn({'Bus?': pool('exist', 2, yes=[3, 7], no=[0, 1, 2, 4, 5])})
    assert Counter(choice.answer for choice in choices) == dict(yes=2, no=2)
    assert {choice.frame for choice in choices if choice.answer == 'yes'} == {3, 7}
    assert {choice.frame for choice in choices if choice.answer == 'no'} < {0, 1, 2, 4, 5}


def test_always_answered_alike_is_never_asked():
    assert not drawn({'Bus?': pool('exist', 2, no=[0, 1, 2])})
    assert not drawn({'How many?': pool('count', 3, **{'0': [0, 1, 2], '1': [3, 4]})})  # two answers are too few


def test_rounds_of_three_answers_at_least():
    """5, 3, 2 and 1 frames: rounds of four, three and then only two answers, which is none."""
    frames = {'0': [0, 1, 2, 3, 4], '1': [5, 6, 7], '2': [8, 9], '3': [10]}
    choices = drawn({'How many?': pool('count', 3, **frames)})
    assert Counter(choice.answer for choice in choices) == {'0': 2, '1': 2, '2': 2, '3': 1}


def test_every_text_has_its_own_balance():
    """Buses are mostly there and trucks mostly not: both texts are cut, although the answers are even overall."""
    choices = drawn({
        'Bus?': pool('exist', 2, yes=[0, 1, 2], no=[3]),
        'Truck?': pool('exist', 2, yes=[3], no=[0, 1, 2]),
    })
    assert Counter((choice.text, choice.answer) for choice in choices) == {
        ('Bus?', 'yes'): 1, ('Bus?', 'no'): 1, ('Truck?', 'yes'): 1, ('Truck?', 'no'): 1}


def test_no_frame_gets_more_than_its_share_and_balance_stays():
    rng = random.Random(5)
    pools = {}
    for number in range(23):
        frames = rng.sample(range(17), 17)
        pools[f'{number}?'] = pool(('exist', 'state')[number % 2], 2, yes=frames[:11], no=frames[11:])
    choices = drawn(pools, per_frame=7)
    per_frame = Counter(choice.frame for choice in choices)
    assert max(per_frame.values()) == 7
    assert len(choices) > 0.9 * 17 * 7
    by_text = Counter((choice.text, choice.answer) for choice in choices)
    assert all(by_text[text, 'yes'] == by_text[text, 'no'] for text in pools)
    assert len({(choice.frame, choice.text) for choice in choices}) == len(choices)  # nothing twice
    for choice in choices:
        assert choice.frame in pools[choice.text].frames[choice.answer]


def test_types_take_turns():
    """Existence could fill all frames; the few of the other type come first all the same."""
    pools = {f'{number}?': pool('exist', 2, yes=[0, 1], no=[2, 3]) for number in range(50)}
    pools['Moving?'] = pool('state', 2, yes=[0, 1], no=[2, 3])
    choices = drawn(pools, per_frame=5)
    assert Counter(choice.type for choice in choices) == dict(exist=16, state=4)


def test_the_seed_decides():
    pools = {f'{number}?': pool('exist', 2, yes=[0, 1, 2], no=[3, 4, 5, 6]) for number in range(7)}
    assert drawn(pools, 3) == drawn(dict(reversed(pools.items())), 3)
    assert drawn(pools, 3) != drawn(pools, 3, seed=1)
    assert drawn(pools, 3) == sorted(drawn(pools, 3))


def test_statistics():
    """Bus: 2 of 3 are yes; truck: 1 of 2 either way. Overall 3 of 5 are yes."""
    choices = [Choice(frame, 'exist', text, answer) for frame, (text, answer) in enumerate((
        ('Bus?', 'yes'), ('Bus?', 'yes'), ('Bus?', 'no'), ('Truck?', 'no'), ('Truck?', 'yes')))]
    assert text_only_statistics(choices) == dict(
        number=5, answers=dict(no=2, yes=3), majority_accuracy=0.6, text_only_accuracy=0.6)
    assert text_only_statistics(choices[:3])['text_only_accuracy'] == 0.6667
    assert text_only_statistics([]) == dict(number=0, answers={}, majority_accuracy=0.0, text_only_accuracy=0.0)
