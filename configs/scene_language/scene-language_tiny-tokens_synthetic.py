# The embedded language model answers from cached scene tokens: projector and language model learn, in minutes on a CPU.
_base_ = [
    '../_base_/models/tiny-language-model.py',
    '../_base_/datasets/synthetic-nus_questions-tokens.py',
    '../_base_/schedules/muon_tiny-language.py',
    '../_base_/default_runtime.py',
]
model = dict(type='TokenReader', projector={{_base_.projector}}, language_model={{_base_.language_model}})
