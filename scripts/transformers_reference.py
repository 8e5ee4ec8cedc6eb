"""Writes a random BertForPreTraining of Hugging Face transformers and its logits to an .npz file.

usage: python scripts/transformers_reference.py FILE [SEED]

tests/models/golden/transformers_pretraining.npz is what `... FILE 0` wrote with transformers 5.23.0
and torch 2.13.0. Both are in the extra `benchmarks`. The file holds `weights/NAME` (the state
dictionary), `inputs/NAME` with KerasHub's names, and `mlm` and `nsp`, the logits.
"""

import sys

import numpy as np

try:
    import torch
    from transformers import BertConfig, BertForPreTraining
except ImportError as error:
    print(f"transformers_reference: {error}: see the extra `benchmarks`", file=sys.stderr)
    sys.exit(2)

BATCH, LENGTH = 3, 11
CONFIG = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "hidden_act": "gelu_pytorch_tanh",
}


def main(path, seed=0):
    torch.manual_seed(seed)
    model = BertForPreTraining(BertConfig(**CONFIG)).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # Large enough that every part shows in the logits; norms' scales stay near 1.
            weights.normal_(mean=float(name.endswith("LayerNorm.weight")), std=0.3)
        ids = torch.randint(5, CONFIG["vocab_size"], (BATCH, LENGTH))
        segments = (torch.arange(LENGTH) > 5).expand(BATCH, -1).long()
        mask = (torch.arange(LENGTH) < torch.tensor([[LENGTH], [8], [4]])).long()
        output = model(input_ids=ids, token_type_ids=segments, attention_mask=mask)
    arrays = {f"weights/{name}": value.numpy() for name, value in model.state_dict().items()}
    inputs = {"token_ids": ids, "segment_ids": segments, "padding_mask": mask}
    arrays |= {f"inputs/{name}": value.numpy().astype("int32") for name, value in inputs.items()}
    arrays["mlm"] = output.prediction_logits.numpy()
    arrays["nsp"] = output.seq_relationship_logits.numpy()
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
