"""Steps in Python around a model that becomes ONNX: packed, proved as a whole, and served."""

from __future__ import annotations

import base64
import io
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lading
from lading.bundle import Draft, write_bundle
from lading.errors import CodeNotAllowed, ConverterFailed, InvalidSetting, ValueRefused
from lading.runtime.python.host import PythonHost
from support.crashing_models import crashing_while_it_loads
from support.environments import environments  # noqa: F401 - a fixture
from support.grpc_client import ask
from support.onnx_graphs import graph, identity, node, tensor
from support.server_process import serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("environments")]

RANDOM = np.random.default_rng(5)
SIZE, CLASSES = 16, 3
IMAGES = """
import base64
import io

import numpy as np
from PIL import Image

import lading


class Thumbnails(lading.Model):
    def load(self, files):
        self.names = np.array((files / "names.txt").read_text().split(), dtype=object)

    def preprocess(self, inputs):
        return {"pixels": np.stack([self.decoded(text) for text in inputs["image"]])}

    def postprocess(self, outputs):
        scores = outputs["scores"]
        return {"label": self.names[scores.argmax(axis=1)], "scores": scores}

    def decoded(self, text):
        image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB").resize((16, 16))
        return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
"""
CLEANING = """
import unicodedata

import numpy as np

import lading


class Cleaned(lading.Model):
    def preprocess(self, inputs):
        return {"X": np.array([clean(text) for text in inputs["X"]], dtype=object)}

    def postprocess(self, outputs):
        sure = outputs["probabilities"].max(axis=1) >= 0.55
        names = np.where(outputs["label"] == 1, "praise", "complaint")
        return {"verdict": np.where(sure, names, "unsure").astype(object)}


def clean(text):
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(char for char in plain if not unicodedata.combining(char))
"""


def packed(core, steps, tmp_path, samples, name="m", **options):
    options = {"owner": "ml@example.com", "to": tmp_path / f"{name}.bundle", **options}
    return lading.pack(core, steps=steps, name=name, samples=samples, **options)


def convolution(path):
    """Write a small network with random weights: [rows, 3, 16, 16] to scores of three classes."""
    weights = {
        "w": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "dense": RANDOM.normal(size=(4, CLASSES)).astype(np.float32),
    }
    nodes = [
        node("Conv", "pixels w", "maps", kernel_shape=[3, 3], strides=[2, 2]),
        node("Relu", "maps", "positive"),
        node("GlobalAveragePool", "positive", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("MatMul", "flat dense", "scores"),
    ]
    model = graph(
        nodes,
        [tensor("pixels", "float32", "batch", 3, SIZE, SIZE)],
        [tensor("scores", "float32", "batch", CLASSES)],
        constants=weights,
    )
    path.write_bytes(model)
    return path


def jpegs(count, seed=0):
    random = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        coarse = random.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(coarse).resize((40, 30)).save(out, "JPEG")
        texts.append(base64.b64encode(out.getvalue()).decode())
    return texts


def image_bundle(module, tmp_path, count=12):
    (tmp_path / "names.txt").write_text("cat dog bird")
    return packed(
        convolution(tmp_path / "cnn.onnx"),
        module("thumbnails", IMAGES).Thumbnails,
        tmp_path,
        {"image": np.array(jpegs(count), dtype=object)},
        name="photos",
        files=[tmp_path / "names.txt"],
    )


def expected_labels(module, tmp_path, texts):
    steps = module.Thumbnails()
    steps.load(tmp_path)
    pixels = steps.preprocess({"image": texts})["pixels"]
    from support.bundles import run_model

    scores = run_model((tmp_path / "cnn.onnx").read_bytes(), {"pixels": pixels})["scores"]
    return steps.postprocess({"scores": scores})["label"].tolist()


def test_steps_around_a_network_are_packed_with_it_and_proved_as_a_whole(module, tmp_path):
    bundle = image_bundle(module, tmp_path)
    manifest = bundle.manifest
    assert (manifest.runtime, manifest.executes) == ("python", "code")
    assert manifest.steps == ("code:preprocess", "onnx", "code:postprocess")
    assert sorted(bundle.lock().versions) == ["numpy", "pillow"]
    assert [str(tensor) for tensor in manifest.signature.inputs] == ["string [batch]"]
    assert {tensor.name: str(tensor) for tensor in manifest.signature.outputs} == {
        "label": "string [batch]",
        "scores": "float32 [batch, 3]",
    }
    evidence = lading.verify(bundle, python=PythonHost(allow="code"))
    outcomes = {check.name: check.outcome for check in evidence.checks}
    assert evidence.holds
    for name in ("onnx", "opset", "session", "signature", "golden", "batch", "latency"):
        assert outcomes[name] == "passed", (name, outcomes)
    with pytest.raises(CodeNotAllowed):
        lading.predict(bundle, {"image": jpegs(1)})


def test_a_server_answers_images_in_every_protocol_and_a_bad_one_fails_alone(module, tmp_path):
    bundle = image_bundle(module, tmp_path)
    texts = jpegs(8, seed=1)
    right = expected_labels(sys.modules["thumbnails"], tmp_path, texts)
    with serving(bundle.path, flags=("--allow", "code", "--log-level", "info")) as server:
        url = f"{server.url}/models/photos/predict"
        answer = httpx.post(url, json={"data": texts, "outputs": ["label"]}, timeout=30)
        assert answer.json()["outputs"]["label"] == right
        tensors = [{"name": "image", "shape": [8], "datatype": "BYTES", "data": texts}]
        answer = httpx.post(f"{server.url}/v2/models/photos/infer", json={"inputs": tensors}, timeout=30)
        labels = next(output for output in answer.json()["outputs"] if output["name"] == "label")
        assert labels["data"] == right
        with grpc.insecure_channel(server.grpc_target()) as channel:
            contents = {"bytes_contents": [text.encode() for text in texts]}
            wire = {"name": "image", "datatype": "BYTES", "shape": [8], "contents": contents}
            message, _ = ask(channel, "ModelInfer", timeout=30, model_name="photos", inputs=[wire])
        assert [output.name for output in message.outputs] == ["label", "scores"]
        answered = message.outputs[0].contents.bytes_contents
        assert [text.decode() for text in answered] == right

        def one(text):
            return httpx.post(url, json={"data": [text], "outputs": ["label"]}, timeout=60)

        mixed = [texts[at % 8] if at % 6 else "bm8ganBlZw==" for at in range(48)]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(one, mixed))
        for at, answer in enumerate(answers):
            if at % 6:
                assert (answer.status_code, answer.json()["outputs"]["label"]) == (200, [right[at % 8]])
            else:
                assert answer.status_code == 500
                assert "UnidentifiedImageError" in answer.text


def text_pipeline():
    texts = [
        "cafe is great",
        "coffee was bad",
        "great tea",
        "bad cafe",
        "a great cake",
        "the cake was bad",
    ] * 4
    labels = [1, 0, 1, 0, 1, 0] * 4
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)


def test_texts_are_cleaned_before_a_pipeline_and_its_answers_named_after_it(module, tmp_path):
    pipeline, steps = text_pipeline(), module("cleaning", CLEANING).Cleaned
    samples = ["CAFÉ is GREAT", "the cake was bad", "TEA", "Ünknown 서울 🍰", "Great café", "BAD"]
    bundle = packed(pipeline, steps, tmp_path, samples, name="mood")
    assert bundle.manifest.steps == ("code:preprocess", "onnx", "code:postprocess")
    assert "scikit-learn" not in bundle.lock().versions
    assert bundle.manifest.expected_from.startswith("scikit-learn")
    answers = lading.predict(bundle, ["Café: GRÉAT", "Báď cake", "서울"], ["verdict"], allow="code")
    assert np.array(answers.outputs["verdict"]).tolist() == ["praise", "complaint", "unsure"]


def test_a_step_after_a_model_alone_leaves_its_inputs_and_one_before_it_its_outputs(module, tmp_path):
    x = RANDOM.normal(size=(60, 3))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, x[:, 0] > 0)
    after = module(
        "after",
        """
        import numpy as np
        import lading

        class After(lading.Model):
            def postprocess(self, outputs):
                return {"alarm": outputs["probabilities"][:, 1] > 0.9}
        """,
    ).After
    bundle = packed(model, after, tmp_path, x, name="after")
    assert bundle.manifest.steps == ("onnx", "code:postprocess")
    answers = lading.predict(bundle, x, ["alarm"], allow="code").outputs["alarm"]
    assert np.array(answers).tolist() == (model.predict_proba(x)[:, 1] > 0.9).tolist()
    before = module(
        "before",
        """
        import lading

        class Before(lading.Model):
            def preprocess(self, inputs):
                return {"X": inputs["X"] / 3}
        """,
    ).Before
    bundle = packed(model, before, tmp_path, 3 * x, name="before")
    assert bundle.manifest.steps == ("code:preprocess", "onnx")
    answers = lading.predict(bundle, 3 * x, ["probabilities"], allow="code").outputs["probabilities"]
    assert np.allclose(answers, model.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ('{"X": x.astype("int64") * 0.1}', "output `X`: expected `float32`, found `float64`"),
        ('{"X": x[:, :2].astype("float32")}', "output `X`: expected shape `[20, 3]`, found `[20, 2]`"),
        ('{"rows": x.astype("float32")}', "its outputs: expected `X`, found `rows`"),
        (
            '{"X": np.full_like(x, np.nan, dtype="float32")}',
            "input `X`: expected `float32 [batch, 3]`, found NaN at [0, 0]",
        ),
        ('{"X": x[:-1].astype("float32")}', "output `X`: expected shape `[20, 3]`, found `[19, 3]`"),
    ],
)
def test_what_a_model_does_not_take_is_refused_with_the_name_of_the_step(module, tmp_path, answer, sentence):
    source = f"""
    import numpy as np
    import lading

    class Wrong(lading.Model):
        def preprocess(self, inputs):
            x = inputs["X"]
            return {answer}
    """
    core = relu(tmp_path / "core.onnx")
    with pytest.raises(ConverterFailed) as refused:
        packed(core, module("wrong", source).Wrong, tmp_path, RANDOM.normal(size=(20, 3)))
    assert "`preprocess` of `Wrong`" in str(refused.value)
    assert sentence in str(refused.value)
    assert not (tmp_path / "m.bundle").exists()


def relu(path):
    path.write_bytes(
        graph(
            [node("Relu", "X", "Y")],
            [tensor("X", "float32", "batch", 3)],
            [tensor("Y", "float32", "batch", 3)],
        )
    )
    return path


def test_a_class_that_predicts_has_no_place_around_another_model(module, tmp_path):
    source = """
    import lading

    class Both(lading.Model):
        def preprocess(self, inputs):
            return inputs

        def predict(self, inputs):
            return inputs

    class Neither(lading.Model):
        pass
    """
    both = module("both", source)
    for steps, sentence in (
        (both.Both, "expected no `predict`, as the model between the steps predicts, found `predict`"),
        (both.Neither, "expected `preprocess` or `postprocess`, found neither"),
        (dict, "expected a class derived from `lading.Model`"),
    ):
        with pytest.raises(InvalidSetting, match=sentence):
            packed(relu(tmp_path / "core.onnx"), steps, tmp_path, RANDOM.normal(size=(20, 3)))
    with pytest.raises(InvalidSetting, match="found the code of `Both`"):
        packed(both.Both, both.Neither, tmp_path, RANDOM.normal(size=(20, 3)))


@pytest.mark.parametrize(("step", "values"), [("preprocess", "inputs"), ("postprocess", "outputs")])
def test_steps_that_draw_numbers_are_refused(module, tmp_path, step, values):
    source = f"""
    import numpy as np
    import lading

    class Random(lading.Model):
        def {step}(self, {values}):
            drawn = np.random.default_rng().normal(size=(1, 3)).astype(np.float32)
            return {{name: (value + drawn).astype(np.float32) for name, value in {values}.items()}}
    """
    with pytest.raises(ConverterFailed, match=f"`{step}` of `Random`: .* found another one the second time"):
        packed(
            relu(tmp_path / "core.onnx"),
            module("drawing", source).Random,
            tmp_path,
            RANDOM.normal(size=(20, 3)),
        )


def test_a_step_that_needs_what_another_kept_is_refused(module, tmp_path):
    source = """
    import lading

    class Keeping(lading.Model):
        def preprocess(self, inputs):
            self.mean = inputs["X"].mean(axis=1, keepdims=True)
            return {"X": (inputs["X"] - self.mean).astype("float32")}

        def postprocess(self, outputs):
            return {"Y": outputs["Y"] + self.mean}
    """
    with pytest.raises(ConverterFailed, match=r"`postprocess` of `Keeping`: .*no attribute 'mean'"):
        packed(
            relu(tmp_path / "core.onnx"),
            module("keeping", source).Keeping,
            tmp_path,
            RANDOM.normal(size=(20, 3)),
        )


def test_a_value_that_was_not_proved_is_refused_between_the_steps(module, tmp_path):
    source = """
    import numpy as np
    import lading

    class Logs(lading.Model):
        def preprocess(self, inputs):
            with np.errstate(all="ignore"):
                return {"X": np.log(inputs["X"]).astype(np.float32)}
    """
    samples = np.abs(RANDOM.normal(size=(20, 3))) + 0.1
    bundle = packed(relu(tmp_path / "core.onnx"), module("logs", source).Logs, tmp_path, samples)
    with pytest.raises(ValueRefused, match=r"what `preprocess` makes of this request, input `X`: .*NaN"):
        lading.predict(bundle, [[1.0, 2.0, -1.0]], allow="code")


def test_a_server_outlives_an_onnx_model_that_crashes_between_steps(module, tmp_path):
    source = """
    import lading

    class Same(lading.Model):
        def preprocess(self, inputs):
            return {"X": inputs["X"].astype("float32")}
    """
    core = tmp_path / "core.onnx"
    core.write_bytes(identity("float32", "batch", 4))
    good = packed(core, module("same", source).Same, tmp_path, RANDOM.normal(size=(20, 4)), name="good")
    manifest = good.manifest
    draft = Draft(**{key: getattr(manifest, key) for key in Draft.__struct_fields__} | {"name": "bad"})
    crashing = write_bundle(
        tmp_path / "bad.bundle",
        draft,
        model=crashing_while_it_loads(),
        samples=good.samples(),
        requirements="",
        more={name: good.path / name for name in manifest.files if "/" in name or name.endswith(".lock")},
    )
    with serving(crashing.path, good.path, flags=("--allow", "code"), ready=False) as server:
        server.wait_until(lambda: "SIGSEGV (11)" in server.log, 60)
        url = f"{server.url}/models/good/predict"
        server.wait_until(lambda: httpx.post(url, json={"data": [[1, 2, 3, 4]]}).status_code == 200, 60)
        assert "SIGSEGV (11)" in httpx.get(f"{server.url}/health").text
        assert server.stop() == 0
