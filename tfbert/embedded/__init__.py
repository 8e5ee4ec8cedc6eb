"""What ships with the package, so that its main job runs offline: a sentiment set and a model.

`sentiment/` was written for tfbert and is in the public domain (CC0, see its LICENSE).
`model/` is a KerasHub preset, a part of MiniLM (Apache License 2.0, see its LICENSE);
`scripts/train_shipped_weights.sh` makes it.
"""

from pathlib import Path

SENTIMENT_DIRECTORY = Path(__file__).parent / "sentiment"
MODEL_DIRECTORY = Path(__file__).parent / "model"
