"""Questions about driving scenes. A *source* reads one file format; importing this registers the sources.

A source is built from ``dict(type=..., path=...)`` and has ``load() -> list[DrivingQuestion]``.
"""
from .drivelm import DriveLMQuestions
from .driving_question import DrivingQuestion
from .generated import GeneratedQuestions
from .llava import LLaVAConversations
from .nuscenes_qa import NuScenesQAQuestions
from .question_source import QuestionSource

__all__ = [
    'DriveLMQuestions', 'DrivingQuestion', 'GeneratedQuestions', 'LLaVAConversations', 'NuScenesQAQuestions',
    'QuestionSource'
]
