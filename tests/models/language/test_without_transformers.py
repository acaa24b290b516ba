"""transformers and peft are an extra: everything else works without them."""
import subprocess
import sys


def run(code, *names):
    absent = f'import sys\nsys.modules.update(dict.fromkeys({names}))\n'  # None: cannot be imported, and is not found
    done = subprocess.run([sys.executable, '-c', absent + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_package_works():
    out = run("""
import torch, scene_qformer
from scene_qformer.models.language import SceneLanguageModel, splice_scene_tokens
tokens = scene_qformer.build_scene_qformer(embed_dims=16, num_queries=3, num_decoder_layers=1, llm_hidden_size=5)(
    torch.zeros(1, 2, 3, 64, 64))
spliced = splice_scene_tokens(torch.tensor([[1, -200]]), tokens, torch.nn.Embedding(7, 5))
print(tuple(spliced.inputs_embeds.shape))
try:
    SceneLanguageModel('a-folder')
except ModuleNotFoundError as error:
    print(error)
""", 'transformers', 'peft', 'tokenizers')
    assert '(1, 4, 5)' in out
    assert 'SceneLanguageModel needs transformers' in out and "pip install -e '.[llm]'" in out


def test_transformers_without_peft(tokenizer_folder):
    out = run(f"""
from scene_qformer.models.language import SceneLanguageModel
size = dict(model_type='llama', hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
SceneLanguageModel(size, {tokenizer_folder!r}, trainable=True)
print('built')
try:
    SceneLanguageModel(size, {tokenizer_folder!r}, lora=dict(r=2))
except ModuleNotFoundError as error:
    print(error)
""", 'peft')
    assert 'built' in out and 'lora=dict(...) needs peft' in out
