import pytest

from gateway.tls.versions import TlsVersion


@pytest.mark.parametrize(
    ("spellings", "version"),
    [
        ((769, "769", "1.0", "TLS1.0", "TLSv1.0"), TlsVersion.TLS1_0),
        ((770, "770", "1.1", "tlsv1.1"), TlsVersion.TLS1_1),
        ((771, "771", " 1.2 ", "TLS 1.2", TlsVersion.TLS1_2), TlsVersion.TLS1_2),
        ((772, "772", "1.3", "TLS v1.3"), TlsVersion.TLS1_3),
    ],
)
def test_every_spelling_of_a_version_is_read(spellings, version):
    assert {TlsVersion.parse(spelling) for spelling in spellings} == {version}


@pytest.mark.parametrize("value", [0, 1, 768, 773, -1, "", "TLS", "1.4", "1", "2", "SSLv3", "1.2.0", 1.2345, True])
def test_anything_else_is_refused_with_the_cure(value):
    with pytest.raises(ValueError, match=r"use 1\.0, 1\.1, 1\.2 or 1\.3"):
        TlsVersion.parse(value)


def test_the_value_is_the_number_on_the_wire_and_the_label_is_for_people():
    assert [(int(version), version.label) for version in TlsVersion] == [
        (0x0301, "1.0"),
        (0x0302, "1.1"),
        (0x0303, "1.2"),
        (0x0304, "1.3"),
    ]
