import pytest
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
