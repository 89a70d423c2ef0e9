"""Two parts of a search's configuration: the proxy training, and a target."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nas.config.option import Option, renamed
from nas.precision import Precision
from nas.space.workload import MAX_BATCH
from nas.units import is_rate, parse_duration, parse_rate


def _rate(value: Any) -> Any:
    return parse_rate(value, "1200img/s") if isinstance(value, str) else value


class ConfigModel(BaseModel):
    """Base class: frozen; refuses unknown entries, and booleans for fields of other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError(f"'{str(value).lower()}' is not a value for this entry")
        return value


class ProxyConfig(ConfigModel):
    """The proxy training that supplies a candidate's accuracy.

    Attributes:
        batch_size: images of one optimiser step.
        learning_rate: peak of the warm-up and cosine schedule.
        weight_decay: weight decay of AdamW, on matrices only.
        warmup: share of the steps in which the rate rises linearly.
        label_smoothing: smoothing of the cross entropy.
        ema_decay: decay of the weights' moving average, which is evaluated.
        shift: largest random shift of a training image, as a share of its width.
        jitter: strength of the random contrast and brightness of a training image.
    """

    data: Annotated[
        str, Option("Proxy data: digits, or imagefolder:PATH.", "Training", metavar="DATA")
    ] = "digits"
    train_images: Annotated[
        int, Option("Images seen in one proxy training.", "Training", "proxy-images")
    ] = Field(default=16_000, ge=1)
    resolution: Annotated[
        int, Option("Size of the proxy images in pixels.", "Training", "proxy-resolution")
    ] = Field(default=32, ge=8, le=1024)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    ema_decay: float = Field(default=0.95, ge=0, lt=1)
    shift: float = Field(default=0.06, ge=0, le=0.5)
    jitter: float = Field(default=0.0, ge=0, lt=1)
    skip_unreadable: Annotated[
        bool, Option("Leave out images that cannot be read.", "Training")
    ] = False


class TargetConfig(ConfigModel):
    """A device to deploy to, and how fast a network must be there.

    ``budget`` is accepted in place of ``budget_ms``, with a unit: 8ms or 1200img/s.

    Attributes:
        throughput_img_s: the budget in images per second, if the user gave a throughput;
            ``budget_ms`` is then the time of one batch at this rate.
        budget_ms: highest latency of one call (one batch) in milliseconds.
    """

    target: Annotated[
        str,
        Option(
            "Runtime to deploy to (tables runtimes lists them); once per device.",
            "Target",
            metavar="RUNTIME",
        ),
    ]
    device: Annotated[
        str | None,
        Option("Device of the table; default: this machine's.", "Target", metavar="NAME"),
    ] = None
    precision: Annotated[
        Precision | None,
        Option("fp32 or fp16; default: the table's.", "Target", metavar="PRECISION"),
    ] = None
    batch_size: Annotated[
        int | None, Option("Images in one call; default: the table's.", "Target")
    ] = Field(default=None, ge=1, le=MAX_BATCH)
    throughput_img_s: Annotated[float | None, BeforeValidator(_rate)] = Field(default=None, gt=0)
    budget_ms: Annotated[
        float,
        Option(
            "Highest latency of one call, 8ms or 500us, or lowest throughput, 1200img/s (with "
            "--batch-size); once per target.",
            "Target",
            "budget",
            metavar="BUDGET",
        ),
    ] = Field(default=None, gt=0, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _named_as_options(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "budget" in values and values.get("throughput_img_s") is not None:
            raise ValueError("give budget or throughput_img_s, not both")
        values = renamed(cls, values)
        budget = values.get("budget_ms")
        if isinstance(budget, str) and is_rate(budget):
            del values["budget_ms"]
            values["throughput_img_s"] = budget
        return values

    @field_validator("budget_ms", mode="before")
    @classmethod
    def _budget_of_one_call(cls, value: Any, info: ValidationInfo) -> Any:
        rate = info.data.get("throughput_img_s")
        if "throughput_img_s" not in info.data or "batch_size" not in info.data:
            return 1.0  # what is wrong with these is reported
        if rate:
            batch = info.data["batch_size"]
            if batch is None:
                raise ValueError(
                    f"'{rate:.6g}img/s' is a throughput, which needs the batch size: "
                    f"give --batch-size too (batch_size in a file)"
                )
            return 1e3 * batch / rate
        if value is None:
            raise ValueError("is missing: for example 8ms")
        return parse_duration(value, "8ms", "ms") if isinstance(value, str) else value

    @property
    def budget_option(self) -> str:
        """The budget as a value of ``--budget``: ``8ms``, ``1200img/s``."""
        if self.throughput_img_s is None:
            return f"{self.budget_ms:g}ms"
        return f"{self.throughput_img_s:g}img/s"

    @property
    def budget_text(self) -> str:
        """The budget as texts show it: ``8 ms``, or ``1200 img/s (6.67 ms a batch of 8)``."""
        if self.throughput_img_s is None:
            return f"{self.budget_ms:.6g} ms"
        rate = f"{self.throughput_img_s:.6g} img/s"
        return f"{rate} ({self.budget_ms:.3g} ms a batch of {self.batch_size})"
