import gzip

import numpy as np
import pytest
import tensorflow as tf

from tfbert.records.tfrecords import Layout, compress, masked_crc32c, read_frames

FEATURES = {
    "token_ids": ("uint16", [300]),
    "mask_ids": ("int32", [7]),
    "labels": ("uint8", []),
    "weights": ("float32", [2, 2]),
}


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    return {
        "token_ids": generator.integers(0, 1 << 16, (50, 300), dtype=np.uint16),
        "mask_ids": generator.integers(0, 1 << 31, (50, 7), dtype=np.int32),
        "labels": generator.integers(0, 2, 50, dtype=np.uint8),
        "weights": generator.random((50, 2, 2), dtype=np.float32),
    }


@pytest.fixture
def path(arrays, tmp_path):
    path = tmp_path / "shard.tfrecord.gz"
    path.write_bytes(compress(Layout(FEATURES).encode(arrays)))
    return path


def read(path):
    frames = read_frames(path)
    decoded, good = Layout(FEATURES).decode(frames.data, frames.offsets, frames.lengths)
    return frames, decoded, good


def test_bytes_are_what_tensorflow_writes(arrays, path, tmp_path):
    theirs = tmp_path / "theirs.tfrecord"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for i in range(50):
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[values[i].tobytes()]))
                for name, values in arrays.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString(deterministic=True))
    assert gzip.decompress(path.read_bytes()) == theirs.read_bytes()


def test_tensorflow_reads_them(arrays, path):
    specification = {name: tf.io.FixedLenFeature([], tf.string) for name in FEATURES}
    dataset = tf.data.TFRecordDataset(str(path), "GZIP").batch(50)
    parsed = tf.io.parse_example(next(iter(dataset)), specification)
    for name, (kind, _) in FEATURES.items():
        decoded = tf.io.decode_raw(parsed[name], kind).numpy()
        assert (decoded.reshape(arrays[name].shape) == arrays[name]).all()


def test_there_and_back(arrays, path):
    frames, decoded, good = read(path)
    assert good.all() and frames.good.all() and frames.rest is None
    for name, values in arrays.items():
        assert decoded[name].dtype == values.dtype and (decoded[name] == values).all()


def test_files_without_compression_and_of_several_gzip_members(path):
    packed = path.read_bytes()
    for data, count in ((gzip.decompress(packed), 50), (packed * 2, 100), (compress(b""), 0)):
        path.write_bytes(data)
        frames = read_frames(path)
        assert len(frames.offsets) == count and frames.good.all() and frames.rest is None


def test_same_bytes_each_time(arrays, path):
    packed = path.read_bytes()
    assert packed == compress(Layout(FEATURES).encode(arrays))
    assert packed[4:8] == bytes(4)  # the time in the header of a gzip file


def test_checksums_of_stretches_of_any_length():
    """CRC-32C of "123456789" is 0xE3069283 (RFC 3720, appendix B.4 has more)."""
    data = np.frombuffer(b"123456789" + bytes(32) + b"\xff" * 32, np.uint8)
    masked = masked_crc32c(data, [0, 9, 41, 5], [9, 32, 32, 0])
    unmasked = [((int(crc) - 0xA282EAD8) & 0xFFFFFFFF) for crc in masked]
    unmasked = [(crc >> 17 | crc << 15) & 0xFFFFFFFF for crc in unmasked]
    assert unmasked == [0xE3069283, 0x8A9136AA, 0x62A8AB43, 0]


def damage(path, place, packed=False):
    """Changes a byte of the unpacked file, or of the packed one."""
    data = bytearray(path.read_bytes() if packed else gzip.decompress(path.read_bytes()))
    data[place] ^= 0x55
    path.write_bytes(data if packed else gzip.compress(bytes(data), mtime=0))


def test_a_damaged_record_is_told_from_the_others(path):
    size = len(gzip.decompress(path.read_bytes())) // 50
    damage(path, 7 * size + 500)
    frames, _, _ = read(path)
    assert np.flatnonzero(~frames.good).tolist() == [7]
    assert frames.rest is None


def test_a_damaged_length_ends_the_file(path):
    size = len(gzip.decompress(path.read_bytes())) // 50
    damage(path, 9 * size + 1)
    frames = read_frames(path)
    assert len(frames.offsets) == 9 and frames.good.all()
    assert frames.rest == f"no record begins at byte {9 * size}"


def test_a_file_cut_short(path):
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(data[: len(data) - 100])
    frames = read_frames(path)
    assert len(frames.offsets) == 49 and "is cut off" in frames.rest
    path.write_bytes(gzip.compress(data)[:20_000])
    frames = read_frames(path)
    assert 0 < len(frames.offsets) < 50 and frames.rest == "the compressed file is cut off"


def test_a_damaged_compressed_file(path):
    damage(path, path.stat().st_size // 2, packed=True)
    frames = read_frames(path)
    assert len(frames.offsets) < 50 or not frames.good.all()
    assert frames.rest.startswith("the compressed file is")


def test_records_of_another_layout_are_told_apart(arrays, path):
    frames = read_frames(path)
    other = Layout(FEATURES | {"token_ids": ("uint16", [299]), "labels": ("uint16", [])})
    _, good = other.decode(frames.data, frames.offsets, frames.lengths)
    assert not good.any()
    renamed = Layout({name.replace("labels", "babels"): kind for name, kind in FEATURES.items()})
    decoded, good = renamed.decode(frames.data, frames.offsets, frames.lengths)
    assert not good.any() and len(decoded["babels"]) == 0
