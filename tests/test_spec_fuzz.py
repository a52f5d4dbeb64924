"""Whatever comes as a spec: a run with a key, or one line that says what is wrong."""

import re
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.errors import SpecError
from birthmark.marks import draw_mark
from birthmark.spec import MarkSpec, RunSpec
from birthmark.spec.files import parse_setting
from spec_fields import FIELDS

EXTREMES = st.sampled_from(
    ["1e300", "1e-320", "-0.0", "nan", "inf", "-inf", "true", "1979-05-27", "07:32:00"]
    + ["9" * 31, "9" * 401, "9" * 5000, "-1", "0", "1", "[]", "{}", '""', "[[1]]"]
    + [f'"{"x" * 300}"', '"\\u0000"', '"every"', "[0, 1e12]", "{a = 1}", '"../.."']
)


@given(st.lists(st.tuples(st.sampled_from(FIELDS), EXTREMES | st.text(max_size=20))))
@settings(max_examples=300)
def test_any_settings_give_a_run_or_one_line(settings):
    try:
        parsed = dict(parse_setting(f"{key}={value}") for key, value in settings)
        spec = RunSpec(data={"name": "digits"}).with_settings(parsed)
    except SpecError as error:
        message = str(error)
        assert message and len(message) < 700
        assert "Traceback" not in message
    else:
        assert re.fullmatch("[0-9a-f]{16}", spec.run_key)
        assert len(spec.recorded_epochs) <= spec.training.epochs + 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_a_spec_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError):
        RunSpec.from_toml(path)


def test_a_byte_order_mark_is_no_part_of_a_spec(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b'\xef\xbb\xbf[data]\nname = "digits"\n')
    assert RunSpec.from_toml(path).data.name == "digits"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training.epochs", 10**12, "less than or equal to 10000000"),
        ("training.lr", 1e-320, "between 1e-30 and 1e.30"),
        ("training.weight_decay", 1e300, "between 1e-30 and 1e.30"),
        ("run.seed", 10**30, "less than or equal to 9223372036854775807"),
        ("mark.text", "a" * 100_000, "at most 200 characters"),
        ("mark.image", "/dev/zero", "not a regular file"),
        ("data.name", 3, "valid string"),
    ],
)
def test_what_is_beyond_any_use_is_refused_at_once(key, value, said):
    with pytest.raises(SpecError, match=f"^mark: .*{said}|^{key}: .*{said}"):
        RunSpec(data={"name": "digits"}).with_settings({key: value})


def png(width, height):
    """A PNG that is small as a file, of any size in pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(width + 1, 1000)) * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(20_000, 20_000), "make it smaller"),
        (png(5_000, 5_000), "make it smaller"),
        (png(64, 64)[:40], "is no image"),
        (b"GIF89a", "is no image"),
        (png(64, 64)[:48], "cannot read"),
    ],
)
def test_a_picture_that_cannot_be_a_mark_is_refused(tmp_path, content, said):
    path = tmp_path / "mark.png"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=said):
        draw_mark(MarkSpec(image=str(path)), 16, 16)
