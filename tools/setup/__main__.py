"""Entry point. Keeps to syntax that any Python reads, so that an old one gets a message instead of a syntax error."""
import sys

if sys.version_info < (3, 8):
    sys.stderr.write(
        'The set-up was started with Python %d.%d; it needs 3.8 or newer to run and looks for 3.10-3.12 to work with.\n'
        'What to do: install Python 3.11 (see CONTRIBUTING.md), or name one: make setup PYTHON=/path/to/python3.11\n'
        % sys.version_info[:2])
    sys.exit(1)

from tools.setup.main import main

sys.exit(main())
