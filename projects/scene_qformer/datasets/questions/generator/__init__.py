"""Questions with exact answers, written from the annotations of any nuScenes root; the devkit reads what infos lack.

``frame_facts`` gathers what a frame's annotations say, ``selection`` picks objects by kind and place and knows which
of them are in doubt, one file a family asks (``exist_and_count``, ``category_and_state``, ``where``, ``compare``,
``ego``), ``balance`` draws, and ``question_files`` writes.
"""
from .families import FAMILIES, questions_about
from .question_files import GENERATION, create_question_files

__all__ = ['FAMILIES', 'GENERATION', 'create_question_files', 'questions_about']
