"""Prepares any ONNX file for measuring: fixes its open input shapes, and brings along its weights.

The model is not checked here, so that whatever the runtime can run is measured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nas.errors import ConfigError, brief, unknown

Shape = tuple[int, ...]

_Dims = list[int | str | None]
"""Dimensions of an input: a size above zero, the name of an open size, or None for one without a
name."""


def read_onnx(path: Path) -> tuple[Any, bytes]:
    """Read an ONNX model, without weights in other files; returns it with the file's bytes.

    Raises:
        ConfigError: the file cannot be read, or is no ONNX model.
    """
    import onnx

    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # protobuf has its own exceptions
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path}: is no ONNX model: {said}") from None
    if not model.graph.node:
        raise ConfigError(f"{path}: is no ONNX model: it has no operators")
    return model, content


def write_onnx(model: Any, source: Path, path: Path) -> None:
    """Write a model into an empty folder, with the files of weights that it names.

    Args:
        model: a model of `read_onnx`.
        source: file from which it was read; its files of weights, or links to them, are beside it.
        path: file to write.

    Raises:
        ConfigError: a file of weights cannot be used, or is not below the folder of ``source``.
    """
    path.write_bytes(model.SerializeToString())
    for name in sorted(set(_weight_files(model.graph, model.functions))):
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise ConfigError(
                f"{source}: its weights in {brief(name)} are not below the model's own folder, "
                f"where runtimes look for them: save the model with its weights beside it"
            )
        target = path.parent / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        weights = source.parent / inside
        try:
            _link_or_copy(weights.resolve(strict=True), target)
        except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError
            said = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{source}: its weights in {weights} cannot be used: {said}"
            ) from None


def _link_or_copy(weights: Path, target: Path) -> None:
    try:
        os.link(weights, target)
    except OSError:  # on another file system, or on one without links
        shutil.copyfile(weights, target)


def _weight_files(graph: Any, functions: Sequence[Any] = ()) -> Iterator[str]:
    """Yield the names of the files that hold weights of a graph, its subgraphs and functions."""
    tensors = [*graph.initializer]
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in [*graph.node, *(node for function in functions for node in function.node)]:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _weight_files(inner)
    for tensor in tensors:
        if tensor.data_location == tensor.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def fix_shapes(model: Any, path: Path, shapes: Mapping[str, Shape]) -> dict[str, list[int]]:
    """Fix the open dimensions of a model's inputs in place.

    A dimension is open if it has no size above zero. Dimensions of one name have one size. An open
    first dimension is 1, unless ``shapes`` has another size for another input's open first one.

    Args:
        model: the ONNX model.
        path: its file, for messages.
        shapes: shapes of inputs, by the input's name.

    Returns:
        Shape of every input, by the input's name.

    Raises:
        ConfigError: ``shapes`` lacks or contradicts an input, or names one that does not exist; or
            an input is not a tensor.
    """
    inputs = _inputs(model, path)
    for name in shapes:
        if name not in inputs:
            raise ConfigError(f"--shape: {unknown('input', name, inputs)}")
    dims = {name: _dims(entry) for name, entry in inputs.items()}
    sizes = _named_sizes(dims, path, shapes)
    # A batch of 4 in one input and of 1 in another would be no model that anybody runs.
    batches = {shape[0] for name, shape in shapes.items() if not _begins_fixed(dims[name])}
    for name, own in dims.items():
        if name not in shapes and own and isinstance(own[0], str) and batches <= {1}:
            sizes.setdefault(own[0], 1)
    fixed = {}
    for name, entry in inputs.items():
        fixed[name] = list(shapes.get(name) or _filled(name, dims[name], sizes, batches, path))
        shape = entry.type.tensor_type.shape
        del shape.dim[:]
        for size in fixed[name]:
            shape.dim.add().dim_value = size
    _forget_sizes_below_one([*model.graph.output, *model.graph.value_info])
    return fixed


def _inputs(model: Any, path: Path) -> dict[str, Any]:
    """The inputs that are not also constants, as older files have them, by their names."""
    constants = {entry.name for entry in model.graph.initializer}
    constants |= {entry.values.name for entry in model.graph.sparse_initializer}
    inputs = {entry.name: entry for entry in model.graph.input if entry.name not in constants}
    for name, entry in inputs.items():
        if entry.type.WhichOneof("value") != "tensor_type":
            raise ConfigError(
                f"{path}: input {name!r} is not a tensor; models with other inputs cannot be "
                f"measured by this program"
            )
    return inputs


def _dims(entry: Any) -> _Dims | None:
    """Dimensions of an input; None if the file does not say how many there are."""
    tensor = entry.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or None for dim in tensor.shape.dim
    ]


def _begins_fixed(dims: _Dims | None) -> bool:
    return dims is not None and len(dims) > 0 and isinstance(dims[0], int)


def _named_sizes(
    dims: Mapping[str, _Dims | None], path: Path, shapes: Mapping[str, Shape]
) -> dict[str, int]:
    """Check the given shapes; returns the sizes that they give to the names of dimensions.

    Raises:
        ConfigError: a shape contradicts the file, or another shape.
    """
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        own = dims[name]
        if own is None:
            continue
        if len(own) != len(shape):
            raise ConfigError(
                f"--shape {name}: {path} has {len(own)} dimensions there, not {len(shape)}"
            )
        for index, (dim, size) in enumerate(zip(own, shape, strict=True)):
            if isinstance(dim, int) and dim != size:
                raise ConfigError(
                    f"--shape {name}: {path} is made for {dim} in dimension {index}, not {size}"
                )
            if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                raise ConfigError(
                    f"--shape {name}: dimension {dim!r} of {path} is {sizes[dim]} elsewhere, "
                    f"here {size}: give it one size"
                )
    return sizes


def _filled(
    name: str, dims: _Dims | None, sizes: Mapping[str, int], batches: set[int], path: Path
) -> list[int]:
    """Shape of an input for which none is given.

    Raises:
        ConfigError: a dimension is open; says which ``--shape`` is needed.
    """
    if dims is None:
        raise ConfigError(
            f"{path}: does not say how many dimensions input {name!r} has; give its shape, for "
            f"example --shape {name}=1x3x224x224"
        )
    filled = [sizes.get(dim) if isinstance(dim, str) else dim for dim in dims]
    if filled and filled[0] is None and batches <= {1}:
        filled[0] = 1
    if None in filled:
        wanted = "x".join(str(size or "?") for size in filled)
        raise ConfigError(
            f"{path}: leaves the shape of input {name!r} open; give it, with a number for each ?: "
            f"--shape {name}={wanted}"
        )
    return [size for size in filled if size is not None]


def _forget_sizes_below_one(entries: Sequence[Any]) -> None:
    """Remove sizes such as -1, which mean an unknown one, from values that follow from inputs."""
    for entry in entries:
        for dim in entry.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < 0:
                dim.ClearField("dim_value")
