"""A peer: a service of BentoML, one worker; the method is `async`, which spares it a change of thread."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Iris:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = os.environ["MODEL"]
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    @bentoml.api
    async def predict(self, data: np.ndarray) -> np.ndarray:
        (probabilities,) = self.session.run(["probabilities"], {self.input: data.astype(np.float32)})
        return probabilities
