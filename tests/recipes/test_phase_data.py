import numpy as np
import pytest
from helpers.pretraining_run import records_of
from helpers.small_records import LENGTH

from tfbert.errors import InputError
from tfbert.recipes.phase_data import open_phases
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records import reader, record_source
from tfbert.records.description import read_dataset

PHASES = [
    {"steps": 5, "global_batch_size": 8, "sequence_length": LENGTH, "learning_rate": 0.1},
    {"steps": 2, "global_batch_size": 4, "sequence_length": LENGTH, "predictions": 3},
    {"steps": 1, "global_batch_size": 4, "sequence_length": 64, "per_device_batch_size": 1},
]


def opened(folder, phases=PHASES):
    config = PretrainConfig(data=str(folder), output="run", phases=phases)
    return open_phases(config, read_dataset(folder), config.phases, replicas=2)


def test_neither_the_description_nor_a_training_shard_is_read(prepared, monkeypatch):
    description = read_dataset(prepared["dynamic"])

    training = {shard["file"] for shard in description["shards"] if shard["split"] == "train"}
    read_frames = reader.read_frames

    def only_held_out(path):
        assert path.name not in training
        return read_frames(path)

    def refused(*arguments):
        raise AssertionError("read again")

    monkeypatch.setattr(record_source, "read_dataset", refused)
    monkeypatch.setattr(reader, "read_frames", only_held_out)
    config = PretrainConfig(data=str(prepared["dynamic"]), output="run", phases=PHASES)
    first, second, third = open_phases(config, description, config.phases, replicas=2)
    assert [data.first_batch for data in (first, second, third)] == [0, 0, 0]
    assert [data.accumulate_steps for data in (first, second, third)] == [1, 1, 2]
    assert (second.predictions, third.predictions) == (3, 10)  # 0.15 of 64 tokens
    assert all(data.held_out is not None for data in (first, second, third))


@pytest.mark.parametrize("masking", ["dynamic", "fixed"])
def test_predictions_are_those_of_the_batches(prepared, masking):
    for data in opened(prepared[masking], PHASES[::2]):
        assert data.train.batch(0)["mask_positions"].shape[1] == data.predictions


def test_records_without_masks_are_refused(prepared):
    with pytest.raises(InputError, match="hold no masks; prepare the text with --masking dynamic"):
        opened(prepared["none"], PHASES[:1])


@pytest.mark.parametrize("masking", ["dynamic", "fixed", "none"])
def test_for_a_teacher_alone_no_masks_are_drawn(prepared, masking):
    # The second phase asks for 3 predictions, which a teacher has no use for.
    options = {"data": str(prepared[masking]), "output": "run", "phases": PHASES[:2]}
    config = PretrainConfig(**options, teacher="embedded")
    for data in open_phases(config, read_dataset(config.data), config.phases, replicas=1):
        assert data.predictions == 0
        assert ("mask_positions" in data.train.batch(0)) == (masking == "fixed")
        inputs, _, _ = next(iter(data.held_out))
        assert inputs.keys() == {"token_ids", "segment_ids", "padding_mask"}


def test_rare_words_are_masked_more_often_in_training_alone(prepared):
    """What is masked is rarer on average, by the frequencies of the records themselves."""
    folder = prepared["dynamic"]
    options = {"data": str(folder), "output": "run", "phases": PHASES[:1]}

    def read(**choice):
        config = PretrainConfig(**options, **choice)
        (data,) = open_phases(config, read_dataset(folder), config.phases, replicas=1)
        return data

    usual, rare = read(), read(mask_rare_words=True)
    token_ids = np.concatenate(list(usual.train.sequences()))
    counts = np.bincount(token_ids.ravel())

    def frequency(data):
        masked = [data.train.batch(number) for number in range(100)]
        ids = np.concatenate([batch["mask_ids"][batch["mask_weights"] > 0] for batch in masked])
        return counts[ids].mean()

    assert frequency(rare) < 0.95 * frequency(usual)  # few words here are frequent
    for one, other in zip(usual.held_out, rare.held_out, strict=True):
        assert (np.asarray(one[1]["mlm"]) == np.asarray(other[1]["mlm"])).all()


def test_rare_words_cannot_be_masked_where_masks_are_fixed(prepared):
    config = PretrainConfig(
        data=str(prepared["fixed"]), output="run", phases=PHASES[:1], mask_rare_words=True
    )
    with pytest.raises(InputError, match=r"the masks in the records of .* are fixed"):
        open_phases(config, read_dataset(config.data), config.phases, replicas=1)


@pytest.mark.parametrize("sequences", ["pairs", "sentences"])
def test_documents_are_refused_where_their_ends_are_not_known(prepared, sequences):
    """Sequences of whole sentences often end with their document, and nothing tells that."""
    folder = str(prepared["dynamic"])
    config = PretrainConfig(data=folder, output="run", phases=PHASES[:1], document_share=0.5)
    described = read_dataset(folder)
    described["options"]["sequences"] = sequences
    with pytest.raises(InputError, match="--document-share: the records of"):
        open_phases(config, described, config.phases, replicas=1)


def test_documents_must_be_longer_than_sequences(embedded_vocabulary_file, tmp_path):
    words = ["good", "bad", "long", "new"] * 30
    text = "\n".join(f"{word} film of the year" for word in words)
    options = {"lengths": [32], "sequences": "filled", "keep_duplicates": True}
    folder = records_of(text, tmp_path, embedded_vocabulary_file, **options)
    config = PretrainConfig(data=folder, output="run", phases=PHASES[:1], document_share=0.5)
    with pytest.raises(InputError, match="each sequence of 32 tokens holds the border of two"):
        open_phases(config, read_dataset(folder), config.phases, replicas=1)
