"""A model for MLServer that answers with nothing; it is loaded, listed and described like any other."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse


class Echo(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:  # noqa: ARG002
        return InferenceResponse(model_name=self.name, outputs=[])
