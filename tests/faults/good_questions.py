"""One good file of each format of questions, to be spoilt."""
CAMERAS = ('CAM_FRONT', 'CAM_BACK')
GOOD = {
    'DriveLMQuestions': {'scene-a': dict(key_frames={'t0': dict(
        QA=dict(perception=[dict(Q='What is there?', A='A car.')], prediction=[], planning=[], behavior=[]),
        image_paths={name: f'../nuscenes/samples/{name}/t0.jpg' for name in CAMERAS})})},
    'NuScenesQAQuestions': dict(questions=[dict(
        sample_token='t0', question='Are there cars?', answer='yes', template_type='exist', num_hop=0)]),
    'LLaVAConversations': [dict(id='a', sample_token='t0', conversations=[
        {'from': 'human', 'value': 'What is there?'}, {'from': 'gpt', 'value': 'A bus.'}])],
    'GeneratedQuestions': dict(metainfo=dict(generation=1), questions=[dict(
        id='a', sample_token='t0', scene='scene-0061', type='count', question='How many cars?', answer='2')]),
}
