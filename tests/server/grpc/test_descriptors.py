"""The descriptors of the protos: up to date, and in a pool of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from lading.server.grpc import descriptors
from support.grpc_client import OIP

ROOT = Path(__file__).parents[3]


def test_the_descriptor_sets_are_up_to_date_with_the_protos():
    command = [sys.executable, str(ROOT / "scripts" / "protos.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_message_is_one_class_however_often_it_is_loaded():
    kind = descriptors.message("oip", "inference.ModelInferRequest")
    assert descriptors.message("oip", "inference.ModelInferRequest") is kind
    message = kind.FromString(kind(model_name="iris").SerializeToString())
    assert message.model_name == "iris"


def test_descriptors_are_kept_out_of_the_default_pool():
    # TensorFlow and tritonclient put descriptors of the same names there.
    assert descriptors.service("oip", OIP).methods_by_name["ModelInfer"]
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindServiceByName(OIP)
