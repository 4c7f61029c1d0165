"""The same ONNX graph behind other servers: how they are installed, started, asked and measured."""
