# A language model of width 4096 in a local folder: Vicuna 7B v1.5, from which OmniDrive (arXiv 2405.01533) and ORION
# (arXiv 2503.19755) start. Weights: those of https://huggingface.co/lmsys/vicuna-7b-v1.5 (LMSYS; under Llama 2's
# licence), which you download yourself; nothing is downloaded here:
#   hf download lmsys/vicuna-7b-v1.5 --local-dir checkpoints/vicuna-7b-v1.5
# Another folder, of any family and width:
#   --cfg-options model.language_model.model=checkpoints/Qwen2-7B-Instruct
language_model = dict(
    type='SceneLanguageModel',
    model='checkpoints/vicuna-7b-v1.5',
    dtype='bfloat16',  # of what is frozen; adapters are float32
    gradient_checkpointing=True,
    share_scene_tokens=True,  # eight questions read a frame's 512 tokens once; a family that cannot says so
    generation=dict(max_new_tokens=16))  # answers of NuScenes-QA are a word or a number
# Adapters of OmniDrive's and ORION's rank, but on all linear layers, whatever a family calls them: with adapters in
# the attention alone, QLoRA (Dettmers et al., arXiv 2305.14314, section 4) stayed behind full training.
lora = dict(r=16, lora_alpha=16, lora_dropout=0.05, target_modules='all-linear')
