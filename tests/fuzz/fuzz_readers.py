"""Coverage-guided fuzzing of what reads files from elsewhere: questions, token caches, info files.

Needs atheris (``pip install -e '.[fuzz]'``). A reader may refuse a file, by ValueError or LookupError with words;
anything else is a finding: the input is written beside the corpus, and belongs into ``tests/faults``. ::

    python tests/fuzz/fuzz_readers.py questions --seconds 60     # or token_cache, info_file
    python tests/fuzz/fuzz_readers.py --replay FILE questions    # what one input does
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = ('DriveLMQuestions', 'NuScenesQAQuestions', 'LLaVAConversations', 'GeneratedQuestions')
SHARD = 'val-00000.safetensors'


def questions(folder: Path) -> Callable[[bytes], None]:
    """The first byte chooses the format."""
    from mmdet3d.registry import TASK_UTILS

    import scene_qformer.datasets.questions  # noqa: F401
    path = folder / 'questions.json'
    sources = [TASK_UTILS.build(dict(type=kind, path=str(path))) for kind in KINDS]

    def read(content: bytes) -> None:
        path.write_bytes(content[1:])
        for question in sources[content[0] % len(sources)].load() if content else ():
            ''.join((question.id, question.sample_token, *question.turns[0])).encode()
    return read


def token_cache(folder: Path) -> Callable[[bytes], None]:
    """An index and, behind a zero byte, a shard."""
    from scene_qformer.token_cache import TokenCache

    def read(content: bytes) -> None:
        index, _, shard = content.partition(b'\0')
        (folder / 'index.json').write_bytes(index)
        (folder / SHARD).write_bytes(shard)
        cache = TokenCache(folder, verify=False)
        for token in cache:
            assert tuple(cache[token].shape) == cache.shape
    return read


def info_file(folder: Path) -> Callable[[bytes], None]:
    """A pickle, or JSON if it begins like that."""
    from scene_qformer.datasets.info_file import check_cameras, check_paths, load_info_file

    def read(content: bytes) -> None:
        path = folder / ('infos.json' if content[:1] in b'{[' else 'infos.pkl')
        path.write_bytes(content)
        for info in load_info_file(path)['data_list']:
            check_cameras(info, ('CAM_FRONT', ), path)
            check_paths(info, str(folder), path)
    return read


TARGETS = {'questions': questions, 'token_cache': token_cache, 'info_file': info_file}


def write_seeds(target: str, corpus: Path) -> None:
    """Small whole files of every kind, from which the fuzzer starts."""
    import json
    import pickle
    import struct

    import numpy as np
    corpus.mkdir(parents=True, exist_ok=True)
    if target == 'questions':
        sys.path.insert(0, str(ROOT / 'tests'))
        from faults.good_questions import GOOD
        seeds = [bytes([number]) + json.dumps(GOOD[kind]).encode() for number, kind in enumerate(KINDS)]
    elif target == 'token_cache':
        header = json.dumps(dict(a=dict(dtype='F32', shape=[3, 5], data_offsets=[0, 60]))).encode()
        index = dict(format=1, space='queries', dtype='float32', shape=[3, 5], config=dict(path='a.py', settings={}),
                     checkpoint=dict(path='a.pth', sha256='a' * 64, weights_sha256='b' * 64),
                     data=dict(val=dict(info_file='infos.pkl', sha256='c' * 64, frames=1)),
                     shards={SHARD: dict(sha256='d' * 64, frames=1)}, samples=dict(a=SHARD))
        seeds = [json.dumps(index).encode() + b'\0' + struct.pack('<Q', len(header)) + header + bytes(60)]
    else:
        infos = dict(metainfo=dict(version='v1.0-mini'), data_list=[dict(
            token='a', images=dict(CAM_FRONT=dict(img_path='x.jpg', cam2img=[[1.0]], lidar2cam=[[1.0]])))])
        arrays = dict(infos, arrays=[np.eye(2), np.array(['a', None]), np.float32(1), {1}, b'x', 1j])
        seeds = [json.dumps(infos).encode(), *(pickle.dumps(arrays, protocol=protocol) for protocol in range(6))]
    for number, seed in enumerate(seeds):
        (corpus / f'seed_{number}').write_bytes(seed)


def guarded(read: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A refusal is no finding if it has words."""

    def once(content: bytes) -> None:
        try:
            read(content)
        except (ValueError, LookupError) as error:
            assert len(str(error)) > 20, f'a refusal without words: {error!r}'
            assert type(error) in (ValueError, LookupError), f'from the inside: {error!r}'
    return once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('target', choices=TARGETS)
    parser.add_argument('--seconds', type=int, default=60, help='how long (default: 60)')
    parser.add_argument('--corpus', type=Path, help='default: work_dirs/fuzz/TARGET')
    parser.add_argument('--replay', type=Path, metavar='FILE', help='read this one input instead')
    args = parser.parse_args()
    corpus = args.corpus or ROOT / 'work_dirs' / 'fuzz' / args.target
    with tempfile.TemporaryDirectory() as folder:
        if args.replay:
            guarded(TARGETS[args.target](Path(folder)))(args.replay.read_bytes())
            return
        import atheris
        with atheris.instrument_imports(include=['scene_qformer']):
            read = TARGETS[args.target](Path(folder))
        write_seeds(args.target, corpus)
        atheris.Setup([sys.argv[0], str(corpus), f'-max_total_time={args.seconds}', '-rss_limit_mb=6000', '-timeout=20',
                       f'-artifact_prefix={corpus.parent}/finding_{args.target}_', '-print_final_stats=1'],
                      guarded(read))
        atheris.Fuzz()


if __name__ == '__main__':
    main()
