"""`python -m tfbert`, the same as `tfbert`."""

import sys

from tfbert.cli import main

sys.exit(main())
