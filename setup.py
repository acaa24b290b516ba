"""Packaging: ``projects/scene_qformer`` is installed as the top-level package ``scene_qformer``.

There are no requirements on purpose: ``pip install -e .`` inside a working mmdet3d environment installs this package
alone and never touches the mmcv or torch that are there; without mmdet3d 1.4 or PyTorch 2.4 the package says so when it
is imported. The pins of a complete environment are in ``requirements/``;
``make setup`` makes one.
"""
from setuptools import find_packages, setup

# SceneLanguageModel; peft for its lora=dict(...), sentencepiece and protobuf for folders with a tokenizer.model alone
# (Llama 2, Vicuna). The versions tried are in requirements/runtime.txt.
LLM = ['transformers>=4.57,<5', 'peft>=0.18', 'sentencepiece>=0.1.99', 'protobuf']
# Quantisation after training, and its runtime.
INT8 = ['onnx>=1.16', 'onnxruntime>=1.20']

setup(
    name='scene-qformer',
    version='0.1.0',
    description='Scene tokens for driving language models: a Q-Former plugin for MMDetection3D 1.x',
    license='Apache-2.0',
    python_requires='>=3.10,<3.13',
    package_dir={'': 'projects'},
    packages=find_packages('projects', include=['scene_qformer', 'scene_qformer.*']),
    install_requires=[],
    extras_require={
        # What the demo and the tools use beyond an mmdet3d environment.
        'tools': ['safetensors>=0.4', 'threadpoolctl', 'tqdm'],
        # TimmBackbone. Brings torchvision, and with it maybe another torch: `pip install --no-deps timm` does not.
        'timm': ['timm>=1.0'],
        'llm': LLM,
        # optimize=dict(precision='int8').
        'int8': INT8,
        # BLEU, ROUGE-L and CIDEr of DrivingQAMetric; without it, free_text=False.
        'text-scores': ['pycocoevalcap>=1.2'],
        # make fuzz.
        'fuzz': ['atheris>=2.3; sys_platform == "linux"'],
        'test': ['pytest>=7', 'pytest-timeout', 'pytest-xdist', 'hypothesis', *LLM, *INT8, 'pycocoevalcap',
                 'triton>=3.3; sys_platform == "linux"'],
    },
)
