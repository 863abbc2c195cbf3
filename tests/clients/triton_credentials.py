"""Run in the environment of tritonclient: credentials over HTTP and gRPC, with TLS. Not a pytest file.

`triton_credentials.py HTTP_ADDRESS GRPC_ADDRESS CA KEY OTHER_KEY [CERT CERT_KEY]`; without keys (`-`) the
certificate says who asks. Says so when all of it works.
"""

from __future__ import annotations

import ssl
import sys

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tritonclient.utils import InferenceServerException

http, grpc, ca, key, other, *cert = sys.argv[1:]
ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)


def headers(text: str) -> dict[str, str] | None:
    return None if text == "-" else {"authorization": f"Bearer {text}"}


def inputs(module: object) -> list[object]:
    tensor = module.InferInput("X", ROW.shape, "FP32")
    tensor.set_data_from_numpy(ROW)
    return [tensor]


def refused(act: object, *words: str) -> None:
    text = ""
    try:
        act()
    except InferenceServerException as error:
        text = f"{error.status()} {error}"
    assert any(word in text for word in words), text or "expected a refusal"


context = ssl.create_default_context(cafile=ca)
if cert:
    context.load_cert_chain(*cert)
with http_client.InferenceServerClient(
    http, ssl=True, ssl_context_factory=lambda: context, ssl_options={}
) as client:
    assert client.is_server_live(headers=headers(key))
    assert client.get_model_metadata("iris", headers=headers(key))["name"] == "iris"
    answer = client.infer("iris", inputs(http_client), headers=headers(key))
    assert answer.as_numpy("probabilities").shape == (1, 3)
    if key != "-":
        refused(lambda: client.infer("iris", inputs(http_client)), "401", "authorization")
        refused(lambda: client.infer("iris", inputs(http_client), headers=headers(other)), "403", "predict")

paths = {"root_certificates": ca}
if cert:
    paths |= {"certificate_chain": cert[0], "private_key": cert[1]}
with grpc_client.InferenceServerClient(grpc, ssl=True, **paths) as client:
    assert client.is_server_live(headers=headers(key))
    assert client.get_model_metadata("iris", headers=headers(key)).name == "iris"
    answer = client.infer("iris", inputs(grpc_client), headers=headers(key))
    assert answer.as_numpy("probabilities").shape == (1, 3)
    if key != "-":
        refused(lambda: client.infer("iris", inputs(grpc_client)), "UNAUTHENTICATED")
        refused(
            lambda: client.infer("iris", inputs(grpc_client), headers=headers(other)), "PERMISSION_DENIED"
        )
print("all of it works")
