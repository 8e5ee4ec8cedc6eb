#!/usr/bin/env python3
"""Cloud TPUs by gcloud: `python scripts/cloud_tpu.py --help`; docs/cloud_tpu.md tells how.

Needs Python 3.11 or later and gcloud, nothing else: no TensorFlow, no installed tfbert.
"""

import sys
from pathlib import Path

# This checkout is what goes to the TPU, whatever else is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tfbert.cloud.commands import main

sys.exit(main(sys.argv[1:]))
