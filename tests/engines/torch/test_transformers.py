"""Models of transformers with their tokenizer: texts in, and out what transformers itself answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

import lading
from lading.bundle.environment_lock import read_lock
from lading.cli import main
from lading.convert.open import open_texts
from lading.errors import ConverterFailed, InvalidSetting, ParityLost, SamplesRefused
from lading.pack.probe_texts import PROBES
from lading.runtime.open import load_runtime
from lading.runtime.python.host import PythonHost
from support.environments import environments, shared_cache  # noqa: F401 - the first is a fixture
from support.torch_models import OWNER
from support.transformers_models import (
    LENGTH,
    SAMPLES,
    ask_texts,
    bert,
    bytes_bpe,
    made,
    pack_texts,
    text_cases,
    word_pieces,
)

pytestmark = pytest.mark.usefixtures("environments")

CASES = [pytest.param(make, id=name) for name, _, make in text_cases()]
NAMES = {0: "good", 1: "bad", 2: "neither"}


def classifier(**settings):
    return made("BertForSequenceClassification", bert(id2label=NAMES, label2id={}, **settings), word_pieces())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a classifier and its tokenizer."""
    folder = tmp_path_factory.mktemp("saved")
    own = classifier()
    own.model.save_pretrained(folder)
    own.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reviews(saved, tmp_path_factory):
    """The classifier and its tokenizer, the bundle of their folder, and the notes of packing."""
    folder = tmp_path_factory.mktemp("reviews")
    notes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LADING_CACHE", str(shared_cache(tmp_path_factory)))
        bundle = lading.pack(
            saved, name="m", owner=OWNER, samples=SAMPLES, to=folder / "b", on_note=notes.append
        )
    return classifier(), bundle, notes


def test_texts_that_packing_never_saw_are_answered_as_by_transformers(reviews):
    own, bundle, _ = reviews
    asked = ask_texts(own, bundle)
    assert asked.otherwise == 0
    assert asked.rows > 120


def test_a_folder_of_both_becomes_a_bundle_of_texts_with_the_names_of_its_classes(reviews):
    _, bundle, _ = reviews
    manifest = bundle.manifest
    assert [str(tensor) for tensor in manifest.signature.inputs] == ["string [batch]"]
    assert [tensor.name for tensor in manifest.signature.outputs] == ["label", "probabilities"]
    assert manifest.signature.independent_rows
    assert manifest.labels == {"0": "good", "1": "bad", "2": "neither"}
    assert manifest.purpose == "classification"
    assert manifest.expected_from.startswith(f"transformers {transformers.__version__} with torch ")
    assert manifest.steps == ("code:preprocess", "onnx")


def test_the_environment_of_a_bundle_of_texts_has_tokenizers_and_numpy_alone(reviews):
    _, bundle, _ = reviews
    lock = read_lock((bundle.path / "environment.lock").read_bytes())
    assert sorted(lock.versions) == ["numpy", "tokenizers"]


def test_golden_texts_have_the_scripts_that_samples_lack(reviews):
    _, bundle, notes = reviews
    texts = bundle.samples().inputs["text"].tolist()
    assert all(text.isascii() for text in SAMPLES)
    assert set(PROBES) <= set(texts)
    assert any("Hangul" in note and "emoji" in note for note in notes)


def test_a_text_is_answered_alone_as_among_longer_ones(reviews):
    _, bundle, _ = reviews
    texts = np.array(["", "great food", "한국어 텍스트 👍🏽 " * 40, "x"], dtype=object)
    runtime = load_runtime(bundle, python=PythonHost(allow="code"))
    try:
        together = runtime.run({"text": texts})["probabilities"]
        alone = [runtime.run({"text": texts[at : at + 1]})["probabilities"][0] for at in range(4)]
    finally:
        runtime.close()
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-4, atol=1e-5)
    assert np.ptp(together, axis=0).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("make", CASES)
def test_each_kind_of_model_answers_texts_as_transformers_does(tmp_path, make):
    own = make()
    bundle, _ = pack_texts(own, tmp_path)
    asked = ask_texts(own, bundle)
    assert asked.otherwise == 0
    assert asked.rows > 120


@pytest.mark.slow
def test_labels_with_several_true_ones_are_columns_with_their_names(tmp_path):
    own = classifier(problem_type="multi_label_classification")
    bundle, _ = pack_texts(own, tmp_path)
    (output,) = bundle.manifest.signature.outputs
    assert (output.name, output.columns) == ("probabilities", ("good", "bad", "neither"))


def test_a_pipeline_is_its_model_with_its_tokenizer():
    own = classifier()
    texts = open_texts(
        transformers.pipeline("text-classification", model=own.model, tokenizer=own.tokenizer), None
    )
    assert (texts.title, texts.classes) == ("BertForSequenceClassification", ("good", "bad", "neither"))
    assert texts.max_length == LENGTH


def test_a_length_that_the_tokenizer_does_not_state_is_that_of_the_model():
    config = transformers.RobertaConfig(
        vocab_size=500, max_position_embeddings=40, pad_token_id=1, hidden_size=32, num_attention_heads=2
    )
    own = made("RobertaModel", config, bytes_bpe())
    # Positions begin behind the number of the padding.
    assert open_texts(own.model, own.tokenizer).max_length == 38


def refused(error, model, tokenizer, folder, **settings):
    with pytest.raises(error) as caught:
        lading.pack(
            model, **{"tokenizer": tokenizer, "name": "m", "owner": OWNER, "samples": SAMPLES, **settings}
        )
    assert not list(folder.iterdir())
    return caught.value


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "config", "found", "hint"),
    [
        ("BertLMHeadModel", bert(is_decoder=True), "a model that generates texts", "encoder"),
        ("BertForTokenClassification", bert(), "a model of another task", "a module of your own"),
        ("BertForMaskedLM", bert(), "a model of another task", "a module of your own"),
        (
            "T5Model",
            transformers.T5Config(vocab_size=200, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2),
            "an encoder with a decoder",
            "T5EncoderModel",
        ),
    ],
    ids=["generates", "tokens", "masks", "decoder"],
)
def test_a_model_without_an_answer_to_a_text_is_refused_with_the_way_out(empty, name, config, found, hint):
    own = made(name, config, word_pieces())
    error = refused(ConverterFailed, own.model, own.tokenizer, empty)
    assert error.found == found
    assert hint in error.hint


def test_a_tokenizer_without_padding_is_refused(empty):
    own = classifier()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=own.tokenizer.backend_tokenizer)
    error = refused(ConverterFailed, own.model, tokenizer, empty)
    assert error.expected == "a token for padding"
    assert "pad_token" in error.hint


def test_a_tokenizer_that_is_python_code_is_refused(empty):
    class Slow(transformers.PythonBackend):
        vocab_size = 3

        def get_vocab(self):
            return {"[PAD]": 0, "[UNK]": 1, "a": 2}

    own = classifier()
    error = refused(ConverterFailed, own.model, Slow(pad_token="[PAD]"), empty)
    assert error.expected == "one that is saved as `tokenizer.json`"
    assert "PreTrainedTokenizerFast" in error.hint


def test_a_tokenizer_of_another_library_is_refused_with_the_class_that_wraps_it(empty):
    own = classifier()
    error = refused(ConverterFailed, own.model, own.tokenizer.backend_tokenizer, empty)
    assert error.found == "`tokenizers.Tokenizer`"
    assert "tokenizer_object" in error.hint


def test_a_tokenizer_whose_class_does_more_than_its_file_is_refused_with_a_text(empty):
    class Shouting(type(word_pieces())):
        def __call__(self, *texts, **settings):
            return super().__call__(
                *[[text.replace("a", "o") for text in each] for each in texts], **settings
            )

    own = classifier()
    tokenizer = Shouting(
        tokenizer_object=own.tokenizer.backend_tokenizer, pad_token="[PAD]", model_max_length=LENGTH
    )
    error = refused(ParityLost, own.model, tokenizer, empty)
    assert "the tokens of transformers for `" in error.expected


def test_other_steps_and_settings_are_refused_beside_a_tokenizer(empty):
    own = classifier()
    error = refused(InvalidSetting, own.model, own.tokenizer, empty, open_axes={"input_ids": 1})
    assert error.where == "`open_axes` with a tokenizer"
    error = refused(InvalidSetting, own.model, own.tokenizer, empty, pooling="mean")
    assert error.where == "`pooling`"
    error = refused(SamplesRefused, own.model, own.tokenizer, empty, samples=[1.0, 2.0])
    assert error.expected == "texts only"


@pytest.mark.slow
def test_a_model_that_sees_the_padding_is_refused_with_a_text(empty):
    config = transformers.GPT2Config(
        vocab_size=500, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=2
    )
    own = made("GPT2Model", config, bytes_bpe(bare=True, padding_side="left"))
    error = refused(ConverterFailed, own.model, own.tokenizer, empty)
    assert "among longer ones" in error.expected
    assert 'padding_side = "right"' in error.hint


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "no `tokenizer.json`"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "no `model.safetensors`",
        ),
        (
            lambda folder: changed_config(folder, architectures=["Own"], auto_map={"AutoModel": "own.Own"}),
            "the class `Own`, which is not of transformers",
        ),
        (
            lambda folder: changed_config(folder, architectures=["BertForTokenClassification"]),
            "a model of another task",
        ),
        (lambda folder: (folder / "config.json").write_text("{"), "`config.json`"),
    ],
    ids=["tokenizer", "pickle", "code", "task", "config"],
)
def test_a_folder_with_a_pickle_with_code_or_without_a_part_is_refused_unread(
    saved, empty, tmp_path_factory, change, found
):
    folder = tmp_path_factory.mktemp("changed")
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    change(folder)
    error = refused(ConverterFailed, folder, None, empty)
    assert error.found.startswith(found)
    assert not (folder / "ran").exists()


def changed_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_without_the_last_layer_is_refused_because_its_weights_would_be_random(
    empty, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("encoder")
    own = made("BertModel", bert(), word_pieces())
    own.model.save_pretrained(folder)
    own.tokenizer.save_pretrained(folder)
    changed_config(folder, architectures=["BertForSequenceClassification"])
    error = refused(ConverterFailed, folder, None, empty)
    assert error.found.startswith("no weights of `classifier.bias`")


@pytest.fixture
def sentences(tmp_path):
    """A folder as sentence-transformers writes it, and a function that writes its settings."""
    own = made("BertModel", bert(), word_pieces())
    own.model.save_pretrained(tmp_path)
    own.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()

    def write(pooling, *more, **settings):
        kinds = ["Transformer", "Pooling", *more]
        paths = ["", "1_Pooling", *more]
        modules = [
            {"type": f"sentence_transformers.models.{kind}", "path": path}
            for kind, path in zip(kinds, paths, strict=True)
        ]
        (tmp_path / "modules.json").write_text(json.dumps(modules))
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        (tmp_path / "sentence_bert_config.json").write_text(json.dumps(settings))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
    ],
    ids=["flags", "name", "last"],
)
def test_a_folder_of_sentence_transformers_pools_as_it_says(sentences, pooling, expected):
    folder = sentences(pooling, "Normalize", max_seq_length=32)
    texts = open_texts(folder, None)
    pooled = texts.core.answer({"input_ids": np.array([[2, 9, 3]]), "attention_mask": np.ones((1, 3), int)})
    steps = texts.tokens({"text": np.array(["word " * 90], dtype=object)})
    assert texts.max_length == len(steps[0]["input_ids"]) == 32
    own = own_vectors(folder, [[2, 9, 3]], expected)
    np.testing.assert_allclose(pooled["embedding"], own, rtol=1e-4, atol=1e-5)


def own_vectors(folder, ids, pooling):
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        steps = model(torch.tensor(ids)).last_hidden_state[0]
    vector = {"mean": steps.mean(0), "cls": steps[0], "last": steps[-1]}[pooling]
    return [(vector / vector.norm()).numpy()]


@pytest.mark.parametrize(
    ("pooling", "more", "found"),
    [
        ({"pooling_mode_max_tokens": True}, (), "pooling by `pooling_mode_max_tokens`"),
        ({"pooling_mode": "mean"}, ("Dense",), "the module `Dense`"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            (),
            "pooling by `pooling_mode_cls_token`, `pooling_mode_mean_tokens`",
        ),
    ],
    ids=["max", "dense", "two"],
)
def test_a_folder_of_sentence_transformers_that_computes_more_is_refused(sentences, pooling, more, found):
    with pytest.raises(ConverterFailed) as refused:
        open_texts(sentences(pooling, *more), None)
    assert refused.value.found == found


@pytest.mark.slow
def test_the_command_line_packs_a_folder(saved, tmp_path, capsys):
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps(SAMPLES))
    to = tmp_path / "b"
    words = ["pack", str(saved), "--name", "m", "--owner", OWNER, "--samples", str(samples), "-o", str(to)]
    assert main(words) == 0
    assert str(to) in capsys.readouterr().out
