"""Scores of test runs side by side, from what mmengine leaves in their work directories."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

ERRORS = ('mATE', 'mASE', 'mAOE', 'mAVE', 'mAAE')  # lower is better; 1 is the worst that the metric gives


@dataclass(frozen=True)
class DetectionScores:
    """What the official nuScenes metric says of one test run."""

    mAP: float
    NDS: float
    errors: dict[str, float]  # mean errors of true positives by name: translation, scale, orientation, ...
    class_ap: dict[str, float]  # class to AP, the mean over the four distance thresholds


def read_scores(work_dir: str | Path) -> DetectionScores:
    """Scores of the newest test run, ``work_dir/<timestamp>/<timestamp>.json``, by ``NuScenesMetric``.

    Raises:
        FileNotFoundError: no test run left its scores there.
        ValueError: they are not the nuScenes metric's.
    """
    paths = sorted(path for path in Path(work_dir).glob('*/*.json') if path.stem == path.parent.name)
    if not paths:
        raise FileNotFoundError(f'no <timestamp>/<timestamp>.json under {work_dir}: expected the work directory of a '
                                'finished test run (tools/test.py --work-dir)')
    metrics = {key.split('/')[-1]: value for key, value in json.loads(paths[-1].read_text()).items()}
    missing = [name for name in ('mAP', 'NDS') if name not in metrics]
    if missing:
        raise ValueError(f'{paths[-1]} lacks {" and ".join(missing)}: expected the scores of NuScenesMetric, found '
                         f'{", ".join(metrics) or "nothing"}')
    by_class: dict[str, list[float]] = {}
    for key, value in metrics.items():
        name, is_ap, _ = key.partition('_AP_dist_')
        if is_ap:
            by_class.setdefault(name, []).append(value)
    return DetectionScores(metrics['mAP'], metrics['NDS'], {name: metrics[name] for name in ERRORS if name in metrics},
                           {name: mean(values) for name, values in by_class.items()})


def to_json(scores: Mapping[str, DetectionScores]) -> str:
    """Model to scores as JSON."""
    return json.dumps({model: asdict(values) for model, values in scores.items()}, indent=2) + '\n'


def to_markdown(scores: Mapping[str, DetectionScores]) -> str:
    """A Markdown table: a column for each model, a row for each score."""
    def row(name: str, values: list[float | None]) -> str:
        return f'| {name} | ' + ' | '.join('-' if value is None else f'{value:.3f}' for value in values) + ' |'

    models = list(scores.values())
    classes = dict.fromkeys(name for model in models for name in model.class_ap)
    errors = dict.fromkeys(name for model in models for name in model.errors)
    lines = ['| | ' + ' | '.join(scores) + ' |', '|---|' + '---:|' * len(scores)]
    lines.append(row('**mAP**', [model.mAP for model in models]))
    lines.append(row('**NDS**', [model.NDS for model in models]))
    lines += [row(f'{name} (lower is better)', [model.errors.get(name) for model in models]) for name in errors]
    lines += [row(f'AP {name}', [model.class_ap.get(name) for model in models]) for name in classes]
    return '\n'.join(lines) + '\n'
