"""Tiny language models of three families, and conversations for them."""
SIZES = dict(
    llama=dict(model_type='llama', hidden_size=24, intermediate_size=31, num_hidden_layers=2, num_attention_heads=3,
               num_key_value_heads=1, max_position_embeddings=97, initializer_range=0.3),
    qwen2=dict(model_type='qwen2', hidden_size=24, intermediate_size=31, num_hidden_layers=2, num_attention_heads=3,
               num_key_value_heads=1, max_position_embeddings=97, initializer_range=0.3),
    gpt2=dict(model_type='gpt2', n_embd=24, n_layer=2, n_head=3, n_positions=97, initializer_range=0.3))
FAMILIES = tuple(SIZES)
TEXTS = ('How many cars are ahead?', 'What is the state of the truck behind left, 12.5 m?', 'moving', 'parked',
         'Is there a pedestrian?', 'yes', 'no', 'Describe the scene. The car waits at the crossing')


def conversation(*turns, id='a'):
    return dict(id=id, type='count', turns=list(turns))


# lengths differ, two frames with different numbers of questions
BATCH = [[conversation(('How many cars are ahead?', '3')),
          conversation(('Is there a truck?', 'yes'), ('Where?', 'left'))],
         [conversation(('Describe the scene.', 'The car waits at the crossing')),
          conversation(('<image> What is the state?', 'moving')),
          conversation(('Is the pedestrian behind left?', 'no'))]]
