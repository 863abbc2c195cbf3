"""The main story: an .onnx file becomes a proved, running service, is asked, and drains."""

from __future__ import annotations

import json

import pytest

from support.server_process import serving

ROW = "[[5.1, 3.5, 1.4, 0.2]]"
PACK = (
    "lading pack $DATA/iris_svc.onnx --name iris --labels $DATA/label.json"
    " --owner ml@example.com --purpose classification --metric accuracy=0.97"
)


@pytest.mark.slow
def test_a_file_is_packed_inspected_verified_pushed_served_asked_and_drained(shell):
    shell.write("rows.json", ROW)

    packed = shell.must(PACK)
    assert packed.out == "iris.bundle\n"
    assert "golden samples:" in packed.stderr
    assert "next: lading verify iris.bundle && lading push iris.bundle" in packed.stderr

    inspected = shell.must("lading inspect iris.bundle --json").json
    assert inspected["manifest"]["labels"]["0"] == "setosa"
    assert inspected["manifest"]["metrics"] == {"accuracy": 0.97}

    verified = shell.must("lading verify iris.bundle")
    assert "failed" not in verified.out
    assert "golden" in verified.out

    assert shell.must("lading push iris.bundle --tag stable").out == "iris:1\n"
    assert "iris:1" in shell.must("lading list").out
    assert inspected["digest"] in shell.must("lading show iris:stable").out

    assert shell.must("lading verify iris:1 --json").json["holds"] is True
    matrix = shell.must("lading matrix").out.splitlines()
    assert matrix[0].startswith("ref")
    assert matrix[1].split() == ["iris:1", "no", "–", "holds"]
    assert shell.must("lading matrix --json").json["evidence"][0]["bundle"] == inspected["digest"]

    here = json.loads(shell.must("lading predict iris:1 --input rows.json").out)
    assert here == pytest.approx([0.97093, 0.01558, 0.01348], abs=1e-5)
    assert shell.must("lading predict iris:stable -i rows.json --json").json["model"] == "iris:1"
    assert shell.must("lading predict iris:1 --input rows.json --label").out == '"setosa"\n'

    with serving("iris:1", environ=shell.environ) as server:
        asked = shell.must(f"lading predict {server.url} --input rows.json --json").json
        assert asked["prediction"] == [here]
        assert (asked["model"], asked["digest"]) == ("iris:1", inspected["digest"])
        by_label = shell.must(f"lading predict {server.url} --model iris:stable --input rows.json --label")
        assert by_label.out == '"setosa"\n'
        curl = f"curl -s -H 'content-type: application/json' -d '{{\"data\": {ROW}}}' {server.url}/predict"
        assert shell.must(curl).json["prediction"] == here
        assert server.stop() == 0


@pytest.mark.slow
def test_pack_and_push_can_be_combined_in_one_line(shell):
    assert shell.must(f'lading push "$({PACK})"').out == "iris:1\n"
    assert shell.must(f'lading push "$({PACK} -o again)"').out == "iris:1\n", (
        "the same model, the same digest"
    )


@pytest.mark.slow
def test_a_bundle_is_served_from_its_directory_without_a_registry(shell):
    shell.must(PACK)
    shell.write("rows.csv", "5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n")
    nowhere = {**shell.environ, "LADING_REGISTRY": "", "HOME": str(shell.folder)}
    with serving(shell.folder / "iris.bundle", environ=nowhere) as server:
        asked = shell.must(f"lading predict {server.url} --input rows.csv --label").out
        assert asked == '"setosa"\n"virginica"\n'
        assert server.stop() == 0
    assert not (shell.folder / "registry").exists()
    assert not (shell.folder / ".lading" / "catalog.db").exists()


@pytest.mark.slow
def test_a_python_object_is_packed_from_a_module_in_the_current_folder(shell):
    shell.write(
        "train.py",
        "from sklearn.datasets import load_iris\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "data = load_iris(as_frame=True)\n"
        "rows = data.data\n"
        "rows.to_csv('rows.csv', index=False)\n"
        "model = LogisticRegression(max_iter=500).fit(rows, data.target)\n",
    )
    shell.must("python train.py")
    what = "--owner ml@example.com --purpose classification --samples rows.csv"
    shell.must(f"lading pack train:model --name iris {what}")
    manifest = shell.must("lading inspect iris.bundle --json").json["manifest"]
    assert manifest["expected_from"].startswith("scikit-learn")
    assert len(shell.must("lading predict iris.bundle --input rows.csv --label").out.splitlines()) == 150


@pytest.mark.slow
def test_a_model_that_loses_parity_in_float32_is_packed_in_float64_with_a_note(shell):
    shell.write(
        "train.py",
        "import numpy as np\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "from sklearn.tree import DecisionTreeRegressor\n"
        "rows = 1e9 + np.arange(64.0)[:, None]\n"
        "np.savez('rows.npz', rows)\n"
        "model = make_pipeline(StandardScaler(), DecisionTreeRegressor()).fit(rows, np.arange(64.0) % 7)\n",
    )
    what = "--owner ml@example.com --purpose regression --samples rows.npz"
    shell.must("python train.py")
    packed = shell.must(f"lading pack train:model --name tree {what} --json")
    assert packed.json["signature"]["inputs"][0]["dtype"] == "float64"
    assert "note: " in packed.stderr
    assert "float32" in packed.stderr
    refused = shell.refused(f"lading pack train:model --name tree --dtype float32 -o other {what}")
    assert "float32" in refused
    assert not (shell.folder / "other").exists()


@pytest.mark.slow
def test_gates_turn_numbers_into_an_exit_code(shell):
    shell.must(PACK)
    shell.write("kind.toml", "max_size_mb = 100\n[min_metric]\naccuracy = 0.9\n")
    shell.write("strict.toml", "[min_metric]\naccuracy = 0.99\n")
    shell.must("lading verify iris.bundle --gates kind.toml")
    assert "accuracy" in shell.refused("lading verify iris.bundle --gates strict.toml")
    shell.write("wrong.toml", "max_sise_mb = 100\n")
    assert "max_sise_mb" in shell.refused("lading verify iris.bundle --gates wrong.toml", code=2)


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(shell):
    shell.must(PACK)
    done = shell.run("lading inspect iris.bundle --json | head -c 1; echo ${PIPESTATUS[0]}")
    assert done.stderr == ""
    done = shell.run("lading predict iris.bundle --sample | (exec <&-); echo ${PIPESTATUS[0]}")
    assert (done.out, done.stderr) == ("141\n", "")
