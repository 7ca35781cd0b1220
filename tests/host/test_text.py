"""Text for people: bytes in hexadecimal."""

from pltvm.host.text import hexdump


def test_hexdump() -> None:
    assert hexdump(b"") == ["  (empty)"]
    assert hexdump(b"A\0" * 9)[1].split() == ["0010", "41", "00", "A."]


def test_hexdump_of_lines_that_are_alike() -> None:
    assert len(hexdump(bytes(4096))) == 256
    lines = hexdump(b"A" + bytes(4095), folded=True)
    assert [line.split()[0] for line in lines] == ["0000", "0010", "*", "0ff0"]
    assert hexdump(bytes(16), folded=True) == hexdump(bytes(16))
    assert hexdump(bytes(40), folded=True) == [*hexdump(bytes(40))[:1], "  *", *hexdump(bytes(40))[2:]]
