"""The least a server can do with a matrix of JSON: httptools and uvloop, simdjson into float32, the model.

It checks nothing and answers the same bytes whatever the model says.
"""

import asyncio
import os
import sys

import httptools
import numpy as np
import onnxruntime
import simdjson
import uvloop

ANSWER = b'{"prediction":[]}'
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
COLUMNS = 30

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
INPUT = session.get_inputs()[0].name
READER = simdjson.Parser()


class Least(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        text = b"".join(self.parts)
        self.parts = []
        if text:
            flat = np.frombuffer(READER.parse(text)["data"].as_buffer(of_type="d"))
            session.run(["probabilities"], {INPUT: flat.astype(np.float32).reshape(-1, COLUMNS)})
        self.transport.write(RESPONSE)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Least, "127.0.0.1", port)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
