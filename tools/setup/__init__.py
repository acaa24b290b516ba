"""The set-up behind ``make``: from a bare Python to a verified ``.venv``. Uses the standard library alone.

Run it with ``python3 -m tools.setup`` in the repository root, or by ``make setup``.
"""
