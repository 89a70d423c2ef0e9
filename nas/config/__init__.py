"""The configuration of a search: its fields, its options and its file."""

from nas.config.command_line import config_of
from nas.config.files import CONFIG_FORMAT, config_text, read_config
from nas.config.option import OptionField
from nas.config.parts import ProxyConfig, TargetConfig
from nas.config.search_config import (
    MAX_RUNGS,
    MIN_RESOLUTION,
    OPTIONS,
    RECORDED,
    TRAINING,
    SearchConfig,
    checked_resolution,
    option_error,
)

__all__ = [
    "CONFIG_FORMAT",
    "MAX_RUNGS",
    "MIN_RESOLUTION",
    "OPTIONS",
    "RECORDED",
    "TRAINING",
    "OptionField",
    "ProxyConfig",
    "SearchConfig",
    "TargetConfig",
    "checked_resolution",
    "config_of",
    "config_text",
    "option_error",
    "read_config",
]
