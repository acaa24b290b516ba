import torch
from small_llm import SIZES, conversation

from scene_qformer.models.language import SceneLanguageModel

QUESTION = 'What is the state?'
ANSWERS = ('moving', 'parked', '3', 'yes', 'The car waits at the crossing')


def test_a_tiny_llama_learns_answers_that_depend_on_the_scene_tokens(tokenizer_folder):
    """One question, five scenes, five answers; blind, it can know only the question."""
    scenes = torch.randn(5, 3, 24)
    batch = [[conversation((QUESTION, answer))] for answer in ANSWERS]

    def train(tokens):
        torch.manual_seed(0)
        model = SceneLanguageModel(SIZES['llama'] | dict(initializer_range=0.1), tokenizer_folder, trainable=True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            loss = model.train().loss(tokens, batch)['loss_text']
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item(), [frame[0] for frame in model.eval().generate(tokens, batch)]

    loss, answers = train(scenes)
    assert loss < 0.05
    assert tuple(answers) == ANSWERS
    blind_loss, blind_answers = train(None)
    assert blind_loss > 0.3
    assert len(set(blind_answers)) == 1
