"""The result of a search as ``--json`` prints it."""

from __future__ import annotations

from typing import Any

from nas.report.wording import stopped_text, unfinished_text, verification_note
from nas.results.files import accuracy_json, latency_json, network_json
from nas.results.values import DeviceResult, SearchResult


def result_json(result: SearchResult) -> dict[str, Any]:
    """Return a result as plain values: the recommended network, and the front on each device."""
    best, unfinished = result.recommended, result.unfinished_finalists
    return {
        "run_dir": str(result.run_dir),
        "recommended": network_json(result, best) if best else None,
        "devices": [_device_json(result, device) for device in result.devices],
        "trained": len(result.candidates) - result.imported,
        "partly_trained": len(result.partly_trained),
        "imported": result.imported,
        "untrained": result.untrained,
        "failed": result.failed,
        "wall_s": result.wall_s,
        "stopped": result.stopped.value if result.stopped else None,
        "stopped_text": stopped_text(result) or None,
        "unfinished_finalists": {
            "count": unfinished.count,
            "total": unfinished.total,
            "reason": unfinished.reason.value,
            "text": unfinished_text(result),
        }
        if unfinished
        else None,
    }


def _device_json(result: SearchResult, device: DeviceResult) -> dict[str, Any]:
    return {
        "name": result.device_names[device.index],
        **device.target.model_dump(),
        "table": device.table_name,
        "source": device.table_provenance,
        "verified": device.verified,
        "note": verification_note(result, device),
        "front": [
            {"number": c.number, "id": c.architecture.id}
            | accuracy_json(c)
            | latency_json(c, device)
            for c in device.front
        ],
    }
