"""``python -m purifier.cli`` is the command ``purifier``."""

import sys

from purifier.cli.main import main

sys.exit(main())
