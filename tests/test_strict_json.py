"""JSON as it is read everywhere, and nothing more."""
import json

import pytest

from scene_qformer.strict_json import parse_json


@pytest.mark.parametrize('content', [
    None, True, 7, -0.5, 1e300, 'text', 'ä\u2028', [], {}, [[], {}], {'a': {'b': [1, None]}, 'c': 'd'}], ids=repr)
def test_what_is_json(content):
    for text in (json.dumps(content), json.dumps(content, ensure_ascii=False, indent=2)):
        assert parse_json(text.encode(), 'x') == content
        assert parse_json(b'\xef\xbb\xbf' + text.encode(), 'x') == content


def test_nan_where_it_has_a_meaning():
    values = parse_json(b'[NaN, 1.5]', 'x', nan=True)
    assert values[0] != values[0] and values[1] == 1.5
    for text in (b'[Infinity]', b'[-Infinity]'):
        with pytest.raises(ValueError, match='the number -?Infinity'):
            parse_json(text, 'x', nan=True)


@pytest.mark.parametrize('content, message', [
    (b'[1, 2', r"Cannot read x as JSON: Expecting ',' delimiter: line 1 column 6 \(char 5\). It is cut off"),
    (b'{"a": 1, "b": 2, "a": 1}', "one of its objects has the key 'a' twice, beside 'b'"),
    (b'ab\xff', 'byte 2 is 0xff, which is no UTF-8'), ('[]'.encode('utf-16'), 'byte 0 is 0xf[ef], as of UTF-16'),
    (b'[' * 100_000, 'nested too deeply'), (b'7' * 5000, 'a whole number of thousands of digits')])
def test_what_is_not(content, message):
    with pytest.raises(ValueError, match=message):
        parse_json(content, 'x')
