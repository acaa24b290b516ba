"""From scene tokens to answers. Needs transformers (and peft for adapters) once a language model is built."""
from .language_model import SceneLanguageModel
from .splice import IGNORE_INDEX, IMAGE_TOKEN_INDEX, splice_scene_tokens

__all__ = ['IGNORE_INDEX', 'IMAGE_TOKEN_INDEX', 'SceneLanguageModel', 'splice_scene_tokens']
