import pytest

from nas.units import parse_count, parse_duration, parse_rate, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8ms", 8e-3), ("500us", 5e-4), ("500 µs", 5e-4), ("1.5H", 5400), (" 20min ", 1200)],
)
def test_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text, "8ms") == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["8ms", "0.9ms", "4.7ms", "11.1ms"])
def test_milliseconds_are_read_as_they_are_written(text: str) -> None:
    assert parse_duration(text, "8ms", "ms") == float(text.removesuffix("ms"))


@pytest.mark.parametrize(
    ("text", "count"), [("25M", 25e6), ("1.2g", 1.2e9), ("31000000", 31e6), (".5k", 500)]
)
def test_a_count_may_have_a_unit(text: str, count: float) -> None:
    assert parse_count(text, "25M") == pytest.approx(count, rel=1e-12)


@pytest.mark.parametrize(("text", "share"), [("90%", 0.9), ("0.9", 0.9), (" 97.5 % ", 0.975)])
def test_a_share_may_be_in_percent(text: str, share: float) -> None:
    assert parse_share(text, "90%") == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("text", ["", "90", "0", "100%", "-5%", "1e-2", "nan", "%", "9" * 400])
def test_what_is_no_share_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 90%") as refused:
        parse_share(text, "90%")
    assert len(str(refused.value)) < 130 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"), [("20MB", 20e6), ("64 MiB", 64 * 2**20), ("1.5gb", 1.5e9), ("800B", 800)]
)
def test_a_size_is_in_bytes(text: str, size: float) -> None:
    assert parse_size(text, "20MB") == size


@pytest.mark.parametrize("text", ["20", "20M", "0MB", "MB", "-1MB", "20Mbit", "9" * 400 + "MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 20MB"):
        parse_size(text, "20MB")


@pytest.mark.parametrize("text", ["1200img/s", " 1200 images/s "])
def test_a_throughput_is_in_images_a_second(text: str) -> None:
    assert parse_rate(text, "1200img/s") == 1200


@pytest.mark.parametrize("text", ["1200", "1200img", "1200/s", "0img/s", "img/s", "1200img/min"])
def test_what_is_no_throughput_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 1200img/s"):
        parse_rate(text, "1200img/s")
