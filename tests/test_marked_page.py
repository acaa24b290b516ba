"""A page keeps what is around the marks."""
import pytest

from scene_qformer.marked_page import write_between


def test_only_what_is_between_changes(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<b>\nold\n<e>\nafter <b> <e>\n')
    for content in ('first', 'second'):
        write_between(page, '<b>', '<e>', content)
    assert page.read_text() == 'before\n<b>\n\nsecond\n<e>\nafter <b> <e>\n'


@pytest.mark.parametrize('text', ['nothing', '<b> alone', '<e> before <b>'])
def test_missing_marks(tmp_path, text):
    page = tmp_path / 'page.md'
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page.md lacks the marks '<b>' and '<e>'"):
        write_between(page, '<b>', '<e>', 'x')
    assert page.read_text() == text
