"""Trains BERTs of Hugging Face's transformers for 20 updates, and writes each loss to a file.

usage: python scripts/transformers_losses.py FILE [MINILM]

tests/tasks/golden/transformers_losses.npz is what `... FILE` wrote with transformers 5.24.0 and
torch 2.13.0, both in the extra `benchmarks`. One run for each kind of head: `classification`,
`pairs`, `multilabel`, `regression` (of scores with mean 0 and standard deviation 1), `tagging`,
`span`. No dropout, float32, AdamW. The file holds

- `examples`: in JSON, the vocabulary, and of each kind its examples in their own form;
- `weights/NAME`: those of the encoder, random ones; not there if MINILM is given, its folder, whose
  weights and vocabulary are taken;
- for each kind `KIND/weights/NAME`, its head's, and `KIND/losses`, (20,) float32.

Update `n` takes `BATCH` examples from `n * BATCH` on, from the first again after the last.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np

try:
    import torch
    import transformers as t
except ImportError as error:
    print(f"transformers_losses: {error}: see the extra `benchmarks`", file=sys.stderr)
    sys.exit(2)

UPDATES, BATCH, EXAMPLES = 20, 4, 12
RATE, RATE_OF_MINILM = 2e-3, 5e-5
WEIGHT_DECAY, EPSILON = 0.01, 1e-6
WORDS = [
    *("the", "a", "film", "was", "good", "bad", "long", "slow", "and", "we", "in", "london"),
    *("saw", "it", "then", "left", "by", "train"),
]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "##ly"]
ENDINGS = ("", "", "s", "ly")
SIZE = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "hidden_act": "gelu_pytorch_tanh",
}
WITHOUT_DROPOUT = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": 0.0,
}
TAGS = ["O", "B-place", "I-place", "B-time"]
ONE, SEVERAL, SCORE = (
    {"num_labels": 3, "problem_type": "single_label_classification"},
    {"num_labels": 3, "problem_type": "multi_label_classification"},
    {"num_labels": 1, "problem_type": "regression"},
)
KINDS = {
    "classification": (t.BertForSequenceClassification, ONE),
    "pairs": (t.BertForSequenceClassification, ONE),
    "multilabel": (t.BertForSequenceClassification, SEVERAL),
    "regression": (t.BertForSequenceClassification, SCORE),
    "tagging": (t.BertForTokenClassification, {"num_labels": len(TAGS)}),
    "span": (t.BertForQuestionAnswering, {}),
}


def main(path, minilm=None):
    examples, pieces = make_examples(), PIECES
    if minilm:
        pieces = Path(minilm, "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    tokenizer = t.BertTokenizerFast(vocab={piece: row for row, piece in enumerate(pieces)})
    torch.manual_seed(0)
    arrays = {"examples": np.array(json.dumps({"vocabulary": pieces, **examples}))}
    encoder = {} if minilm else random_encoder()
    arrays |= {f"weights/{name}": value.numpy() for name, value in encoder.items()}
    for kind, (model_class, options) in KINDS.items():
        if minilm:
            model = model_class.from_pretrained(minilm, **options, **WITHOUT_DROPOUT)
        else:
            model = model_class(t.BertConfig(**SIZE, **options, **WITHOUT_DROPOUT))
            weights = {f"bert.{name}": value for name, value in encoder.items()}
            model.load_state_dict(weights, strict=False)
        for name, value in model.named_parameters():
            if not name.startswith("bert."):
                value.data.normal_(std=0.2)
                arrays[f"{kind}/weights/{name}"] = value.detach().numpy().copy()
        rate = RATE_OF_MINILM if minilm else RATE
        arrays[f"{kind}/losses"] = losses(kind, model, tokenizer, examples[kind], rate)
    np.savez_compressed(path, **arrays)


def random_encoder():
    """A state dictionary whose weights are large enough that every part shows in the loss."""
    model = t.BertModel(t.BertConfig(**SIZE))
    for name, value in model.named_parameters():
        value.data.normal_(mean=float(name.endswith("LayerNorm.weight")), std=0.2)
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def make_examples():
    """`{kind: examples}`: each a list as long as the fields of an example."""
    choose = random.Random(0)

    def words(count):
        return [choose.choice(WORDS) + choose.choice(ENDINGS) for _ in range(count)]

    def text():
        return " ".join(words(choose.randint(3, 9)))

    found = {
        "classification": [[text(), choose.choice("abc")] for _ in range(EXAMPLES)],
        "pairs": [[text(), text(), choose.choice("abc")] for _ in range(EXAMPLES)],
        "multilabel": [
            [text(), [name for name in "abc" if choose.random() < 0.5]] for _ in range(EXAMPLES)
        ],
        "regression": [[text(), round(choose.uniform(0, 5), 2)] for _ in range(EXAMPLES)],
        "tagging": [],
        "span": [],
    }
    for _ in range(EXAMPLES):
        sentence = words(choose.randint(3, 9))
        tags = [choose.choice(TAGS) for _ in sentence]
        for place, tag in enumerate(tags):  # an I- goes on with what is there
            if tag == "I-place" and (place == 0 or not tags[place - 1].endswith("place")):
                tags[place] = "B-place"
        found["tagging"].append([sentence, tags])
        # Windows of equal length: transformers' loss also counts padding as a possible answer.
        question = " ".join(choose.choice(WORDS) for _ in range(3))
        passage = [choose.choice(WORDS) for _ in range(12)]
        first = choose.randrange(10)
        answer = " ".join(passage[first : first + choose.randint(1, 3)])
        start = len(" ".join([*passage[:first], ""]))
        found["span"].append([question, " ".join(passage), answer, start])
    return found


def losses(kind, model, tokenizer, examples, rate):
    """(UPDATES,) float32, each before its update."""
    groups = {WEIGHT_DECAY: [], 0.0: []}
    for name, weight in model.named_parameters():
        without = name.endswith("bias") or "LayerNorm" in name
        groups[0.0 if without else WEIGHT_DECAY].append(weight)
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()],
        lr=rate,
        eps=EPSILON,
    )
    model.train()
    found = []
    for update in range(UPDATES):
        rows = [(update * BATCH + row) % len(examples) for row in range(BATCH)]
        loss = model(**make_batch(kind, tokenizer, examples, rows)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return np.array(found, np.float32)


def make_batch(kind, tokenizer, examples, rows):
    """The inputs and `labels` of a batch, as `run_glue`, `run_ner` and `run_qa` make them."""
    columns = [[examples[row][column] for row in rows] for column in range(len(examples[0]))]
    options = {"padding": True, "return_tensors": "pt"}
    if kind == "tagging":
        batch = tokenizer(columns[0], is_split_into_words=True, **options)
        labels = torch.full(batch["input_ids"].shape, -100)
        for row, tags in enumerate(columns[1]):
            previous = None
            for position, word in enumerate(batch.word_ids(row)):
                if word is not None and word != previous:
                    labels[row, position] = TAGS.index(tags[word])
                previous = word
        return {**batch, "labels": labels}
    if kind == "span":
        batch = tokenizer(columns[0], columns[1], **options)
        ends = [start + len(text) for text, start in zip(columns[2], columns[3], strict=True)]
        first = [batch.char_to_token(row, at, 1) for row, at in enumerate(columns[3])]
        last = [batch.char_to_token(row, at - 1, 1) for row, at in enumerate(ends)]
        return {
            **batch,
            "start_positions": torch.tensor(first),
            "end_positions": torch.tensor(last),
        }
    batch = tokenizer(*columns[:-1], **options)
    if kind == "regression":
        scores = np.array([score for _, score in examples])
        labels = (np.array(columns[-1]) - scores.mean()) / scores.std()
        return {**batch, "labels": torch.tensor(labels, dtype=torch.float32)}
    if kind == "multilabel":
        labels = [[float(name in given) for name in "abc"] for given in columns[-1]]
        return {**batch, "labels": torch.tensor(labels)}
    return {**batch, "labels": torch.tensor(["abc".index(name) for name in columns[-1]])}


if __name__ == "__main__":
    main(*sys.argv[1:])
