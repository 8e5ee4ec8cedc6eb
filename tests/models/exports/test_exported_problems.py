"""Models of every problem in other programs' forms."""

import json
import warnings

import numpy as np
import pytest
import tensorflow as tf
from helpers.export_models import PROBLEMS, TEXTS, make_small_model
from safetensors.numpy import load_file

from tfbert.errors import InputError
from tfbert.models.exports.huggingface import write_trained
from tfbert.models.exports.model_card import model_card
from tfbert.models.exports.onnx import write_onnx
from tfbert.models.exports.plain import plain_classifier
from tfbert.models.exports.savedmodel import TextServer
from tfbert.models.exports.trained import load_trained
from tfbert.models.text_classifier import TextClassifier
from tfbert.models.trained_model import in_data_unit, load_model, save_model
from tfbert.runs.export import export
from tfbert.runs.export_options import ExportConfig
from tfbert.runs.predict import predict_texts
from tfbert.tasks.tokens.tokenization import tokenize

EXPECTED = {  # by problem: architecture, problem_type, the head's name
    "classification": ("BertForSequenceClassification", "single_label_classification"),
    "multilabel": ("BertForSequenceClassification", "multi_label_classification"),
    "regression": ("BertForSequenceClassification", "regression"),
    "tagging": ("BertForTokenClassification", None),
    "span": ("BertForQuestionAnswering", None),
}


@pytest.fixture(params=PROBLEMS)
def trained(request):
    return make_small_model(request.param)


def inputs_of(trained, texts=TEXTS):
    tokens = tokenize(trained.tokenizer, texts, trained.max_length)
    ids = np.full((len(tokens), tokens.lengths.max()), tokens.pad_token_id, np.int32)
    mask = np.zeros_like(ids)
    for row in range(len(tokens)):
        ids[row, : len(tokens[row])] = tokens[row]
        mask[row, : len(tokens[row])] = 1
    return {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": mask}


def test_huggingface_and_back(trained, tmp_path):
    original = np.asarray(trained.model(inputs_of(trained)))
    trained = in_data_unit(trained)
    write_trained(trained, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    architecture, problem_type = EXPECTED[trained.problem.name]
    assert config["architectures"] == [architecture]
    assert config.get("problem_type") == problem_type
    names = load_file(tmp_path / "model.safetensors").keys()
    head = "qa_outputs" if trained.problem.name == "span" else "classifier"
    assert f"{head}.weight" in names
    # As transformers' classes have it, a pooler only below a head on the whole text.
    assert ("bert.pooler.dense.weight" in names) == (trained.problem.head == "pooled")
    again = load_model(str(tmp_path))
    assert (again.problem, again.max_length) == (trained.problem, 24)
    outputs = np.asarray(again.model(inputs_of(trained)))
    if trained.problem.name == "regression":  # in the data's unit: `problem.json` is left behind
        original = original * 2.0 + 3.0
    np.testing.assert_allclose(outputs, original, rtol=1e-5, atol=1e-5)


def test_the_plain_form_computes_the_same(trained):
    inputs = inputs_of(trained)
    logits = plain_classifier(trained.model)(inputs)["logits"]
    np.testing.assert_allclose(logits, trained.model(inputs), atol=5e-6)


@pytest.mark.slow
def test_onnx(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    write_onnx(plain_classifier(trained.model), tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for texts in (TEXTS, TEXTS[:2]):
        inputs = inputs_of(trained, texts)
        (logits,) = session.run(["logits"], inputs)
        np.testing.assert_allclose(logits, trained.model(inputs), atol=1e-5)


@pytest.mark.parametrize("problem", ["multilabel", "regression"])
def test_what_a_savedmodel_answers(problem):
    trained = make_small_model(problem)
    server = TextServer(trained)  # whose functions do not keep it
    served = server.classify(tf.constant(TEXTS))
    ours = predict_texts(trained, TEXTS)
    if problem == "regression":
        np.testing.assert_allclose(served["score"], [row["score"] for row in ours], rtol=1e-5)
        return
    assert served["labels"].numpy().tolist() == [[b"bad", b"good", b"so so"]] * len(TEXTS)
    for row, answer in zip(served["probabilities"].numpy(), ours, strict=True):
        found = dict(zip(answer["labels"], answer["probabilities"], strict=True))
        assert {name for name, p in zip(trained.labels, row, strict=True) if p > 0.5} == set(found)
        for label, probability in found.items():
            assert row[trained.labels.index(label)] == pytest.approx(probability, abs=1e-6)


def test_the_command(tmp_path):
    trained = make_small_model("tagging")
    save_model(trained, tmp_path / "tagger")

    def run(format):
        output = tmp_path / format
        export(ExportConfig(model=str(tmp_path / "tagger"), format=format, output=str(output)))
        return output

    card = (run("huggingface") / "README.md").read_text()
    assert "pipeline_tag: token-classification\n" in card and "`B-day`" in card
    folder = run("litert")
    problem = json.loads((folder / "problem.json").read_text())
    assert problem["problem"] == "tagging" and problem["labels"] == ["B-day", "I-day", "O"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own copy of the interpreter goes away
        interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
    inputs = inputs_of(trained)
    logits = interpreter.get_signature_runner("serving_default")(**inputs)["logits"]
    np.testing.assert_allclose(logits, trained.model(inputs), atol=1e-5)
    with pytest.raises(InputError, match="savedmodel answers whole texts"):
        run("savedmodel")


def test_a_regression_is_exported_in_the_unit_of_its_data(tmp_path):
    trained = make_small_model("regression")
    save_model(trained, tmp_path / "model")
    again = load_trained(str(tmp_path / "model"))
    assert (again.problem.mean, again.problem.deviation) == (0.0, 1.0)
    scores = [[answer["score"] for answer in predict_texts(m, TEXTS)] for m in (trained, again)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-5)
    kernel = TextClassifier.from_preset(str(tmp_path / "model")).output_dense.kernel
    np.testing.assert_array_equal(kernel, again.model.output_dense.kernel)


def test_a_head_on_tokens_is_no_text_classifier(tmp_path):
    save_model(make_small_model("tagging"), tmp_path / "model")
    with pytest.raises(InputError, match="its head, of tagging, is on tokens"):
        TextClassifier.from_preset(str(tmp_path / "model"))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_card_says_the_kind(problem, tmp_path):
    write_trained(make_small_model(problem), tmp_path)
    card = model_card("name", json.loads((tmp_path / "config.json").read_text()), {}, {}, "export")
    words = {
        "classification": "labels texts",
        "multilabel": "any number of labels",
        "regression": "scores texts",
        "tagging": "labels the words",
        "span": "answers to questions",
    }
    assert words[problem] in card and "model(" in card
    assert ("Labels:" in card) == (problem in ("classification", "multilabel", "tagging"))


@pytest.mark.slow
def test_transformers_computes_the_same(trained, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    inputs = inputs_of(trained, ["The soup was colder, the day UNUSUAL!", "Café cafe. x"])
    trained = in_data_unit(trained)
    write_trained(trained, tmp_path)
    model, report = getattr(transformers, EXPECTED[trained.problem.name][0]).from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    with torch.no_grad():
        output = model(**{names[key]: torch.tensor(inputs[key]) for key in names})
    if trained.problem.name == "span":
        theirs = np.stack([output.start_logits, output.end_logits], -1)
    else:
        theirs = output.logits.numpy()
    ours, is_token = np.asarray(trained.model(inputs)), inputs["padding_mask"] == 1
    if ours.ndim == 3:
        ours, theirs = ours[is_token], theirs[is_token]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("multilabel", {"top_k": None}),
        ("regression", {"function_to_apply": "none"}),
        ("tagging", {}),
    ],
)
def test_pipelines_answer_the_same(problem, options, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    trained = make_small_model(problem)
    write_trained(in_data_unit(make_small_model(problem)), tmp_path)
    kind = "token-classification" if problem == "tagging" else "text-classification"
    strategy = {"aggregation_strategy": "first"} if problem == "tagging" else {}
    pipeline = transformers.pipeline(kind, str(tmp_path), **strategy)
    text = "The soup was colder, the day UNUSUAL!"
    theirs = pipeline(text, **options)
    (ours,) = predict_texts(trained, [text])
    if problem == "multilabel":
        found = {row["label"]: row["score"] for row in theirs if row["score"] > 0.5}
        assert found.keys() == set(ours["labels"])
    elif problem == "regression":
        assert theirs[0]["score"] == pytest.approx(ours["score"], rel=1e-4)
    else:
        found = [(row["entity_group"], row["start"], row["end"]) for row in theirs]
        assert found == [(e["type"], e["start"], e["end"]) for e in ours["entities"]]
