import pytest

from tfbert.errors import InputError
from tfbert.models.sizes import SIZES, BertSize, bert_size

# Millions of parameters of the encoders and poolers, embeddings included: Turc et al. 2019, table
# 1 (tiny to medium), Devlin et al. 2019, section 3 (base, large).
PUBLISHED = {"tiny": 4.4, "mini": 11.3, "small": 29.1, "medium": 41.7, "base": 110, "large": 340}


@pytest.mark.parametrize("name", SIZES)
def test_as_many_parameters_as_published(name):
    size = SIZES[name]
    width, inner = size.hidden_dim, size.intermediate_dim
    embeddings = (30_522 + 512 + 2 + 2) * width
    layer = 4 * (width + 1) * width + (width + 1) * inner + (inner + 1) * width + 4 * width
    parameters = embeddings + size.num_layers * layer + (width + 1) * width
    assert parameters / 1e6 == pytest.approx(PUBLISHED[name], rel=0.02)
    assert size.hidden_dim == 64 * size.num_heads


def test_numbers_beside_a_name():
    assert bert_size("mini") == SIZES["mini"]
    assert bert_size("base", num_layers=24) == BertSize(24, 768, 12, 3072)
    assert bert_size("tiny", hidden_dim=192) == BertSize(2, 192, 3, 768)
    assert bert_size("tiny", hidden_dim=32, intermediate_dim=10) == BertSize(2, 32, 1, 10)
    assert bert_size("tiny", num_heads=4) == BertSize(2, 128, 4, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "huge"}, "--size is 'huge': it must be one of tiny, mini"),
        ({"name": "tiny", "num_layers": 0}, "--num-layers is 0"),
        ({"name": "tiny", "hidden_dim": 127}, "--num-heads must be given: --hidden-dim 127 is no"),
        ({"name": "tiny", "hidden_dim": 32, "num_heads": 0}, "--num-heads is 0"),
        ({"name": "tiny", "hidden_dim": 32, "intermediate_dim": 0}, "--intermediate-dim is 0"),
        ({"name": "tiny", "num_heads": 3}, "--num-heads is 3: it must divide --hidden-dim 128"),
    ],
)
def test_numbers_that_make_no_encoder(arguments, message):
    with pytest.raises(InputError, match=message):
        bert_size(**arguments)
