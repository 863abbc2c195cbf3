"""The ceiling of gRPC in Python: grpcio's threaded server that gives back what it got, undecoded."""

import sys
from concurrent import futures

import grpc


def answer(message: bytes, _context: grpc.ServicerContext) -> bytes:
    return message


class Handler(grpc.GenericRpcHandler):
    def service(self, _call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(answer)


server = grpc.server(futures.ThreadPoolExecutor(64), handlers=[Handler()])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
