"""Scene Q-Former: scene tokens for driving language models, a plugin for MMDetection3D 1.x."""
