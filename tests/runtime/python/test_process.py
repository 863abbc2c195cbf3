"""A process that runs a model's own code: what the code may be, and what it may do."""

from __future__ import annotations

import json
import logging
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from lading.errors import (
    DeadlineExceeded,
    ModelCodeFailed,
    ModelInvalid,
    ModelOutputInvalid,
    ModelProcessEnded,
    RunFailed,
)
from lading.runtime.python.process import ModelProcess, process_environment
from lading.signature import Tensor
from support.model_code import DOUBLE, model_code, tensor
from support.waiting import wait_until

X = np.arange(8, dtype="f4").reshape(2, 4)
SOON_S = 60.0  # only a defect takes as long


class Started:
    """Processes of one test; closed in its end."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[ModelProcess] = []

    def __call__(self, source: str = DOUBLE, **changes) -> ModelProcess:
        process = ModelProcess(model_code(self.folder, source, **changes))
        self.processes.append(process)
        process.load(SOON_S)
        return process


@pytest.fixture
def started(tmp_path):
    start = Started(tmp_path)
    yield start
    for process in start.processes:
        process.close()


def run(process: ModelProcess, x=X, **keywords):
    return process.run({"x": x}, SOON_S, **keywords)["y"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- what the code may be ---


def test_a_class_answers(started):
    np.testing.assert_array_equal(run(started()), X * 2)


def test_a_class_loads_its_files_once(started, tmp_path):
    source = """
        import lading, numpy as np

        class M(lading.Model):
            def load(self, files):
                self.weights = np.load(files / "w.npy")
                print("loaded")

            def predict(self, inputs):
                return {"y": inputs["x"] * self.weights}
    """
    (tmp_path / "files").mkdir()
    np.save(tmp_path / "files" / "w.npy", np.float32([1, 2, 3, 4]))
    process = started(source)
    np.testing.assert_array_equal(run(process), X * [1, 2, 3, 4])
    np.testing.assert_array_equal(run(process), X * [1, 2, 3, 4])


STEPS = """
    import lading

    class M(lading.Model):
        def preprocess(self, inputs):
            return {"pixels": inputs["x"] + 1}

        def predict(self, inputs):
            return {"raw": inputs["pixels"] * 10}

        def postprocess(self, outputs):
            return {"y": outputs["raw"] - 1}
"""


def test_all_steps_run_one_after_the_other(started):
    process = started(STEPS, steps=("preprocess", "predict", "postprocess"))
    np.testing.assert_array_equal(run(process), (X + 1) * 10 - 1)


def test_steps_around_another_model_run_alone_and_are_checked(started):
    source = STEPS.replace("def predict", "def other")
    process = started(source, steps=("preprocess", "postprocess"), preprocessed=(tensor("pixels"),))
    pixels = process.run({"x": X}, SOON_S, steps=["preprocess"])
    np.testing.assert_array_equal(pixels["pixels"], X + 1)
    y = process.run({"raw": X}, SOON_S, steps=["postprocess"])["y"]
    np.testing.assert_array_equal(y, X - 1)
    with pytest.raises(ModelOutputInvalid, match="shape"):
        process.run({"raw": X[:, :2]}, SOON_S, steps=["postprocess"])


@pytest.mark.slow
@pytest.mark.parametrize("steps", [("predict",), ("preprocess", "predict"), ("preprocess", "postprocess")])
def test_a_step_that_the_bundle_does_not_name_is_not_left_out_in_silence(started, steps):
    with pytest.raises(
        ModelInvalid, match=r"expected the steps .*, found `preprocess`, `predict`, `postprocess`"
    ):
        started(STEPS, steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "def M(inputs): return {'y': inputs['x'] * 2}",
        "def M(x): return {'y': x * 2}",
        "def M(x, scale=2): return x * scale",
        "def M(**inputs): return inputs['x'] * 2",
        "M = lambda rows: rows['x'] * 2",
        "class M:\n    def predict(self, inputs): return inputs['x'] * 2",
        "class M:\n    def load(self, files): self.k = 2\n    def predict(self, x): return x * self.k",
        "class A:\n    def predict(self, x): return x * 2\nM = A()",
        "class A:\n    class B:\n        def predict(self, x): return x * 2\nM = A",
    ],
)
def test_functions_and_objects_with_predict_answer(started, source):
    entry = "model:M.B" if "class B" in source else "model:M"
    np.testing.assert_array_equal(run(started(source, entry=entry)), X * 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        ("def M(a, b): return a", "expected one parameter, or those named as the inputs: `x`"),
        ("def M(): return 1", "one parameter"),
        ("M = 5", "expected a class with `predict`, or a function, found int 5"),
        ("import lading\nclass M(lading.Model): pass", "expected the steps `predict`"),
        ("", "expected `M` in the module `model`"),
    ],
)
def test_code_that_cannot_be_called_is_refused_when_it_is_loaded(started, source, refusal):
    with pytest.raises(ModelInvalid, match=refusal):
        started(source)


def test_two_inputs_are_passed_by_their_names(started):
    process = started(
        "def M(b, a): return {'y': a - b}",
        inputs=(tensor("a", "batch"), tensor("b", "batch")),
        outputs=(tensor("y", "batch"),),
    )
    outputs = process.run({"a": np.float32([3]), "b": np.float32([1])}, SOON_S)
    assert outputs["y"].tolist() == [2]


def test_only_the_outputs_that_were_asked_for_come_back(started):
    outputs = (tensor("y"), tensor("z"))
    process = started("def M(x): return {'z': x, 'y': x * 2}", outputs=outputs)
    assert [*process.run({"x": X}, SOON_S)] == ["y", "z"]
    assert [*process.run({"x": X}, SOON_S, outputs=["z"])] == ["z"]


def test_texts_go_in_and_come_out(started):
    source = "def M(x): return [text[::-1] for text in x]"
    process = started(
        source,
        inputs=(tensor("x", "batch", dtype="string"),),
        outputs=(tensor("y", "batch", dtype="string"),),
    )
    assert run(process, np.array(["né", "한글", ""], object)).tolist() == ["én", "글한", ""]


def test_an_exception_while_loading_is_the_error_and_its_traceback_is_in_the_log(started, caplog):
    with pytest.raises(ModelCodeFailed, match="found ModuleNotFoundError: No module named 'lightning_rod'"):
        started("import lightning_rod")
    assert 'model.py", line 1' in caplog.text


def test_more_of_lading_than_the_model_class_is_not_in_a_model_process(started):
    with pytest.raises(ModelCodeFailed, match="in a model's environment it has `Model` only"):
        started("import lading\nlading.pack")


# --- stored objects ---


def stored(folder: Path, kind: str, model, **settings) -> dict:
    files = folder / "files"
    files.mkdir(exist_ok=True)
    path = files / f"model.{kind}"
    if kind == "skops":
        import skops.io

        skops.io.dump(model, path)
    elif kind == "joblib":
        joblib.dump(model, path)
    else:
        path.write_bytes(pickle.dumps(model))
    (files / "model.json").write_text(json.dumps(settings))
    return {"code": None, "entry": f"lading:{kind}"}


ROWS = np.random.default_rng(5).normal(size=(60, 4)).astype("f4")
LABELS = np.where(ROWS[:, 0] > 0, "yes", "no")
BOTH = {"predict": ["label"], "predict_proba": ["probabilities"]}
BOTH_OUTPUTS = (
    tensor("label", "batch", dtype="string"),
    tensor("probabilities", "batch", 2, dtype="float64"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["skops", "joblib", "pickle"])
def test_a_stored_classifier_answers_labels_and_probabilities(started, tmp_path, kind):
    model = LogisticRegression().fit(ROWS, LABELS)
    changes = stored(tmp_path, kind, model, call=BOTH)
    process = started(**changes, outputs=BOTH_OUTPUTS)
    answers = process.run({"x": ROWS}, SOON_S)
    assert answers["label"].tolist() == model.predict(ROWS).tolist()
    np.testing.assert_array_equal(answers["probabilities"], model.predict_proba(ROWS))
    assert [*process.run({"x": ROWS}, SOON_S, outputs=["label"])] == ["label"]


@pytest.mark.slow
def test_a_skops_file_with_a_type_that_is_not_trusted_is_refused(started, tmp_path):
    from sklearn.tree import DecisionTreeClassifier

    changes = stored(tmp_path, "skops", DecisionTreeClassifier().fit(ROWS, LABELS), call=BOTH)
    with pytest.raises(ModelCodeFailed, match=r"UntrustedTypesFoundException.*_tree.Tree"):
        started(**changes, outputs=BOTH_OUTPUTS)
    changes = stored(
        tmp_path,
        "skops",
        DecisionTreeClassifier().fit(ROWS, LABELS),
        call=BOTH,
        trusted=["sklearn.tree._tree.Tree"],
    )
    assert len(started(**changes, outputs=BOTH_OUTPUTS).run({"x": ROWS}, SOON_S)["label"]) == 60


@pytest.mark.slow
def test_a_skops_file_of_a_vectorizer_that_reads_files_which_requests_name_is_refused(started, tmp_path):
    from sklearn.feature_extraction.text import CountVectorizer

    (tmp_path / "secret").write_text("word")
    reader = CountVectorizer(input="filename").fit([str(tmp_path / "secret")])
    changes = stored(tmp_path, "skops", make_pipeline(reader), call={"transform": ["features"]}, flat=True)
    inputs = (tensor("text", "batch", dtype="string"),)
    with pytest.raises(ModelInvalid, match="`CountVectorizer` of `churn`: expected an estimator of texts"):
        started(**changes, inputs=inputs, outputs=(tensor("features", "batch", 1, dtype="int64"),))


@pytest.mark.slow
def test_a_model_of_data_frames_gets_its_columns_by_name(started, tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"age": [20.0, 30, 40, 50], "city": ["Seoul", "Köln", "Seoul", "Köln"]})
    from sklearn.compose import ColumnTransformer

    encode = ColumnTransformer([("c", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(frame, [0, 1, 1, 0])
    changes = stored(tmp_path, "joblib", model, call={"predict_proba": ["p"]}, columns=["age", "city"])
    inputs = (tensor("city", "batch", 1, dtype="string"), tensor("age", "batch", dtype="float64"))
    process = started(**changes, inputs=inputs, outputs=(tensor("p", "batch", 2, dtype="float64"),))
    cities = frame[["city"]].to_numpy(object)
    answer = process.run({"city": cities, "age": frame["age"].to_numpy()}, SOON_S)
    np.testing.assert_array_equal(answer["p"], model.predict_proba(frame))


@pytest.mark.slow
def test_columns_of_one_input_become_columns_of_the_frame_in_the_order_of_training(started, tmp_path):
    import pandas as pd

    model = LogisticRegression().fit(pd.DataFrame(ROWS, columns=[*"abcd"]), LABELS)
    changes = stored(tmp_path, "joblib", model, call={"predict_proba": ["p"]}, columns=[*"abcd"])
    mixed = Tensor(name="x", dtype="float32", shape=("batch", 4), columns=("d", "a", "c", "b"))
    process = started(**changes, inputs=(mixed,), outputs=(tensor("p", "batch", 2, dtype="float64"),))
    answer = process.run({"x": ROWS[:, [3, 0, 2, 1]]}, SOON_S)["p"]
    np.testing.assert_array_equal(answer, model.predict_proba(pd.DataFrame(ROWS, columns=[*"abcd"])))


@pytest.mark.slow
def test_a_model_of_texts_gets_them_as_a_list_and_sparse_answers_are_dense(started, tmp_path):
    texts = np.array(["one two", "two three", "한글"], object)
    model = TfidfVectorizer().fit(texts)
    changes = stored(tmp_path, "joblib", model, call={"transform": ["features"]}, flat=True)
    outputs = (tensor("features", "batch", len(model.vocabulary_), dtype="float64"),)
    process = started(**changes, inputs=(tensor("x", "batch", 1, dtype="string"),), outputs=outputs)
    answer = process.run({"x": texts[:, None]}, SOON_S)
    np.testing.assert_array_equal(answer["features"], model.transform(texts).toarray())


@pytest.mark.slow
def test_one_array_per_target_becomes_one_array(started, tmp_path):
    targets = np.stack([ROWS[:, 0] > 0, ROWS[:, 1] > 0], axis=1).astype(int)
    model = MultiOutputClassifier(LogisticRegression()).fit(ROWS, targets)
    changes = stored(tmp_path, "joblib", model, call={"predict_proba": ["p"]})
    process = started(**changes, outputs=(tensor("p", "batch", 2, 2, dtype="float64"),))
    answer = process.run({"x": ROWS}, SOON_S)["p"]
    np.testing.assert_array_equal(answer, np.stack(model.predict_proba(ROWS), axis=1))


@pytest.mark.slow
def test_a_method_that_returns_a_tuple_gives_several_outputs(started, tmp_path):
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=3).fit(ROWS)
    changes = stored(tmp_path, "joblib", model, call={"kneighbors": ["distances", "rows"]})
    outputs = (tensor("distances", "batch", 3, dtype="float64"), tensor("rows", "batch", 3, dtype="int64"))
    answer = started(**changes, outputs=outputs).run({"x": ROWS}, SOON_S)
    np.testing.assert_array_equal(answer["rows"], model.kneighbors(ROWS)[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({}, "files/model.json"),
        ({"call": BOTH, "colums": []}, "files/model.json"),
        ({"call": {"predict_log_odds": ["label"]}}, "expected a method `predict_log_odds`"),
    ],
)
def test_a_stored_object_that_cannot_be_called_so_is_refused(started, tmp_path, settings, refusal):
    changes = stored(tmp_path, "joblib", LogisticRegression().fit(ROWS, LABELS), **settings)
    with pytest.raises(ModelInvalid, match=refusal):
        started(**changes, outputs=BOTH_OUTPUTS)


# --- what the code may do ---


def test_an_exception_fails_one_call_and_its_traceback_is_in_the_log_only(started, caplog):
    process = started(
        "def M(x):\n    if (x < 0).any():\n        raise ValueError(f'row of {x.min()}')\n    return x"
    )
    with pytest.raises(ModelCodeFailed, match=r"found ValueError: row of -1.0") as caught:
        run(process, -np.ones((1, 4), "f4"))
    assert "model.py" not in str(caught.value)
    assert 'model.py", line 3' in caplog.text
    np.testing.assert_array_equal(run(process), X)


def test_of_many_exceptions_some_have_their_traceback_in_the_log(started, caplog):
    process = started("def M(x): raise ValueError('no')")
    for _ in range(30):
        with pytest.raises(ModelCodeFailed, match="found ValueError: no"):
            run(process)
    assert 10 <= caplog.text.count("Traceback") < 25


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement", ["sys.exit(3)", "raise KeyboardInterrupt", "raise RuntimeError('\\ud800' * 9000)"]
)
def test_every_exception_is_answered(started, statement):
    process = started(f"import sys\ndef M(x):\n    if x[0, 0] < 0:\n        {statement}\n    return x")
    with pytest.raises(ModelCodeFailed) as caught:
        run(process, -np.ones((1, 4), "f4"))
    assert len(str(caught.value)) < 5000
    np.testing.assert_array_equal(run(process), X)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "expected", "found"),
    [
        ("{'z': x}", "`y`", "`z`"),
        ("{'y': x, 'z': x}", "`y`", "`y`, `z`"),
        ("{}", "`y`", "none"),
        ("{'y': x.astype('f8') + 0.1}", "`float32`", "`float64`"),
        ("{'y': x[:1]}", r"\[2, 4\]", r"\[1, 4\]"),
        ("{'y': np.array([[None, 1, 2, float('nan')]] * 2, object)}", "`float32`", "`object`"),
        ("{'y': object()}", r"\[2, 4\]", r"\[\]"),
        ("None", r"\[2, 4\]", r"\[\]"),
    ],
)
def test_an_answer_unlike_the_signature_is_refused_with_its_name(started, answer, expected, found):
    process = started(f"import numpy as np\ndef M(x): return {answer}")
    with pytest.raises(ModelOutputInvalid, match=f"expected .*{expected}.*, found .*{found}"):
        run(process)


def test_outputs_of_more_bytes_than_allowed_are_refused_and_the_process_goes_on(started):
    source = (
        "import numpy as np\ndef M(x): return np.zeros((len(x), 4 if x[0, 0] >= 0 else 10_000_000), 'f4')"
    )
    process = started(source, outputs=(tensor("y", "batch", "n"),), most_output_bytes=1_000_000)
    with pytest.raises(ModelOutputInvalid, match="expected 1 MB at most, found 40 MB"):
        run(process, -np.ones((1, 4), "f4"))
    assert run(process).shape == (2, 4)


def ending(process: ModelProcess) -> str:
    with pytest.raises(ModelProcessEnded) as caught:
        run(process)
    assert process.has_ended
    return caught.value.found or ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "SIGKILL (9)"),
        ("os.kill(os.getpid(), 15)", "SIGTERM (15)"),
        ("os.abort()", "SIGABRT (6)"),
        ("ctypes.string_at(0)", "SIGSEGV (11)"),
        ("os.closerange(0, 1000)", "exit code"),
        ("os.close(int(sys.argv[1])); threading.Event().wait()", "that it has closed its connection"),
        ("os.write(int(sys.argv[1]), b'HTTP/1.1 200 OK' * 9)", "a message that begins with"),
        ("os.write(int(sys.argv[1]), b'?')", "a message that begins with"),
    ],
)
def test_code_that_ends_its_process_is_an_error_that_says_how(started, statement, found):
    process = started(f"import ctypes, os, sys, threading\ndef M(x):\n    {statement}\n    return x")
    assert found in ending(process)


@pytest.mark.slow
def test_a_crash_in_native_code_shows_in_the_log_where_it_was(started, caplog):
    caplog.set_level(logging.INFO, "lading.model")
    process = started("import ctypes\ndef M(x):\n    ctypes.string_at(0)")
    ending(process)
    process.close()
    assert "Segmentation fault" in caplog.text
    assert 'model.py", line 3 in M' in caplog.text


@pytest.mark.slow
def test_code_that_hangs_is_ended_at_the_deadline(started):
    process = started("import threading\ndef M(x): threading.Event().wait()")
    with pytest.raises(DeadlineExceeded, match=r"expected an end within 0.2 s"):
        process.run({"x": X}, 0.2)
    assert not is_running(process.pid)


def test_code_that_hangs_without_reading_large_inputs_is_ended_at_the_deadline(started):
    process = started()
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        process.run({"x": np.ones((2, 4), "f4"), "z": np.ones(1 << 24, "u1")}, 0.2)
    assert not is_running(process.pid)


def test_a_call_in_flight_ends_when_another_thread_kills_the_process(started):
    process = started("import threading\ndef M(x):\n    print('began')\n    threading.Event().wait()")
    thread = threading.Timer(0.1, process.kill, [RunFailed("the run", found="no end")])
    thread.start()
    with pytest.raises(RunFailed, match="found no end"):
        run(process)


LEAK = """
    import numpy as np

    kept = []

    def M(x):
        kept.append(np.ones(20_000_000, "u1"))
        return x
"""


@pytest.mark.slow
def test_code_that_leaks_is_ended_at_its_memory_limit(started):
    process = started(LEAK, memory_bytes=400_000_000)

    def leak():
        for _ in range(40):
            run(process)

    with pytest.raises(ModelProcessEnded, match="expected to fit into 400 MB, found no memory left"):
        leak()
    assert not is_running(process.pid)


@pytest.mark.slow
def test_scikit_learn_fits_into_a_limit_of_half_a_gigabyte(started, tmp_path):
    model = LogisticRegression().fit(ROWS, LABELS)
    changes = stored(tmp_path, "joblib", model, call=BOTH)
    process = started(**changes, outputs=BOTH_OUTPUTS, memory_bytes=512_000_000)
    assert len(process.run({"x": ROWS}, SOON_S)["label"]) == 60


@pytest.mark.slow
def test_printing_100_mb_neither_blocks_the_code_nor_fills_the_log(started, caplog):
    caplog.set_level(logging.INFO, "lading.model")
    source = """
        import sys

        def M(x):
            text = "x" * 99 + "\\n"
            for _ in range(1000):
                sys.stdout.write(text * 1000)
            return x
    """
    process = started(source)
    np.testing.assert_array_equal(run(process), X)
    process.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "lading.model"]
    assert "churn: " + "x" * 99 in lines
    assert len(lines) < 1000
    dropped = sum(int(line.split()[1]) for line in lines if "more lines of its output are left out" in line)
    assert dropped + sum(line.endswith("x" * 99) for line in lines) == 1_000_000


def test_what_children_and_native_code_print_is_logged_with_the_name(started, caplog):
    caplog.set_level(logging.INFO, "lading.model")
    source = """
        import os, subprocess, sys

        def M(x):
            os.write(1, b"native \\xff \\x1b[31m\\n")
            subprocess.run([sys.executable, "-c", "print('child')"])
            print("last", end="", file=sys.stderr)
            return x
    """
    process = started(source)
    run(process)
    process.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "lading.model"]
    assert lines == ["churn: native \\xff \\x1b[31m", "churn: child", "churn: last"]


FORK = """
    import os, subprocess, sys, time

    def M(x):
        {fork}
        return x
"""
FORKS = {
    "fork": "child = os.fork()\n        if not child:\n            time.sleep(600)",
    "fork that returns": "child = os.fork()\n        if not child: return x * 5",
    "fork and exit": "child = os.fork()\n        if not child: os._exit(0)",
    "exec": "subprocess.Popen(['sleep', '600'], close_fds=False)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORKS)
def test_code_may_fork_and_its_children_disturb_nothing_and_end_with_it(started, name):
    process = started(FORK.format(fork=FORKS[name]))
    for _ in range(3):
        np.testing.assert_array_equal(run(process), X)
    group = process.pid
    process.close()
    wait_until(lambda: not processes_of_group(group), what="a child of the model is left")


def processes_of_group(group: int) -> list[int]:
    """Return the processes of a group that are no zombies."""
    output = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in output.splitlines()[1:]]
    return [int(pid) for pid, own, state in rows if int(own) == group and not state.startswith("Z")]


@pytest.mark.slow
def test_a_child_that_has_left_the_group_does_not_keep_a_call_waiting_when_the_process_ends(started):
    source = """
        import os, subprocess

        def M(x):
            child = subprocess.Popen(["sleep", "30"], start_new_session=True)
            print("child", child.pid)
            os._exit(4)
    """
    process = started(source)
    assert ending(process) == "exit code 4"
    process.close()  # The child has the pipe for the output, still.


def test_code_may_delete_its_own_folders(started, tmp_path):
    source = "import os, shutil\ndef M(x):\n    shutil.rmtree(os.environ['HOME'])\n    return x"
    process = started(source)
    np.testing.assert_array_equal(run(process), X)
    process.close()


def test_the_process_has_none_of_the_secrets_and_files_of_the_server(started, monkeypatch, tmp_path):
    for name in ("AWS_SECRET_ACCESS_KEY", "LADING_KEY", "GITHUB_TOKEN", "PYTHONPATH", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    source = """
        import json, os

        def M(x):
            paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
            open_files = [os.readlink(path) for path in paths if os.path.islink(path)]
            leads = os.getsid(0) == os.getpid()
            return [json.dumps([dict(os.environ), os.getcwd(), open_files, leads])] * len(x)
    """
    secret = tmp_path / "secret"
    secret.touch()
    with secret.open() as opened:
        os.set_inheritable(opened.fileno(), True)
        process = started(source, outputs=(tensor("y", "batch", dtype="string"),), threads=3)
        environment, folder, descriptors, leads = json.loads(run(process)[0])
    assert "secret" not in str(environment.values())
    assert environment == process_environment(process.settings, folder)
    assert environment["OMP_NUM_THREADS"] == "3"
    # What chooses the kernels of libraries: with others its last bits would not be those of this process.
    assert environment["OPENBLAS_CORETYPE"] == "Haswell"
    assert environment["HOME"] == folder
    assert leads
    assert [path for path in descriptors if "secret" in path] == []
    assert sum(path.startswith("socket:") for path in descriptors) == 1
    process.close()
    assert not Path(folder).exists()


def test_nothing_is_written_beside_the_code(started, tmp_path):
    run(started())
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["model.py"]


@pytest.mark.slow
def test_a_process_ends_with_the_thread_that_started_it(tmp_path):
    made = []
    thread = threading.Thread(target=lambda: made.append(ModelProcess(model_code(tmp_path, DOUBLE))))
    thread.start()
    thread.join()
    # The signal is set by the process itself, once it has begun; before that, it ends with the connection.
    made[0].close(patience_s=SOON_S)
    assert made[0].wait() in (0, -signal.SIGKILL)


@pytest.mark.slow
def test_a_process_ends_when_its_parent_is_killed(tmp_path):
    code = f"""
import sys, threading
sys.path[:0] = {sys.path!r}
from pathlib import Path
from support.model_code import model_code
from lading.runtime.python.process import ModelProcess
source = "import threading\\ndef M(x): threading.Event().wait()"
process = ModelProcess(model_code(Path({str(tmp_path)!r}), source))
process.load(60)
import numpy
print(process.pid, flush=True)
process.run({{"x": numpy.ones((1, 4), "f4")}}, 600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_running(pid), what="the model process outlives its parent")


def test_a_process_that_has_nothing_to_do_answers_a_ping(started):
    process = started()
    process.ping(SOON_S)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ModelProcessEnded, match="SIGKILL"):
        process.ping(SOON_S)


def test_closing_lets_the_code_run_what_it_has_registered(started, tmp_path):
    end = str(tmp_path / "end")
    source = f"import atexit, pathlib\natexit.register(pathlib.Path({end!r}).touch)\ndef M(x): return x"
    process = started(source)
    process.close()
    assert (tmp_path / "end").exists()
    process.close()


def test_an_interpreter_that_does_not_exist_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ModelProcessEnded, match="/gone/python` to start, found No such file"):
        ModelProcess(model_code(tmp_path, DOUBLE, interpreter=Path("/gone/python")))


def test_a_process_leaves_no_descriptors_and_threads_behind(tmp_path):
    def counts():
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    before = counts()
    process = ModelProcess(model_code(tmp_path, DOUBLE))
    process.load(SOON_S)
    process.run({"x": np.ones((100_000, 4), "f4")}, SOON_S)
    process.close()
    del process
    assert counts() == before


@pytest.mark.parametrize(
    "header", [{"error": []}, {"error": {"kind": 5}}, {"error": {"kind": "joke"}}, {"error": {}}]
)
def test_an_error_that_the_process_makes_up_is_an_answer_that_cannot_be_read(started, header):
    text = json.dumps(header | {"arrays": []}).encode()
    forged = struct.pack("<4sIQ", b"ldg1", len(text), 0) + text
    source = FORGES.format(forged=forged)
    assert "error" in ending(started(source))


FORGES = """
    import os, sys, threading

    def M(x):
        os.write(int(sys.argv[1]), {forged!r})
        threading.Event().wait()
"""


def test_outputs_that_the_process_makes_up_are_refused(started):
    text = json.dumps({"arrays": [["z", "bool", [1], 1]]}).encode()
    forged = struct.pack("<4sIQ", b"ldg1", len(text), 1) + text + b"1"
    source = FORGES.format(forged=forged)
    assert ending(started(source)) == "outputs that it was not asked for"


@pytest.mark.slow
def test_inputs_beyond_the_memory_limit_are_an_error_that_says_so(started):
    process = started(memory_bytes=300_000_000)
    with pytest.raises(ModelProcessEnded, match="found no memory left"):
        run(process, np.ones((25_000_000, 4), "f4"))


@pytest.mark.slow
def test_without_descriptors_no_process_is_left_behind(tmp_path):
    settings, before = model_code(tmp_path, DOUBLE), set(os.listdir("/proc"))  # noqa: PTH208
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
    gaps = []  # The limit is on numbers, and the lowest free one is taken: those below `used` are none.
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) < used:
        gaps.append(descriptor)
    os.close(descriptor)
    refusals = []
    for free in range(2, 12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + free, hard))
        try:
            ModelProcess(settings).close()
        except ModelProcessEnded as error:
            refusals.append(error.found)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for descriptor in gaps:
        os.close(descriptor)
    assert 3 < len(refusals) < 10
    assert set(refusals) == {"Too many open files"}
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    assert [pid for pid in children if pid not in before] == []
