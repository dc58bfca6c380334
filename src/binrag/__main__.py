"""``python -m binrag``."""

import sys

from binrag.cli import main

sys.exit(main())
