"""`python -m diffgames`: the command line."""

import sys

from diffgames.cli import main

sys.exit(main())
