"""A peer: a `LitAPI` of LitServe, one worker."""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Iris(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = os.environ["MODEL"]
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def decode_request(self, request: dict) -> np.ndarray:
        return np.array(request["data"], dtype=np.float32)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(["probabilities"], {self.input: rows})[0]

    def encode_response(self, probabilities: np.ndarray) -> dict:
        return {"prediction": probabilities.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Iris(), accelerator="cpu", workers_per_device=1)
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="error", generate_client_file=False)
