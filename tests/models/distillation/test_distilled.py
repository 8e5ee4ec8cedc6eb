"""A student with a teacher: its loss, what is learned, and what is not the student's."""

import keras
import numpy as np
import pytest
from helpers.small_distilled import (
    STUDENT,
    VOCABULARY,
    WIDE,
    compiled,
    distances_by_hand,
    masked_batch,
    small_student,
    small_teacher,
    train_distilled,
)
from helpers.small_encoder import assert_same_weights
from helpers.small_models import difference
from helpers.small_pretrainer import PIECES

from tfbert.hardware.strategies import get_strategy
from tfbert.models.distillation.teacher import Teacher
from tfbert.models.growth import grow
from tfbert.models.pretrainer import HEADS_FILE, load_pretrainer, save_pretrainer
from tfbert.records.batches import examples_of
from tfbert.recovery.snapshot import state_variables
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary


def evaluated(model, batch):
    inputs, targets, weights = examples_of(batch, model.share)
    return model.evaluate(inputs, targets, sample_weight=weights, return_dict=True, verbose=0)


def cross_entropy(logits, ids, weights):
    """Mean over the targets of weight 1, in float64."""
    logits = np.array(logits, np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -(np.take_along_axis(logs, ids[..., None], -1)[..., 0] * weights).sum() / weights.sum()


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_loss_by_hand(share):
    """In float64, sequence by sequence; the rows are padded, and the teacher is wider."""
    model, (batch, originals) = compiled(small_student(share=share)), masked_batch()
    tokens, sentences = distances_by_hand(model, batch, originals)
    logs = evaluated(model, batch)
    assert logs["teacher_tokens_loss"] == pytest.approx(tokens, rel=1e-5)
    assert logs["teacher_sentences_loss"] == pytest.approx(sentences, rel=1e-5)
    if share == 1:
        assert logs["loss"] == pytest.approx(tokens + sentences, rel=1e-5)
        return
    outputs = model(examples_of(batch, share)[0])
    predicted = cross_entropy(outputs["mlm"], batch["mask_ids"], batch["mask_weights"])
    predicted += cross_entropy(outputs["nsp"], batch["next_sentence_labels"], np.ones(8))
    expected = 0.75 * predicted + 0.25 * (tokens + sentences)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    """Also where the teacher has more word pieces, and in another order."""
    model = small_student(small_teacher(STUDENT))
    ids = np.random.default_rng(2).permutation(VOCABULARY + 7)[:VOCABULARY].astype("int32")
    other = small_teacher(STUDENT, vocabulary_size=VOCABULARY + 7)
    model.backbone.set_weights([np.array(v) for v in model.teacher.backbone.weights])
    for variable, ours in zip(other.backbone.weights, model.backbone.weights, strict=True):
        values = np.array(ours)
        if "token_embedding" in variable.path:
            values = np.array(variable)
            values[ids] = np.array(ours)
        variable.assign(values)
    mapped = small_student(Teacher(other.backbone, ids))
    mapped.backbone.set_weights(model.backbone.get_weights())
    for student in (model, mapped):
        logs = evaluated(compiled(student), masked_batch()[0])
        assert logs["loss"] == pytest.approx(0, abs=2e-6)
    assert evaluated(compiled(small_student(other)), masked_batch()[0])["loss"] > 0.1


def test_a_teacher_is_not_trained_and_not_saved(tmp_path):
    teacher = small_teacher()
    before = [np.array(variable) for variable in teacher.backbone.weights]
    model = compiled(small_student(teacher), keras.optimizers.Adam(0.01))
    inputs, targets, weights = examples_of(masked_batch()[0], 1.0)
    losses = model.fit(inputs, targets, sample_weight=weights, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for variable, value in zip(teacher.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    ids = {id(variable) for variable in teacher.backbone.variables}
    assert not ids & {id(variable) for variable in state_variables(model).values()}
    layers = {name.split("/")[1] for name in state_variables(model) if name.startswith("model/")}
    assert layers - {layer.name for layer in model.backbone.layers} == {"teacher_distances"}

    tokenizer = BertTokenizer(Vocabulary(PIECES))
    save_pretrainer(model, tokenizer, tmp_path / "alone")
    assert not (tmp_path / "alone" / HEADS_FILE).exists()
    loaded, _ = load_pretrainer(str(tmp_path / "alone"))
    assert_same_weights(loaded.backbone, model.backbone)
    save_pretrainer(small_student(teacher, 0.5), tokenizer, tmp_path / "both")
    heads = np.load(tmp_path / "both" / HEADS_FILE).files
    assert {name.split("/")[0] for name in heads} == {"mlm_head", "nsp_head"}


@pytest.mark.parametrize("share", [1.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_two_replicas_in_micro_batches_are_one_device(two_replicas, share):
    whole = train_distilled(get_strategy("cpu"), share)
    divided = train_distilled(two_replicas, share, accumulate_steps=2)
    assert whole["updates"] == divided["updates"] == 20
    assert difference(divided, whole) < 1e-5
    for name in ("history", "evaluation"):
        np.testing.assert_allclose(divided[name], whole[name], rtol=1e-4)


def test_a_student_grows_and_keeps_teacher_and_projection():
    model = small_student(share=0.5)
    deeper = grow(model, 2)
    assert deeper.teacher is model.teacher and deeper.share == 0.5
    assert deeper.teacher_size == WIDE
    kernels = (m.get_layer("teacher_distances").projection.kernel for m in (model, deeper))
    np.testing.assert_array_equal(*map(np.array, kernels))
