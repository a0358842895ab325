# SPDX-License-Identifier: Apache-2.0
"""Documents of cities, as they come, become records of stations."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.polls.records import read_records
from broker.intake.polls import PollFormat
from broker.intake.readings import UndecodablePayload
from broker.sections import read_document

FOLDER = Path(__file__).parents[2] / "data" / "city_sensors"

XML = """<?xml version="1.0" encoding="UTF-8"?>
<d:report xmlns:d="urn:x" issued="2026/11/21 16:40">
  <d:river name="巴川">
    <area>south</area>
    <station code="17" plaw="1.2" danw="2.5">
      <obs ot="2026/11/21 16:30" ov="0.81" osi="0"/>
      <obs ot="2026/11/21 24:00" ov="" osi="1"/>
    </station>
    <station code="18"><obs ot="2026/11/21 16:30" ov="-0.30" osi="0"/><note/></station>
  </d:river>
</d:report>"""


def read(body: bytes | str, headers: dict[str, str] | None = None, **members: Any) -> list[tuple[str, dict[str, Any]]]:
    data = body.encode() if isinstance(body, str) else body
    return read_records(data, read_document(PollFormat, members), headers or {})


class TestJson:
    @pytest.mark.parametrize(
        ("file", "records", "station", "expected"),
        [
            ("saitama_latest.json", None, "place_no", ["15", "16", "17", "18"]),
            ("shizuoka_city_underpass.json", "Data", "ObserverPointCd", ["50", "51", "52"]),
            ("kakegawa_road.json", "data", "road_cd", ["1F73A6E", "1F73A70", "1F73A71", "1F73A72"]),
            ("kakogawa.geojson", "features", "properties.os_place_name", ["架空アンダーパス", "架空水路"]),
            ("chiba_sigfox.json", "sigfox_states", "device_id", ["0A1B2C", "0A1B2D"]),
        ],
    )
    def test_every_shape_of_a_city_falls_into_its_stations(
        self, file: str, records: str | None, station: str, expected: list[str]
    ) -> None:
        options = {"records": records} if records else {}
        found = read((FOLDER / file).read_bytes(), station=station, **options)
        assert [name for name, _ in found] == expected

    def test_a_record_is_flat_and_keeps_what_it_says(self) -> None:
        body = (FOLDER / "shizuoka_city_underpass.json").read_bytes()
        found = dict(read(body, records="Data", station="ObserverPointCd"))
        assert (found["52"]["WaterLevel"], found["52"]["Pumps.0.PumpState"]) == (-30, "停止")

    def test_series_below_stations_bring_their_station_along(self) -> None:
        body = '{"stations": {"a": {"zero": 1.5, "values": [{"t": 1, "v": 2}, {"t": 2, "v": 3}]}, "b": {"values": []}}}'
        found = read(body, records="stations.*.values", station="../$key")
        assert found == [
            ("a", {"../$key": "a", "../zero": 1.5, "t": 1, "v": 2}),
            ("a", {"../$key": "a", "../zero": 1.5, "t": 2, "v": 3}),
        ]

    def test_object_of_stations(self) -> None:
        assert read('{"a": {"v": 1}, "b": {"v": 2}}', records="*", station="$key") == [
            ("a", {"$key": "a", "v": 1}),
            ("b", {"$key": "b", "v": 2}),
        ]

    def test_what_stands_in_the_document_or_in_a_header_is_put_into_each_record(self) -> None:
        fields = {"time": "head.updated", "modified": "header:Last-Modified"}
        headers = {"last-modified": "Sat, 21 Nov 2026 07:40:00 GMT"}
        body = '{"head": {"updated": "2026-11-21 16:40"}, "rows": [{"v": 1}]}'
        ((station, record),) = read(body, headers, records="rows", documentFields=fields)
        assert station == ""
        assert record == {"v": 1, "time": "2026-11-21 16:40", "modified": "2026-11-21T07:40:00Z"}

    def test_document_of_one_station(self) -> None:
        assert read('\ufeff{"v": 1}') == [("", {"v": 1})]

    @pytest.mark.parametrize(
        ("body", "options", "says"),
        [
            ("<html>", {}, "the payload is not JSON"),
            ("[1]", {}, "a record has to be an object, not int"),
            ('{"a": []}', {"records": "b"}, "there is nothing at b"),
            ('[{"a": 1}]', {"station": "b"}, "record 1 has no b, which should name its station"),
            ('[{"a": 1}]', {"documentFields": {"t": "x.y"}}, "there is nothing at x.y, where t should stand"),
            ("[]", {"documentFields": {"t": "header:Date"}}, "there is nothing at header:Date, where t should stand"),
        ],
    )
    def test_what_is_wrong_is_said(self, body: str, options: dict[str, Any], says: str) -> None:
        with pytest.raises(UndecodablePayload, match=says.replace("(", r"\(")):
            read(body, **options)


class TestCsv:
    def test_columns_by_the_first_line_after_those_to_pass_over(self) -> None:
        body = "三島市 水位,2026/11/21 16:40\r\n局番,水位\r\n1,0.81\r\n\r\n2,\u3000\r\n".encode("cp932")
        fields = {"time": "1.2"}
        found = read(body, name="csv", encoding="cp932", skipLines=1, station="局番", documentFields=fields)
        time = "2026/11/21 16:40"
        assert found == [("1", {"局番": 1, "水位": 0.81, "time": time}), ("2", {"局番": 2, "水位": None, "time": time})]

    def test_columns_of_the_format(self) -> None:
        found = read("1;0,5\n2;-3", name="csv", separator=";", columns=["id", "v"], station="id")
        assert found == [("1", {"id": 1, "v": "0,5"}), ("2", {"id": 2, "v": -3})]

    def test_line_of_another_length_is_refused_with_its_number(self) -> None:
        with pytest.raises(UndecodablePayload, match="line 3 has 1 cells; there are 2 columns"):
            read("a,b\n1,2\n3", name="csv")


class TestXml:
    def test_series_of_a_prefecture_with_what_is_around_them(self) -> None:
        found = read(XML, name="xml", records="river/station/obs", station="../@code")
        assert [station for station, _ in found] == ["17", "17", "18"]
        assert found[0][1] == {
            "@ot": "2026/11/21 16:30",
            "@ov": 0.81,
            "@osi": 0,
            "../@code": 17,
            "../@plaw": 1.2,
            "../@danw": 2.5,
            "../../@name": "巴川",
            "../../area": "south",
            "../../../@issued": "2026/11/21 16:40",
        }
        assert found[1][1]["@ov"] is None

    @pytest.mark.parametrize(
        ("path", "count"),
        [("//obs", 3), ("*/station", 2), ("//station[@code='18']", 1), ("./river", 1), ('river/*[@code="18"]/obs', 1)],
    )
    def test_paths(self, path: str, count: int) -> None:
        assert len(read(XML, name="xml", records=path)) == count

    def test_fields_of_the_document(self) -> None:
        fields = {"issued": "@issued", "zone": "river/area", "river": "river/@name"}
        record = read(XML, name="xml", records="//station", documentFields=fields)[1][1]
        assert (record["issued"], record["zone"], record["river"]) == ("2026/11/21 16:40", "south", "巴川")
        assert (record["obs/@ov"], record["note"]) == (-0.3, None)

    @pytest.mark.parametrize(
        ("name", "encoding"), [("Shift_JIS", "cp932"), ("windows-31j", "cp932"), ("EUC-JP", "euc-jp")]
    )
    def test_encoding_that_the_document_declares_needs_no_setting(self, name: str, encoding: str) -> None:
        body = f'<?xml version="1.0" encoding="{name}"?><a><b v="巴川"/></a>'.encode(encoding)
        assert read(body, name="xml", records="b") == [("", {"@v": "巴川"})]

    def test_encoding_that_nobody_knows_is_told(self) -> None:
        with pytest.raises(UndecodablePayload, match="not text in klingon: unknown encoding"):
            read('<?xml version="1.0" encoding="Klingon"?><a/>', name="xml")

    def test_declared_encoding_that_the_parser_does_not_know(self) -> None:
        body = '<?xml version="1.0" encoding="Shift_JIS"?><a><b v="1">巴川</b></a>'.encode("cp932")
        assert read(body, name="xml", records="b", encoding="cp932") == [("", {"@v": 1, ".": "巴川"})]

    @pytest.mark.parametrize(
        "body",
        [
            '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><b>&x;</b></a>',
            '<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><a><b>&y;</b></a>',
            '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
        ],
    )
    def test_document_types_and_entities_are_refused(self, body: str) -> None:
        with pytest.raises(UndecodablePayload, match="which are not taken"):
            read(body, name="xml")

    def test_deep_document_is_refused(self) -> None:
        with pytest.raises(UndecodablePayload, match="more than 50 elements deep"):
            read("<a>" * 60 + "</a>" * 60, name="xml")

    def test_many_siblings_are_read_in_a_moment(self) -> None:
        """What is around a record is worked out once, not for each of its siblings."""
        body = "<a><s c='1'>" + "<o v='1'/>" * 10_000 + "</s></a>"
        assert len(read(body, name="xml", records="s/o", station="../@c")) == 10_000


@given(body=st.binary(max_size=200), name=st.sampled_from(["json", "csv", "xml"]))
def test_no_bytes_make_anything_but_records_or_a_refusal(body: bytes, name: str) -> None:
    with contextlib.suppress(UndecodablePayload):
        read(body, name=name)
