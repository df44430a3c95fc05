"""Remote: the protocol by which a worker answers for pipelines on other machines, and its server.

`v1/worker.proto` is the protocol, `protocol` its messages, `wire` what dagflow's values look like in them, and `server`
turns any worker into a server. The client is the worker `grpc`.
"""
