import pytest

from nas.errors import ConfigError
from nas.units import parse_count, parse_duration, parse_share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8ms", 8e-3), ("500us", 5e-4), ("500 µs", 5e-4), ("1.5H", 5400), (" 20min ", 1200)],
)
def test_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text, "--budget", "8ms") == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "count"), [("25M", 25e6), ("1.2g", 1.2e9), ("31000000", 31e6), (".5k", 500)]
)
def test_a_count_may_have_a_unit(text: str, count: float) -> None:
    assert parse_count(text, "--max-params", "25M") == pytest.approx(count, rel=1e-12)


@pytest.mark.parametrize(("text", "share"), [("90%", 0.9), ("0.9", 0.9), (" 97.5 % ", 0.975)])
def test_a_share_may_be_in_percent(text: str, share: float) -> None:
    assert parse_share(text, "--confidence", "90%") == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("text", ["", "90", "0", "100%", "-5%", "1e-2", "nan", "%", "9" * 400])
def test_what_is_no_share_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(ConfigError, match="--confidence .* write for example 90%") as refused:
        parse_share(text, "--confidence", "90%")
    assert len(str(refused.value)) < 130 and "\n" not in str(refused.value)
