"""Writes modules and whole networks as ONNX."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import io
import json
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from nas.errors import RunError, RuntimeUnavailableError
from nas.models.network import Network, build_network
from nas.precision import Precision
from nas.space.architecture import Architecture
from nas.space.workload import IMAGENET, Workload
from nas.system.atomic import write_whole

OPSET = 18
"""The lowest opset that both exporters of torch write; TensorRT 10, OpenVINO, Core ML read it."""


def export_onnx(
    module: nn.Module,
    input_shape: tuple[int, ...],
    path: Path | None = None,
    precision: Precision = "fp32",
) -> bytes:
    """Export a module as ONNX with static shapes; return the content of the file.

    A network's input and output are named ``images`` and ``logits``, a block's ``input`` and
    ``output``.

    Args:
        module: a network or the module of one block, in evaluation mode and fp32, with BatchNorms
            folded (`fuse`); it is not changed.
        input_shape: [B, C, H, W].
        path: file to write as well, whole or not at all; None writes none.
        precision: precision of weights, activations, input and output.

    Raises:
        RunError: the file cannot be written.
        RuntimeUnavailableError: the installed torch needs onnxscript to export.
    """
    dtype = torch.float32
    if precision == "fp16":
        module, dtype = copy.deepcopy(module).half(), torch.float16
    example = torch.zeros(input_shape, dtype=dtype)
    names = ("images", "logits") if isinstance(module, Network) else ("input", "output")
    # A latency table exports hundreds of blocks: the TorchScript exporter takes 0.05 to 0.2 s
    # for one, its successor about 1 s, and ONNX Runtime runs both results equally fast.
    if _has_torchscript_exporter():
        data = _export_torchscript(module, example, names)
    else:
        data = _export_dynamo(module, example, names)
    if path is not None:
        _write(path, data)
    return data


def export_network(
    architecture: Architecture,
    path: Path,
    workload: Workload = IMAGENET,
    seed: int = 0,
    precision: Precision = "fp32",
) -> None:
    """Write the untrained network of an architecture as `network_onnx` makes it.

    Args:
        path: the ``.onnx`` file.
        architecture, workload, seed, precision: see `network_onnx`.

    Raises:
        RunError: the file cannot be written; or see `network_onnx`.
    """
    _write(path, network_onnx(architecture, workload, seed, precision))


def network_onnx(
    architecture: Architecture,
    workload: Workload = IMAGENET,
    seed: int = 0,
    precision: Precision = "fp32",
) -> bytes:
    """Export the untrained network of an architecture, to test its latency and its deployment.

    The metadata hold the architecture (JSON) and its id, the resolution, the batch size,
    the precision, the seed, and a note that the weights are random.

    Args:
        architecture: architecture of the network.
        workload: size of the images, outputs of the classifier, images in one call.
        seed: seed of the random weights; torch's global generator is left as it was.
        precision: precision of weights, activations, input and output.

    Raises:
        ArchitectureError: the resolution is too low for an E-MHSA reduction.
        RuntimeUnavailableError: the installed torch needs onnxscript to export.
    """
    architecture.expand(workload)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture, workload.outputs).fuse()
    shape = (workload.batch_size, 3, workload.height, workload.width)
    data = export_onnx(network, shape, precision=precision)
    model = onnx.load_model_from_string(data)
    metadata = {
        "architecture_id": architecture.id,
        "architecture": json.dumps(architecture.to_json(), sort_keys=True),
        "resolution": str(workload.resolution),
        "batch_size": str(workload.batch_size),
        "precision": precision,
        "weights": f"untrained, seed {seed}",
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _has_torchscript_exporter() -> bool:
    """Whether torch still has the exporter it deprecated in 2.9."""
    parameters = inspect.signature(torch.onnx.export).parameters
    return "dynamo" in parameters and hasattr(torch.onnx, "utils")


def _export_torchscript(module: nn.Module, example: Tensor, names: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Warnings of this exporter about itself, and about a helper that it calls.
        for said in (".*TorchScript-based ONNX export", "The feature will be removed"):
            warnings.filterwarnings("ignore", said, DeprecationWarning)
        torch.onnx.export(
            module,
            (example,),
            buffer,  # type: ignore[arg-type]  # this exporter takes a file object too
            dynamo=False,
            input_names=[names[0]],
            output_names=[names[1]],
            opset_version=OPSET,
        )
    return buffer.getvalue()


def _export_dynamo(module: nn.Module, example: Tensor, names: tuple[str, str]) -> bytes:
    if importlib.util.find_spec("onnxscript") is None:
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} needs the package onnxscript to export ONNX: "
            "pip install onnxscript"
        )
    program = torch.onnx.export(
        module,
        (example,),
        input_names=[names[0]],
        output_names=[names[1]],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None
