"""PyTorch: modules pack with the answers of the framework, and the bundle needs nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lading.cli import main
from lading.errors import ValueRefused
from lading.pack import pack
from support.torch_models import (
    OWNER,
    Bags,
    ByHand,
    Encoder,
    Recurrent,
    StatefulSteps,
    pack_and_ask,
    torch_cases,
)

ROOT = Path(__file__).parents[3]
CASES = [pytest.param(make, id=name) for name, make in torch_cases()]


def packed(module, samples, folder, **settings):
    return pack(module, name="m", samples=samples, owner=OWNER, to=folder / "b", **settings)


def outputs_of(bundle):
    return [str(tensor.name) for tensor in bundle.manifest.signature.outputs]


@pytest.mark.slow
@pytest.mark.parametrize("make", CASES)
def test_calls_that_packing_never_saw_are_answered_as_by_the_module(tmp_path, make):
    made = make()
    bundle, asked = pack_and_ask(made, tmp_path)
    assert asked.otherwise == 0
    assert asked.rows > 0
    assert bundle.manifest.expected_from == f"torch {torch.__version__}"
    assert {"torch", "onnxscript"} <= bundle.manifest.training.packages.keys()


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    """A module with names for its classes, packed, and its samples."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3)).train()
    samples = torch.randn(30, 4)
    folder = tmp_path_factory.mktemp("mlp")
    return module, samples, packed(module, samples, folder, labels=["a", "b", "c"])


def test_the_bundle_names_framework_route_and_no_place_on_this_machine(mlp):
    _, _, bundle = mlp
    data = bundle.model_path.read_bytes()
    model = onnx.load_from_string(data)
    assert model.producer_name == "torch.onnx.export(dynamo=True)"
    assert model.producer_version == torch.__version__
    for text in (b".py", str(ROOT).encode(), b"site-packages", b"namespace", b"stack_trace"):
        assert text not in data


@pytest.mark.slow
def test_where_one_exporter_fixes_a_length_the_other_is_taken(tmp_path):
    torch.manual_seed(0)
    bundle = packed(ByHand(), torch.randint(0, 50, (12, 9)), tmp_path, open_axes={"tokens": 1})
    data = bundle.model_path.read_bytes()
    assert onnx.load_from_string(data).producer_name == "torch.onnx.export(dynamo=False)"
    assert b".py" not in data
    assert str(ROOT).encode() not in data
    assert len(bundle.predict(np.zeros((2, 30), dtype=np.int64))) == 2


def test_names_of_classes_make_a_label_of_the_only_output(mlp):
    module, samples, bundle = mlp
    assert outputs_of(bundle) == ["label", "scores"]
    assert bundle.manifest.labels == {"0": "a", "1": "b", "2": "c"}
    assert bundle.manifest.purpose == "classification"
    with torch.no_grad():
        best = module.eval()(samples).argmax(1)
    answers = bundle.predict(samples.numpy(), outputs=["label", "scores"]).outputs
    np.testing.assert_array_equal(answers["label"], best)


@pytest.mark.slow
def test_the_same_module_gives_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    module, samples = Recurrent(nn.LSTM), torch.randint(0, 50, (12, 9))
    first = packed(module, samples, tmp_path / "1", open_axes={"tokens": 1})
    second = packed(module, samples, tmp_path / "2", open_axes={"tokens": 1})
    assert first.digest == second.digest


def test_a_module_is_left_as_it_was(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    module.train()
    module[1].eval()
    module[3].weight.requires_grad_(requires_grad=False)
    module[0].register_forward_hook(lambda *_: None)
    samples = torch.randn(20, 4)

    def state():
        flags = [part.training for part in module.modules()]
        values = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        kept = [(id(p), p.requires_grad, p.grad, p.dtype, p.device) for p in module.parameters()]
        hooks = [len(part._forward_hooks) for part in module.modules()]
        return flags, values, kept, hooks, torch.is_grad_enabled(), torch.get_rng_state()

    before = state()
    packed(module, samples, tmp_path)
    after = state()
    assert before[0] == after[0]
    assert all(torch.equal(value, after[1][name]) for name, value in before[1].items())
    assert before[2:5] == after[2:5]
    assert torch.equal(before[5], after[5])


def test_the_bundle_serves_where_there_is_no_torch(mlp):
    _, samples, bundle = mlp
    code = (
        "import sys, json, lading\n"
        f"bundle = lading.Bundle.open({str(bundle.path)!r})\n"
        f"answers = bundle.predict({samples[:2].tolist()}, outputs=['label']).outputs\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules\n"
        "print(json.dumps(answers['label']))"
    )
    python = ROOT / ".venv" / "bin" / "python"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == bundle.predict(samples[:2].numpy(), outputs=["label"]).values


def test_nothing_of_the_exporters_is_shown(tmp_path, capfd):
    packed(nn.Linear(3, 2), torch.randn(8, 3), tmp_path)
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_samples_of_numpy_get_the_dtype_of_the_module(tmp_path):
    bundle = packed(nn.Linear(3, 2), np.random.default_rng(0).normal(size=(8, 3)), tmp_path)
    assert str(bundle.manifest.signature.inputs[0]) == "float32 [batch, 3]"


def test_one_row_of_samples_is_enough(tmp_path):
    bundle = packed(nn.Linear(3, 2), torch.randn(1, 3), tmp_path)
    assert str(bundle.manifest.signature.inputs[0]) == "float32 [batch, 3]"


@pytest.mark.slow
def test_samples_of_several_lengths_show_which_axes_go_together(tmp_path):
    torch.manual_seed(0)

    def call(rows, length):
        return torch.randint(0, 50, (rows, length)), torch.ones(rows, length, dtype=torch.long)

    bundle = packed(Encoder(), [call(6, 4), call(3, 9), call(2, 7)], tmp_path)
    assert [str(tensor) for tensor in bundle.manifest.signature.inputs] == ["int64 [batch, tokens_1]"] * 2


@pytest.mark.slow
def test_outputs_have_the_names_of_a_dict_and_nested_ones_their_place(tmp_path):
    bundle = packed(StatefulSteps(), torch.randn(6, 5, 4), tmp_path)
    assert outputs_of(bundle) == ["steps", "state_0", "state_1"]


@pytest.mark.slow
def test_rows_on_another_axis_are_named(tmp_path):
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRU(4, 6)

        def forward(self, x, hidden):
            steps, after = self.cell(x, hidden)
            return {"steps": steps, "after": after}

    samples = {"x": torch.randn(5, 12, 4), "hidden": torch.randn(1, 12, 6)}
    bundle = packed(Step(), samples, tmp_path, batch_axis={"x": 1, "hidden": 1})
    assert [str(tensor) for tensor in bundle.manifest.signature.inputs] == [
        "float32 [5, rows, 4]",
        "float32 [1, rows, 6]",
    ]


def test_rows_that_depend_on_each_other_are_never_merged(tmp_path):
    class OverRows(nn.Module):
        def forward(self, x):
            return torch.softmax(x, dim=0)

    assert not packed(OverRows(), torch.randn(9, 3), tmp_path).manifest.signature.independent_rows


def test_a_negative_position_is_refused_where_pytorch_refuses_it(tmp_path):
    torch.manual_seed(0)
    module = Bags()
    bundle = packed(module, torch.randint(0, 50, (12, 6)), tmp_path)
    rows = np.array([[0, 1, 2, 3, 4, -1]])
    with pytest.raises(RuntimeError, match="not in the valid range"):
        module(torch.from_numpy(rows))
    with pytest.raises(ValueRefused, match="`words` that are 0 or more, found a negative one"):
        bundle.predict(rows)


@pytest.mark.slow
def test_a_second_recurrent_module_in_one_process_takes_any_length(tmp_path):
    for name in ("first", "second"):
        bundle = packed(
            Recurrent(nn.LSTM, num_layers=2),
            torch.randint(0, 50, (6, 9)),
            tmp_path / name,
            open_axes={"tokens": 1},
        )
        assert len(bundle.predict(np.zeros((2, 30), dtype=np.int64))) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own modules
def test_a_compiled_module_packs_as_the_one_that_it_was_made_of(tmp_path):
    bundle = packed(torch.compile(nn.Linear(3, 2)), torch.randn(8, 3), tmp_path)
    assert outputs_of(bundle) == ["value"]


def test_the_command_packs_a_program_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(nn.Linear(3, 2).eval(), (torch.randn(4, 3),), dynamic_shapes=(batch,))
    torch.export.save(program, "line.pt2")
    np.save("rows.npy", np.random.default_rng(0).normal(size=(8, 3)))
    arguments = ["pack", "line.pt2", "--name", "line", "--samples", "rows.npy", "--owner", OWNER]
    main(arguments)
    assert (tmp_path / "line.bundle" / "model.onnx").is_file()


def test_the_command_packs_a_module_by_name_in_a_process_of_its_own(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\ntorch.manual_seed(0)\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.embed = torch.nn.Embedding(9, 4)\n"
        "    def forward(self, tokens):\n"
        "        return self.embed(tokens).mean(1)\n"
        "net = Net()\n"
    )
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(0, 9, (8, 5)))
    lading = [sys.executable, "-m", "lading", "pack", "net:net", "--name", "net", "--samples", "rows.npy"]
    done = subprocess.run(
        [*lading, "--owner", OWNER, "--open-axis", "tokens=1:length"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "exported with `torch.onnx.export(dynamo=True)`" in done.stderr
    assert "golden samples: 8 rows, answered by torch" in done.stderr
