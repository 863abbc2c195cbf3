"""A peer: Triton through nvidia-pytriton, with its dynamic batcher.

The wheel holds Triton without its ONNX Runtime backend, so ONNX Runtime is called from Python, in a process
beside Triton's: this says nothing of Triton with a backend of its own.
"""

import os
import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name


@batch
def predict(**rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"probabilities": session.run(["probabilities"], {name: rows[name]})[0]}


http_port, grpc_port = map(int, sys.argv[1:])
config = TritonConfig(
    http_address="127.0.0.1",
    http_port=http_port,
    grpc_address="127.0.0.1",
    grpc_port=grpc_port,
    allow_metrics=False,
)
with Triton(config=config) as triton:
    triton.bind(
        model_name="iris",
        infer_func=predict,
        inputs=[Tensor(name=name, dtype=np.float32, shape=(4,))],
        outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(3,))],
        config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher()),
        strict=False,
    )
    triton.serve()
