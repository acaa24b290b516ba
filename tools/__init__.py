"""Command line tools. Run them as scripts (``python tools/train.py ...``); being a package serves their tests."""
