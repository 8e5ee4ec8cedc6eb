"""Writes small random BERTs of Hugging Face's transformers, of every kind, with what they compute.

usage: python scripts/transformers_variants.py DIR [MINILM]

tests/models/golden/variants is what it wrote with transformers 5.24.0 and torch 2.13.0; both are in
the extra `benchmarks`. A folder for each kind holds the model as `save_pretrained` leaves it and

- `reference.npz`: `token_ids`, `segment_ids`, `padding_mask`, and as float32 `sequence_output`,
  `pooled_output`, `mlm`, `nsp`, `logits`, `starts` and `ends`, those that the model has;
- `reference.json`: texts and their token ids.

With the folder of all-MiniLM-L6-v2 it also writes `minilm.npz`: the vectors of [CLS] of some texts.
"""

import json
import sys
from pathlib import Path

import numpy as np

try:
    import torch
    import transformers as t
except ImportError as error:
    print(f"transformers_variants: {error}: see the extra `benchmarks`", file=sys.stderr)
    sys.exit(2)

PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "good", "Good", "bad", "was"),
    *("a", "##a", "b", "##b", "c", "##c", "A", "e", "##e", "é", "##é", "cafe", "café", "中", "国"),
    *("##国", ".", ",", "!"),
]
TEXTS = ["The film was Good .", "café, CAFÉ abc", "中国 was bad!", "a [MASK] film"]
SIZE = {
    "vocab_size": len(PIECES),
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 12,
}
LABELS = {
    "id2label": {0: "bad", 1: "fair", 2: "good"},
    "label2id": {"bad": 0, "fair": 1, "good": 2},
}
# kind: (class, changes of the configuration, settings of the tokenizer, options of save_pretrained)
KINDS = {
    "pretraining": (t.BertForPreTraining, {}, {"do_lower_case": True}, {}),
    "pretraining_tanh": (
        *(t.BertForPreTraining, {"hidden_act": "gelu_new"}, {"do_lower_case": False}, {}),
    ),
    "masked_lm": (t.BertForMaskedLM, {"num_hidden_layers": 2}, {"strip_accents": False}, {}),
    "next_sentence": (t.BertForNextSentencePrediction, {}, {"do_lower_case": True}, {}),
    "encoder": (
        t.BertModel,
        {"layer_norm_eps": 1e-3, "hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 600},
        {"tokenize_chinese_chars": False},
        {},
    ),
    "encoder_without_pooler": (t.BertModel, {"type_vocab_size": 1}, {}, {}),
    "classifier": (
        t.BertForSequenceClassification,
        {**LABELS, "num_hidden_layers": 2, "classifier_dropout": 0.25},
        {"do_lower_case": True, "model_max_length": 10},
        {"max_shard_size": "3KB"},
    ),
    "tagger": (t.BertForTokenClassification, LABELS, {"do_lower_case": True}, {}),
    "spans": (t.BertForQuestionAnswering, {}, {"do_lower_case": True}, {}),
    "bfloat16": (t.BertForPreTraining, {}, {"do_lower_case": True}, {}),
    "float16": (t.BertForSequenceClassification, LABELS, {"do_lower_case": True}, {}),
    "multilabel": (
        t.BertForSequenceClassification,
        {**LABELS, "problem_type": "multi_label_classification"},
        {"do_lower_case": True},
        {},
    ),
    "regression": (
        t.BertForSequenceClassification,
        {"num_labels": 1, "problem_type": "regression"},
        {"do_lower_case": True},
        {},
    ),
}
OUTPUTS = {
    t.BertForPreTraining: {"prediction_logits": "mlm", "seq_relationship_logits": "nsp"},
    t.BertForMaskedLM: {"logits": "mlm"},
    t.BertForNextSentencePrediction: {"logits": "nsp"},
    t.BertForSequenceClassification: {"logits": "logits"},
    t.BertForTokenClassification: {"logits": "logits"},
    t.BertForQuestionAnswering: {"start_logits": "starts", "end_logits": "ends"},
}


def main(directory, minilm=None):
    for number, kind in enumerate(KINDS):
        write_kind(Path(directory) / kind, kind, number)
    if minilm:
        write_minilm(Path(directory) / "minilm.npz", minilm)


def write_kind(folder, kind, seed):
    model_class, changes, tokenizer_settings, options = KINDS[kind]
    torch.manual_seed(seed)
    config = t.BertConfig(**{**SIZE, **changes})
    parts = {"add_pooling_layer": False} if kind == "encoder_without_pooler" else {}
    model = model_class(config, **parts).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # Large enough that every part shows in the outputs; norms' scales stay near 1.
            weights.normal_(mean=float(name.endswith("LayerNorm.weight")), std=0.4)
    if hasattr(torch, kind):
        model = model.to(getattr(torch, kind))
    model.save_pretrained(folder, **options)
    tokenizer = t.BertTokenizer(
        vocab={piece: number for number, piece in enumerate(PIECES)}, **tokenizer_settings
    )
    tokenizer.save_pretrained(folder)
    ids = [tokenizer(text.replace("[MASK]", ""))["input_ids"] for text in TEXTS]
    text = json.dumps({"texts": TEXTS, "ids": ids}, ensure_ascii=False)
    (folder / "reference.json").write_text(text + "\n", encoding="utf-8")

    model = model.float()
    token_ids = torch.randint(5, len(PIECES), (3, 9))
    segments = (torch.arange(9) > 4).expand(3, -1).long() % config.type_vocab_size
    mask = (torch.arange(9) < torch.tensor([[9], [6], [3]])).long()
    inputs = {"input_ids": token_ids, "token_type_ids": segments, "attention_mask": mask}
    with torch.no_grad():
        encoded = getattr(model, "bert", model)(**inputs)
        output = model(**inputs)
    arrays = {
        "token_ids": token_ids.numpy().astype("int32"),
        "segment_ids": segments.numpy().astype("int32"),
        "padding_mask": mask.numpy().astype("int32"),
        "sequence_output": encoded.last_hidden_state.numpy(),
    }
    if encoded.pooler_output is not None:
        arrays["pooled_output"] = encoded.pooler_output.numpy()
    for theirs, ours in OUTPUTS.get(model_class, {}).items():
        arrays[ours] = output[theirs].numpy()
    np.savez_compressed(folder / "reference.npz", **arrays)


def write_minilm(path, folder):
    texts = ["a charming , funny and quietly moving film .", "Clichés\u00ad, again? 中国", "bleak"]
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    model = t.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        vectors = model(**inputs).last_hidden_state[:, 0].numpy()
    arrays = {"token_ids": inputs["input_ids"].numpy(), "vectors": vectors}
    np.savez_compressed(path, texts=np.array(texts), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
