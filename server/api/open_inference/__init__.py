"""The Open Inference Protocol (KServe v2) over HTTP and gRPC, for clients such as ``tritonclient``.

A request becomes an ``InferRequest``, whatever it came by: ``http_codec`` and ``grpc_codec`` know the wire,
``inference`` knows the models, ``http_routes`` and ``grpc_service`` are the two doors.
"""
