"""Whatever a module may say stands on the troubleshooting page, or is exempt by name."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.page import read_blocks

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'projects/scene_qformer'
PAGE = ROOT / 'docs/troubleshooting.md'
MODULES = [
    *(path for folder in ('engine', 'token_cache', 'datasets', 'datasets/transforms', 'datasets/questions')
      for path in sorted((PACKAGE / folder).glob('*.py'))),
    *(PACKAGE / f'{name}.py' for name in (
        'asking', 'camera_loss', 'data_only_pickle', 'dataset_config', 'datasets/questions/generator/frame_facts',
        'datasets/questions/generator/question_files', 'durable_file', 'experiment', 'finite_losses', 'geometry',
        'inference', 'inside_folder', 'marked_page', 'models/camera_mask', 'pipeline', 'random_batch',
        'scene_tokenizer', 'strict_json', 'token_extraction', 'training_runs'))]

# Of what the package says, the longest part without a gap; and why it is not on the page.
EXEMPT = {
    ', "questions": [': 'the format of a file',
    "Don't suggest using CPU device": 'looked for in what mmdet3d warns of',
    r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*?eta: ([\d:, a-z]+?)\s+time: ([\d.]+).*?\bloss: (\S+)':
        'looked for in what mmengine logs',
    r'Camera \S+ of sample (\S+) is masked': 'looked for in notes of earlier versions',
    'Reading the tables of': 'progress',
    'questions that the annotations decide': 'progress',
    'runs are finished already': 'progress',
    'runs in workers of _convert only': 'said to who changes that module',
    'stopped before it started': 'after Ctrl-C, in a process that nobody reads',
    '.parameter_layers() leaves out': 'said to who writes a network',
    'MuonAdamW takes no parameters later: build it anew.': 'said to who writes a training of his own',
    'a size that cannot be told': 'stands for the number of bytes, where the disk does not even tell that',
    'losses that are not finite': 'the name of a variable',
    r'(?:allocate|not enough) memory: you tried to allocate (\d+) bytes': 'looked for in what PyTorch says',
    'python tools/create_data.py --root {root} --version v1.0-trainval # or v1.0-mini, v1.0-test For a synthetic set, '
    'write that first: python tools/create_synthetic_nuscenes.py --out {root}': 'shown with the folder in its place'}


def as_shown(text: str) -> str:
    """Without line breaks."""
    return ' '.join(text.split())


def texts(source: str) -> Iterator[str]:
    """Of each text in a module, the longest part without a gap, if it is of three words or more.

    Not only those of ``raise``: a message may be put together in one function and raised or logged in another. Left
    out are docstrings, what ``--help`` tells of flags, and what is logged as mere information.
    """
    tree = ast.parse(source)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}

    def parts(node: ast.AST) -> Iterator[list[str]]:
        if node in docstrings and isinstance(node, ast.Constant) or is_information(node):
            return
        if isinstance(node, ast.JoinedStr):
            yield [part.value for part in node.values if isinstance(part, ast.Constant)]
            for part in node.values:
                if isinstance(part, ast.FormattedValue):  # texts inside its braces; not what follows a colon there
                    yield from parts(part.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield [node.value]
        else:
            for child in ast.iter_child_nodes(node):
                yield from parts(child)

    for found in parts(tree):
        longest = max(map(as_shown, found), key=len, default='')
        if longest.count(' ') >= 2:
            yield longest


def is_information(node: ast.AST) -> bool:
    """Nothing that asks for a remedy."""
    if isinstance(node, ast.keyword):
        return node.arg == 'help'
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
    return name == 'info' or name == 'print_log' and len(node.args) < 3 and not node.keywords  # its level is INFO


def missing(source: str, page: str) -> list[str]:
    """What a module may say, and the messages of a page do not show; its headings and remedies are no messages."""
    messages = as_shown(' '.join(text for shown, _ in read_blocks(page).values() for text in shown))
    return [text for text in texts(source) if text not in messages]


@pytest.mark.parametrize('module', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_it_is_on_the_page(module):
    lacking = [text for text in missing(module.read_text(), PAGE.read_text()) if text not in EXEMPT]
    assert not lacking, (
        f'{module.name} says what {PAGE.name} does not show. Provoke it in tests/faults, show it there and write the '
        "page (make faults FAULTS_ARGS='--faults-page docs/troubleshooting.md'), or say in EXEMPT why not.")


def test_exemptions_are_needed():
    lacking = {text for module in MODULES for text in missing(module.read_text(), PAGE.read_text())}
    assert lacking >= EXEMPT.keys()


SAYS = '''
"""A docstring, which is no message."""
from x import describe, logger, print_log, warn

def check(value, path):
    "Nor is this."
    if value:
        raise ValueError(f'Expected {value} to be made up, got '
                         f'{path}.')
    print_log(f'{path} was made up; {"not all of it" if value else "the made up whole"}.', level=30)
    warn(describe('made', 'a thing ad hoc'))
    logger.info(f'{path} is a good path.')
'''


@pytest.mark.parametrize(('shown', 'lacking'), [
    ('nothing', ['to be made up, got', 'was made up;', 'not all of it', 'the made up whole', 'a thing ad hoc']),
    ('Expected 3 to be made\n  up, got 5.', ['was made up;', 'not all of it', 'the made up whole', 'a thing ad hoc']),
    ('a was made up; not all of it', ['to be made up, got', 'the made up whole', 'a thing ad hoc'])])
def test_what_is_made_up_is_missed(shown, lacking):
    """Also where a heading or a remedy says it."""
    block = f'## Made up\n\n### the made up whole\n\n```\n{shown}\n```\n\n*Remedy:* a thing ad hoc\n\n'
    page = PAGE.read_text().replace('## Checkpoints\n', f'{block}## Checkpoints\n', 1)
    assert missing(SAYS, page) == lacking
