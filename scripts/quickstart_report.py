"""The end of the quick start: the classifier against two baselines, three answers, what comes next.

usage: python scripts/quickstart_report.py RUN
"""

import json
import shlex
import sys
from collections import Counter
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import tfbert
from tfbert.io.terminal import silence_libraries
from tfbert.tasks.labelled_data import LabelledData

SENTENCES = [
    "The soup was cold and nobody came to our table for an hour.",
    "What a wonderful evening, I have not laughed so much in years!",
    "Not bad at all for the money.",
]


def main():
    silence_libraries()
    run = Path(sys.argv[1])
    metrics = json.loads((run / "metrics.json").read_text())
    train, test = LabelledData("embedded").splits()
    majority = Counter(train.labels).most_common(1)[0][0]
    tf_idf = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(train.texts, train.labels)

    baseline = test.labels.count(majority) / len(test.labels)

    print(f"\nAccuracy on {metrics['examples']} sentences that it was not trained on")
    print(f"  this BERT                         {metrics['accuracy']:.3f}")
    print(f"  TF-IDF with logistic regression   {tf_idf.score(test.texts, test.labels):.3f}")
    print(f"  always '{majority}'                 {baseline:.3f}")
    print("They also chose the epoch that is kept, so the first number is a little too good;")
    print("docs/benchmark_embedded.md has five seeds without that choice.\n")

    for answer in tfbert.predict_texts(tfbert.load_model(str(run)), SENTENCES):
        print(f"  {answer['label']} ({answer['probability']:.2f}): {answer['text']}")

    print(f"\nEnvironment: . {shlex.quote(sys.prefix + '/bin/activate')}")
    print(f"Curves:      tensorboard --logdir {shlex.quote(str(run / 'logs'))}")
    print(f"Your texts:  tfbert predict --model {shlex.quote(str(run))} --input FILE")
    print("Real data:   tfbert finetune --task sst2 --data SST-2/ --model bert_small_en_uncased \\")
    print("                 --output runs/sst2")


if __name__ == "__main__":
    main()
