# SPDX-License-Identifier: Apache-2.0
"""The formats: what each makes of its messages, and that nothing but the decode error comes out of any."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats.codecs import CODECS
from adapters.formats.table import FORMATS, check_profile, decode
from broker.errors import BadRequestData
from broker.intake.formats import FormatProfile, Frame, parse_profile
from broker.intake.readings import Measurement, UndecodablePayload

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
AT = datetime(2026, 11, 21, 7, 40, tzinfo=UTC)


def decoded(name: str, payload: Any, attribute: str | None = None, **profile: Any) -> list[Measurement]:
    body = payload if isinstance(payload, bytes) else payload.encode() if isinstance(payload, str) else None
    frame = Frame("topic", orjson.dumps(payload) if body is None else body, NOW, attribute)
    return decode(frame, FormatProfile(name, **profile))


class TestUltraLight:
    """name|value pairs, groups parted by #."""

    def test_measures_of_one_group(self) -> None:
        assert decoded("ultralight", "l|1.23|s|wet") == [Measurement(NOW, {"l": 1.23, "s": "wet"})]

    def test_groups_are_measurements_of_their_own(self) -> None:
        assert [m.values for m in decoded("ultralight", "l|1#l|2")] == [{"l": 1}, {"l": 2}]

    def test_group_may_begin_with_its_time(self) -> None:
        payload = "2026-11-21T07:40:00Z|l|1#2026-11-21T16:40:00+09:00|l|2#l|3"
        assert [m.observed_at for m in decoded("ultralight", payload)] == [AT, AT, NOW]

    def test_time_instant_among_the_measures_is_the_time(self) -> None:
        found = decoded("ultralight", "l|1|TimeInstant|2026-11-21T07:40:00Z")
        assert found == [Measurement(AT, {"l": 1})]

    def test_single_measure_by_topic(self) -> None:
        assert decoded("ultralight", "1.23", attribute="l") == [Measurement(NOW, {"l": 1.23})]

    @pytest.mark.parametrize("payload", ["gauge@ping|ok", "gauge@set|a=1|b=2"])
    def test_commands_are_refused_clearly(self, payload: str) -> None:
        with pytest.raises(UndecodablePayload, match="commands are not supported"):
            decoded("ultralight", payload)

    @pytest.mark.parametrize("payload", ["", "l", "l|1#", "|1", b"\xff|1", "soon|l|1"])
    def test_what_is_wrong_is_refused(self, payload: str | bytes) -> None:
        with pytest.raises(UndecodablePayload):
            decoded("ultralight", payload)


class TestIotAgentJson:
    """An object of measures, or an array of them."""

    def test_object_is_one_measurement(self) -> None:
        assert decoded("iot-agent-json", {"l": 1.5, "p": {"x": 1}}) == [Measurement(NOW, {"l": 1.5, "p.x": 1})]

    def test_time_instant_is_the_time(self) -> None:
        found = decoded("iot-agent-json", [{"TimeInstant": "2026-11-21T07:40:00.000Z", "l": 1}, {"l": 2}])
        assert [m.observed_at for m in found] == [AT, NOW]

    @pytest.mark.parametrize(("payload", "value"), [("1.5", 1.5), ('"wet"', "wet"), ("wet", "wet"), ("true", True)])
    def test_single_measure_by_topic(self, payload: str, value: Any) -> None:
        assert decoded("iot-agent-json", payload, attribute="l") == [Measurement(NOW, {"l": value})]


class TestSenml:
    """RFC 8428."""

    def test_base_fields_hold_for_the_records_that_follow(self) -> None:
        """The pack of section 5.1.3, shortened."""
        pack = [
            {"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1.276020076e9, "bu": "A", "bver": 5},
            {"n": "voltage", "u": "V", "v": 120.1},
            {"n": "current", "t": -5, "v": 1.2},
            {"n": "current", "v": 1.7},
        ]
        found = decoded("senml", pack)
        assert [m.observed_at.timestamp() for m in found] == [1276020076, 1276020071]
        assert (found[0].values["voltage"], found[0].values["current"]) == (120.1, 1.7)
        assert found[1].values["urn:dev:ow:10e2073a01080063:current"] == 1.2
        assert (found[0].units["voltage"], found[1].units["current"]) == ("VLT", "AMP")

    def test_small_times_are_relative_to_now(self) -> None:
        found = decoded("senml", [{"n": "l", "v": 1}, {"n": "l", "v": 2, "t": -60}])
        assert [m.observed_at for m in found] == [NOW, NOW - timedelta(seconds=60)]

    def test_texts_booleans_sums_and_base_values(self) -> None:
        pack = [{"bv": 10, "n": "a", "v": 1}, {"n": "b", "vs": "wet"}, {"n": "c", "vb": False}, {"n": "d", "s": 3}]
        assert decoded("senml", pack)[0].values == {"a": 11, "b": "wet", "c": False, "d": 3}

    def test_two_base_names_leave_only_whole_names(self) -> None:
        found = decoded("senml", [{"bn": "a:", "n": "l", "v": 1}, {"bn": "b:", "n": "l", "v": 2}])
        assert found[0].values == {"a:l": 1, "b:l": 2}

    @pytest.mark.parametrize(
        ("pack", "says"),
        [
            ({}, "a SenML pack has to be an array"),
            ([], "a SenML pack has to be an array"),
            ([{"n": "l", "v": 1, "new_": 1}], "the field new_ has to be understood"),
            ([{"bver": 11, "n": "l", "v": 1}], "SenML version 11 is not known"),
            ([{"v": 1}], "neither a name nor a base name"),
            ([{"n": "l", "v": "1"}], "v is '1'; it has to be a number"),
            ([{"n": "l", "v": None}], "v is None; it has to be a number"),
            ([{"bn": None, "n": "l", "v": 1}], "bn is None; it has to be a text"),
            ([{"n": "l"}], "the pack holds no value"),
            ([{"n": "l", "v": 1, "t": 1e300}], "record 1"),
        ],
    )
    def test_what_is_wrong_is_said(self, pack: Any, says: str) -> None:
        with pytest.raises(UndecodablePayload) as caught:
            decoded("senml", pack)
        assert says in str(caught.value)


class TestCsv:
    """Lines with the columns of the profile."""

    COLUMNS = ("time", "level", "state")

    def test_lines_are_readings(self) -> None:
        payload = "time,level,state\r\n2026/11/21 16:40,1.23,正常\n\n2026/11/21 24:00,,\n".encode("cp932")
        found = decoded("csv", payload, columns=self.COLUMNS, encoding="cp932", time_zone="Asia/Tokyo")
        assert found == [
            Measurement(AT, {"level": 1.23, "state": "正常"}),
            Measurement(datetime(2026, 11, 21, 15, 0, tzinfo=UTC), {}),
        ]

    def test_full_width_space_around_a_cell_is_no_part_of_it(self) -> None:
        found = decoded("csv", "　1.5 ;wet", columns=("level", "state"), separator=";")
        assert found == [Measurement(NOW, {"level": 1.5, "state": "wet"})]

    @pytest.mark.parametrize("payload", ["", "1,2", "soon,1,2", ",1,2", b"\x81,1,2"])
    def test_what_is_wrong_is_refused(self, payload: str | bytes) -> None:
        with pytest.raises(UndecodablePayload):
            decoded("csv", payload, columns=self.COLUMNS)


class TestPartsThatAreWrong:
    """A line or a record that cannot be read spoils none of the others."""

    @pytest.mark.parametrize(
        ("name", "payload", "profile", "read", "says"),
        [
            (
                "csv",
                "1,2\n1,2,3\n4,5",
                {"columns": ("l", "b")},
                [1, 4],
                "line 2: there are 3 cells; the profile names 2",
            ),
            ("csv", "Z,2\n\n1795248000,3", {"columns": ("time", "l")}, [3], "line 1: 'Z' is not a date and time"),
            ("ultralight", "l|1#l#l|2", {}, [1, 2], "group 2: 'l' has to be name|value|name|value..."),
            (
                "iot-agent-json",
                '[{"l": 1}, 2, {"l": 3, "TimeInstant": "soon"}]',
                {},
                [1],
                "group 2: a group of measures",
            ),
            (
                "json",
                '[{"l": 1, "t": "soon"}, {"l": 2, "t": 1795248000}]',
                {"time_field": "t"},
                [2],
                "record 1: 'soon'",
            ),
            ("senml", '[{"n": "l", "v": 1}, {"n": "l", "t": 1, "v": "x"}]', {}, [1], "record 2: v is 'x'"),
            ("minamo-json", '[{"l": 1}, {"l": 2, "time": "2026-11-21T07:40:00Z"}]', {}, [2], 'reading 1: "time" is'),
        ],
    )
    def test_are_named_and_the_rest_is_read(
        self, name: str, payload: str, profile: dict[str, Any], read: list[int], says: str
    ) -> None:
        with pytest.raises(UndecodablePayload) as refused:
            decoded(name, payload, **profile)
        assert says in str(refused.value)
        assert [measurement.values["l"] for measurement in refused.value.readable] == read


class TestJsonOfAnyShape:
    """Records of many devices in one document."""

    def test_number_and_its_text_name_the_same_record(self) -> None:
        found = decoded("json", [{"id": 7, "l": 1}, {"id": 8, "l": 2}], select={"id": "7"})
        assert [measurement.values["l"] for measurement in found] == [1]

    def test_what_there_is_instead_is_told(self) -> None:
        with pytest.raises(UndecodablePayload, match=r"no record has \{'id': '9'\}; in the document id is 7, 8"):
            decoded("json", [{"id": 7}, {"id": 8}], select={"id": "9"})

    def test_byte_order_mark_is_passed_over(self) -> None:
        assert decoded("json", b'\xef\xbb\xbf{"l": 1}')[0].values == {"l": 1}
        assert decoded("minamo-json", b'\xef\xbb\xbf{"l": 1, "time": "2026-11-21T07:40:00Z"}')[0].values == {"l": 1}


class TestUplinks:
    """LoRaWAN, beyond the published vectors."""

    def test_things_stack_leaves_out_what_is_zero(self) -> None:
        (found,) = decoded(
            "things-stack",
            {"uplink_message": {"decoded_payload": {"level": 1}, "received_at": "2026-11-21T07:40:00.123456789Z"}},
            zeros=("rain",),
        )
        assert found.values == {"level": 1, "rain": 0}
        assert found.state == {"frameCounter": 0, "framePort": 0}
        assert found.observed_at == AT + timedelta(microseconds=123456)

    def test_expressions_read_the_bytes(self) -> None:
        payload = base64.b64encode(bytes.fromhex("04d2ff38")).decode()
        fields = {"level": "u16be(0) * 0.001", "temperature": "i16be(2) / 100"}
        (found,) = decoded("chirpstack", {"data": payload, "fPort": 2}, fields=fields)
        assert found.values == {"level": pytest.approx(1.234), "temperature": -2.0}

    def test_uplink_that_nobody_decodes_says_so(self) -> None:
        with pytest.raises(UndecodablePayload, match="names no codec and no fields"):
            decoded("chirpstack", {"data": "AA=="})

    def test_tipping_bucket_of_decentlab(self) -> None:
        """The example in Decentlab's documentation of the DL-TBRG."""
        payload = bytes.fromhex("0202f8000300040258409a00000c54")
        (found,) = decoded("bytes", payload, codec="decentlab/DL-TBRG")
        quantities = ("precipitation", "precipitation_interval", "cumulative_precipitation", "battery_voltage")
        assert [found.values[name] for name in quantities] == [0.4, 600, 1653.8, 3.156]

    def test_join_message_of_milesight_is_state(self) -> None:
        payload = bytes.fromhex("ff0bffff0101ff166747d19692650044ff090310ff0a0105ff0f00")
        (found,) = decoded("bytes", payload, codec="milesight/EM500-UDL")
        assert found.state == {"firmwareVersion": "V1.5", "hardwareVersion": "V3.1", "serialNumber": "6747d19692650044"}

    def test_cayenne_example_of_two_temperatures(self) -> None:
        """The first example of the Cayenne documentation."""
        (found,) = decoded("bytes", bytes.fromhex("03670110056700ff"), codec="cayenne-lpp")
        assert found.values == {"temperature_3": 27.2, "temperature_5": 25.5}

    def test_cayenne_example_of_a_place(self) -> None:
        (found,) = decoded("bytes", bytes.fromhex("018806765ff2960a0003e8"), codec="cayenne-lpp")
        assert found.values == {"gps_1.latitude": 42.3519, "gps_1.longitude": -87.9094, "gps_1.altitude": 10}


class TestProfiles:
    """What a profile may say."""

    @pytest.mark.parametrize(
        ("document", "says"),
        [
            (1, "device.format is 1"),
            ({"kind": "x"}, "device.format.kind is not known"),
            ("xml", "device.format.name is 'xml'; the formats are minamo-json"),
            ({"name": "loriot", "codec": "x"}, "device.format.codec is 'x'; the codecs are decentlab/DL-MBX"),
            ({"name": "senml", "codec": "cayenne-lpp"}, "codec and fields are for the formats bytes"),
            ({"name": "bytes"}, "the format bytes needs a codec or fields"),
            ({"name": "csv"}, "the format csv needs columns"),
            ({"name": "bytes", "fields": {"l": "u8("}}, "device.format.fields.l: a number, a name or ( is expected"),
            ({"name": "json", "timeZone": "Asia/Edo"}, "'Asia/Edo'; it has to be an IANA name such as Asia/Tokyo"),
            ({"name": "csv", "columns": ["a"], "encoding": "x"}, "device.format.encoding is 'x'"),
            ({"name": "json", "sentinels": [None]}, "device.format.sentinels is [None]"),
        ],
    )
    def test_what_is_wrong_is_said(self, document: Any, says: str) -> None:
        with pytest.raises(BadRequestData) as caught:
            check_profile(parse_profile(document))
        assert says in str(caught.value)

    def test_profile_survives_its_json_form(self) -> None:
        document = {"name": "csv", "columns": ["time", "l"], "separator": ";", "sentinels": [-9999, "nan"]}
        assert parse_profile(document).document() == document


LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12)
NAMES = st.sampled_from(
    [
        "uplink_message",
        "received_at",
        "frm_payload",
        "f_port",
        "rx_metadata",
        "rssi",
        "decoded_payload",
        "data",
        "time",
        "rxInfo",
        "txInfo",
        "object",
        "objectJSON",
        "devEUI",
        "fPort",
        "cmd",
        "ts",
        "gws",
        "bat",
        "freq",
        "dr",
        "port",
        "DevEUI_uplink",
        "payload_hex",
        "Time",
        "Frequency",
        "Lrrs",
        "Lrr",
        "n",
        "v",
        "t",
        "bn",
        "bt",
        "u",
        "TimeInstant",
    ]
)
WORTHY = st.sampled_from(["rx", "AA==", "00ff", "AgEvAAME0gABC7E=", "2026-11-21T07:40:00Z", 1501064048945, 85])
DOCUMENTS = st.recursive(
    LEAVES | WORTHY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)
PROFILES = [
    *(FormatProfile(name, columns=("time", "l")) for name in FORMATS if name != "bytes"),
    *(FormatProfile("bytes", codec=codec) for codec in CODECS),
    *(FormatProfile(name, codec="cayenne-lpp") for name in ("things-stack", "chirpstack", "loriot", "thingpark")),
    FormatProfile("loriot", fields={"l": "u16be(0) / u8(2)"}),
    FormatProfile("json", records="data", time_field="time", time_zone="Asia/Tokyo", select={"port": 1}),
]


def _tolerate(profile: FormatProfile, payload: bytes, attribute: str | None) -> None:
    """Any measurement is sound, any error the decode error."""
    try:
        found = decode(Frame("topic", payload, NOW, attribute), profile)
    except UndecodablePayload:
        return
    assert all(m.observed_at.utcoffset() == timedelta(0) for m in found)


NOT_JSON = ("bytes", "csv", "ultralight")


def _name(profile: FormatProfile) -> str:
    return f"{profile.name} {profile.codec or ''}".strip()


class TestNothingButTheDecodeError:
    """No input raises anything else, whatever the format."""

    @pytest.mark.parametrize("profile", PROFILES, ids=_name)
    @given(payload=st.binary(max_size=40), attribute=st.none() | st.just("l"))
    def test_for_any_bytes(self, profile: FormatProfile, payload: bytes, attribute: str | None) -> None:
        _tolerate(profile, payload, attribute)

    @pytest.mark.parametrize(
        "profile", [p for p in PROFILES if p.name not in ("bytes", "csv", "ultralight")], ids=_name
    )
    @given(document=DOCUMENTS)
    def test_for_any_document(self, profile: FormatProfile, document: Any) -> None:
        try:
            payload = orjson.dumps(document)
        except TypeError:  # integers beyond 64 bits
            payload = str(document).encode()
        _tolerate(profile, payload, None)

    @pytest.mark.parametrize("profile", [p for p in PROFILES if p.name in ("csv", "ultralight")], ids=_name)
    @given(text=st.text(alphabet="lt|#@,;\n0123456789-:TZ. \"'", max_size=40))
    def test_for_any_text(self, profile: FormatProfile, text: str) -> None:
        _tolerate(profile, text.encode(), None)
