"""The few functions of NVIDIA's driver API that timing needs, called through ctypes.

The driver library is installed wherever a GPU works, even without PyTorch and the CUDA toolkit.
This module uses the device's primary context, as other CUDA libraries in the process do.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache

from nas.errors import RuntimeUnavailableError
from nas.measurement.device import Device, slugify

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NON_BLOCKING_STREAM = 1


class CudaDriver:
    """The first GPU of this machine; its primary context is made current.

    Raises:
        RuntimeUnavailableError: there is no driver or no working GPU.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise RuntimeUnavailableError(
                f"NVIDIA's driver ({_LIBRARY}) is not on this machine: an NVIDIA GPU is needed"
            ) from None
        self._call("cuInit", ctypes.c_uint(0))
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, ctypes.c_int(256), device)
        self.device_name = name.value.decode()
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)

    def allocate(self, size_bytes: int) -> int:
        """Allocate zeroed device memory, to be released by `free`; returns its address."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        size = ctypes.c_size_t(size_bytes)
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), size)
        return address.value

    def free(self, address: int) -> None:
        """Release the memory at an address that `allocate` returned."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def stream(self) -> int:
        """Create a stream; returns its handle."""
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING_STREAM))
        return stream.value or 0

    def event(self) -> int:
        """Create an event that records the time; returns its handle."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
        return event.value or 0

    def record(self, event: int, stream: int) -> None:
        """Enqueue an event, which records the time when the stream reaches it."""
        self._call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def elapsed_ms(self, start: int, end: int) -> float:
        """Wait for the event ``end``; returns the milliseconds from ``start`` to ``end``."""
        self._call("cuEventSynchronize", ctypes.c_void_p(end))
        value = ctypes.c_float()
        self._call(
            "cuEventElapsedTime",
            ctypes.byref(value),
            ctypes.c_void_p(start),
            ctypes.c_void_p(end),
        )
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeUnavailableError(f"NVIDIA's driver answered {name} with error {status}")


@lru_cache(maxsize=1)
def cuda_device() -> tuple[Device | None, str | None]:
    """The GPU and None, or None and the reason why there is no GPU."""
    try:
        name = CudaDriver().device_name
    except RuntimeUnavailableError as error:
        return None, str(error)
    return Device(slugify(name), name, 0), None
