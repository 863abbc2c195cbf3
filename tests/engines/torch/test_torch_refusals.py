"""PyTorch: what cannot be packed truthfully is refused, with the layer or operator and the way out."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from lading.errors import ConverterFailed, InvalidSetting, LadingError, ParityLost, SamplesRefused
from lading.pack import pack
from support.torch_models import OWNER

ROWS = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 9, (20, 6), generator=torch.Generator().manual_seed(0))


def module_of(forward):
    """Return a module whose `forward` is this function."""
    return type("Module", (nn.Module,), {"forward": forward})()


def refusal(model, samples, folder, **settings):
    with pytest.raises(LadingError) as raised:
        pack(model, name="m", samples=samples, owner=OWNER, to=folder / "b", **settings)
    assert not (folder / "b").exists()
    assert len(raised.value.message) < 900
    return raised.value


def branch_on_values(self, x):
    if x.sum() > 0:
        return x * 2
    return x


def branch_on_length(self, tokens):
    return tokens.float().sum(1) if tokens.shape[1] > 4 else tokens.float().mean(1)


def branch_on_even_lengths(self, tokens):
    return tokens.float().sum(1) if tokens.shape[1] % 2 else tokens.float().mean(1)


def test_a_branch_on_values_is_refused_with_its_line(tmp_path):
    error = refusal(module_of(branch_on_values), ROWS, tmp_path)
    assert isinstance(error, ConverterFailed)
    assert error.found.startswith("control flow that depends on values (test_torch_refusals.py, line ")
    assert "torch.where" in error.hint


@pytest.mark.parametrize("forward", [branch_on_length, branch_on_even_lengths])
def test_a_branch_on_a_size_is_never_packed_as_one_side_of_it(tmp_path, forward):
    error = refusal(module_of(forward), TOKENS, tmp_path, open_axes={"tokens": {1: "length"}})
    assert isinstance(error, ConverterFailed | ParityLost)
    assert "`length`" in error.message


def test_a_module_that_is_random_in_eval_mode_is_refused(tmp_path):
    module = module_of(lambda _, x: F.dropout(x, 0.5, training=True))
    error = refusal(module, ROWS, tmp_path)
    assert error.found == "another one the second time, although the module is in eval mode"


def test_a_module_that_keeps_state_is_refused_and_put_back(tmp_path):
    module = nn.BatchNorm1d(4, track_running_stats=True)
    module.forward = lambda x: x - module.running_mean.add_(1)
    error = refusal(module, ROWS, tmp_path)
    assert error.found == "`running_mean`, which `forward` changes"
    assert not module.running_mean.any()


def test_an_operator_that_onnx_lacks_is_named(tmp_path, capfd):
    module = module_of(lambda _, x: torch.linalg.svd(x.view(-1, 2, 2))[1])
    error = refusal(module, ROWS, tmp_path)
    assert error.found == "`aten._linalg_svd`"
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_the_layer_that_does_not_take_the_samples_is_named(tmp_path):
    error = refusal(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), ROWS, tmp_path)
    assert isinstance(error, SamplesRefused)
    assert error.found.startswith(
        "layer `1` (Linear): RuntimeError: mat1 and mat2 shapes cannot be multiplied"
    )


def test_whole_numbers_for_a_layer_of_floats_are_refused_with_the_way_out(tmp_path):
    error = refusal(nn.Linear(4, 2), np.arange(20).reshape(5, 4), tmp_path)
    assert "ids as integers" in error.hint


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ((ROWS, 3), "`3`"),
        ({"x": ROWS, "other": ROWS}, "`other`"),
        ({"x": ROWS}, "`x`"),
        ((ROWS, ROWS, ROWS), "3"),
        ({"x": ROWS, "y": np.array(["a"] * 20)}, "texts or objects"),
        ([{"x": ROWS, "y": ROWS}, {"x": ROWS, "y": TOKENS}], "torch.int64 with 2"),
        (None, "none"),
    ],
    ids=["number", "unknown", "missing", "many", "texts", "dtypes", "none"],
)
def test_samples_that_are_no_tensors_of_forward_are_refused(tmp_path, samples, found):
    error = refusal(module_of(lambda _, x, y: x + y), samples, tmp_path)
    assert isinstance(error, SamplesRefused)
    assert error.found == found


def test_an_output_that_is_no_tensor_is_refused(tmp_path):
    error = refusal(module_of(lambda _, x: {"a": x * 2, "b": 3.0}), ROWS, tmp_path)
    assert error.where == "output `b` of `Module`"


def test_a_name_of_both_an_input_and_an_output_is_refused(tmp_path):
    error = refusal(module_of(lambda _, x: {"x": x * 2}), ROWS, tmp_path)
    assert error.found == "`x`, which is both"


def test_complex_outputs_are_refused(tmp_path):
    error = refusal(module_of(lambda _, x: torch.fft.fft(x)), ROWS, tmp_path)
    assert error.found == "torch.complex64"


def test_padding_that_only_the_fast_path_zeroes_is_refused(tmp_path):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)

        def forward(self, x, mask):
            return self.encoder(x, src_key_padding_mask=mask)

    torch.manual_seed(0)
    samples = {"x": torch.randn(9, 5, 8), "mask": torch.arange(5) >= torch.randint(1, 6, (9, 1))}
    error = refusal(Encoder(), samples, tmp_path)
    assert "enable_nested_tensor=False" in error.hint


def test_a_program_for_one_number_of_rows_is_refused(tmp_path):
    program = torch.export.export(nn.Linear(4, 2).eval(), (ROWS,))
    error = refusal(program, ROWS, tmp_path)
    assert (error.expected, error.found) == ("any number of rows", "20 only")


def test_weights_alone_are_refused_with_the_way_out(tmp_path):
    error = refusal(nn.Linear(4, 2).state_dict(), ROWS, tmp_path)
    assert "weights without the code" in error.found
    assert "load_state_dict" in error.hint


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_module_is_refused(tmp_path):
    error = refusal(torch.jit.trace(nn.Linear(4, 2), ROWS), ROWS, tmp_path)
    assert "ScriptModule" in error.found


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt"])
def test_a_pickle_of_pytorch_is_never_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"not read")
    error = refusal(tmp_path / name, ROWS, tmp_path)
    assert error.found.startswith("a pickle of PyTorch")


def test_open_axes_are_for_pytorch_and_axes_that_there_are(tmp_path):
    error = refusal(nn.Linear(4, 2), ROWS, tmp_path, open_axes={"input": 2})
    assert isinstance(error, InvalidSetting)
    assert error.expected == "an axis of `input`, which has 2"


def test_a_dtype_that_the_module_does_not_have_is_refused(tmp_path):
    error = refusal(nn.Linear(4, 2), ROWS, tmp_path, dtype="float64")
    assert isinstance(error, InvalidSetting)
    assert error.expected == "`auto`: `Linear` takes float32"


@pytest.fixture
def program(tmp_path):
    """The file of a program, and a function that writes it again with one file of the archive changed."""
    torch.export.save(
        torch.export.export(nn.Linear(4, 2).eval(), (ROWS,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)),
        tmp_path / "model.pt2",
    )

    def changed(ending, change):
        path = tmp_path / "changed.pt2"
        with zipfile.ZipFile(tmp_path / "model.pt2") as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, change(data) if name.endswith(ending) else data)
        return path

    return changed


def _replaced(old, new):
    def change(data):
        assert old in data
        return data.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("ending", "old", "new", "found"),
    [
        ("weights_config.json", b'"use_pickle": false', b'"use_pickle": true', "a pickle"),
        ("models/model.json", b"Symbol(", b"__import__('os').getenv(", "a size that is code"),
        ("models/model.json", b"torch.ops.aten.linear.default", b"torch.hub.load", "no operator of PyTorch"),
        ("models/model.json", b"torch.ops.aten.linear.default", b"torch.ops.load_library", "no operator"),
    ],
)
def test_a_program_that_would_run_code_is_refused_before_it_is_read(
    tmp_path, program, ending, old, new, found
):
    error = refusal(program(ending, _replaced(old, new)), ROWS, tmp_path)
    assert found in error.found


def test_a_pickle_among_the_sample_inputs_of_a_program_is_not_run(tmp_path, program):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(marker), "w")

    evil = tmp_path / "evil.pt"
    torch.save(Evil(), evil)
    refusal(program("sample_inputs/model.pt", lambda _: evil.read_bytes()), ROWS, tmp_path)
    assert not marker.exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "model.pt2").write_text(json.dumps({}))
    assert "zip" in refusal(tmp_path / "model.pt2", ROWS, tmp_path).found
