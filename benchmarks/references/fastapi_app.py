"""The reference: the same predictions with FastAPI and gunicorn, as people write it."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
app = FastAPI()


class Body(BaseModel):
    data: list[list[float]]


@app.get("/health")
def health() -> dict[str, str]:
    return {"health": "ok"}


@app.post("/predict")
async def predict(body: Body) -> dict[str, list[list[float]]]:
    outputs = session.run(["probabilities"], {name: np.array(body.data, dtype=np.float32)})
    return {"prediction": outputs[0].tolist()}
