"""TensorRT 10 and 11 on this machine's NVIDIA GPU.

Both versions build a strongly typed engine from a network exported in the wanted precision;
TensorRT 11 has no other way. Device memory and the stream are PyTorch's.
"""

from __future__ import annotations

from importlib import metadata, util
from typing import TYPE_CHECKING

from nas.config import Precision
from nas.errors import RuntimeUnavailableError
from nas.latency.device import Device, slugify
from nas.latency.runtimes.base import Call, Runtime

if TYPE_CHECKING:
    from torch import nn


class TensorRT(Runtime):
    """One engine a module, static shapes, input and output kept on the device."""

    name = "tensorrt"
    precisions = ("fp16", "fp32")

    def unavailable(self) -> str | None:
        if util.find_spec("tensorrt") is None:
            return "the package tensorrt is not installed: pip install -e '.[tensorrt]'"
        import torch

        if not torch.cuda.is_available():
            return "PyTorch sees no NVIDIA GPU: a CUDA build of torch and a GPU are needed"
        return None

    def version(self) -> str:
        return metadata.version("tensorrt")

    def device(self) -> Device:
        import torch

        name = torch.cuda.get_device_name()
        return Device(slugify(name), name, 0)

    def compile(
        self, module: nn.Module, input_shape: tuple[int, ...], precision: Precision
    ) -> Call:
        import tensorrt as trt
        import torch

        from nas.export import export_onnx

        logger = trt.Logger(trt.Logger.WARNING)
        builder = trt.Builder(logger)
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(export_onnx(module, input_shape, precision=precision)):
            raise RuntimeUnavailableError(f"TensorRT cannot read the ONNX: {parser.get_error(0)}")
        plan = builder.build_serialized_network(network, builder.create_builder_config())
        if plan is None:
            raise RuntimeUnavailableError("TensorRT could not build an engine; see its log above")
        engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
        context = engine.create_execution_context()
        dtype = torch.float16 if precision == "fp16" else torch.float32
        tensors = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            tensor = torch.zeros(tuple(engine.get_tensor_shape(name)), dtype=dtype, device="cuda")
            context.set_tensor_address(name, tensor.data_ptr())
            tensors.append(tensor)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

        def call(keep: object = (engine, tensors)) -> None:
            context.execute_async_v3(stream.cuda_stream)
            stream.synchronize()

        return call
