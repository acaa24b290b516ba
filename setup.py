"""Packaging: ``projects/scene_qformer`` is installed as the top-level package ``scene_qformer``."""
from setuptools import find_packages, setup

setup(
    name='scene-qformer',
    version='0.1.0',
    description='Scene tokens for driving language models: a Q-Former plugin for MMDetection3D 1.x',
    license='Apache-2.0',
    python_requires='>=3.10,<3.13',
    package_dir={'': 'projects'},
    packages=find_packages('projects', include=['scene_qformer', 'scene_qformer.*']),
)
