"""The codec of the port in C, asked nonsense: an answer, or the end and its reason."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest


def codec(port: Path, data: bytes) -> tuple[int, list[Any], str]:
    """What it makes of ``data``: its exit status, its answers, its message."""
    done = subprocess.run([port / "codec"], input=data, capture_output=True, check=False, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


GOOD = b'{"decode": "1042000000000002000000010000000100000004", "from": "worker", "first": false}'


NONSENSE = [
    (b"", "not a JSON object"),
    (b"[]", "not a JSON object"),
    (b"{", "a name is missing"),
    (b'{"cut"', "a colon is missing"),
    (b'{"cut": [}', "this is not JSON"),
    (b'{"cut": ["00" "00"]}', "where a list or an object should go on"),
    (b'{"cut": ["00', "a string has no end"),
    (b'{"cut": ["00\\', "a string has no end"),
    (b'{"cut": []} {}', "not a JSON object"),
    (b'{"cut": ' + b"[" * 1000, "more than 16 values in one another"),
    (b'{"ask": 1}', "asks for none of"),
    (b'{"cut": "00"}', '"cut" is not a list'),
    (b'{"cut": [0]}', '"cut" is not a list of strings'),
    (b'{"cut": ["0"]}', "two hexadecimal digits"),
    (b'{"cut": ["0g"]}', "two hexadecimal digits"),
    (b'{"cut": ["AB"]}', "in lower case"),
    (b'{"decode": 7, "from": "parent", "first": true}', '"decode" is not one frame'),
    (b'{"decode": "", "from": "parent", "first": true}', '"decode" is not one frame'),
    (GOOD.replace(b"0004", b"000400"), '"decode" is not one frame'),
    (GOOD.replace(b"worker", b"nobody"), '"from" is neither'),
    (GOOD.replace(b"false", b"0"), '"first" is neither'),
    (b'{"encode": 1}', '"type" is none of'),
    (b'{"encode": {"type": "GONE", "open": 1}}', '"capacity" is not a number'),
    (b'{"encode": {"type": "GONE", "open": -1, "capacity": 1}}', '"open" is not a number'),
    (b'{"encode": {"type": "GONE", "open": 1.5, "capacity": 1}}', '"open" is not a number'),
    (b'{"encode": {"type": "GONE", "open": 4294967296, "capacity": 1}}', '"open" is not a number'),
    (b'{"encode": {"type": "GONE", "open": ' + b"9" * 100 + b', "capacity": 1}}', '"open" is not a number'),
    (b'{"encode": {"type": "BUSY", "open": 1, "capacity": 1, "order": 1, "accepted": 1}}', '"reason" is none'),
    (b'{"cut": [\0]}', "an octet 0"),
    (b"{" + b" " * (1 << 20) + b"}", "more than 1048576 octets"),
]


@pytest.mark.parametrize(("line", "why"), NONSENSE, ids=map(str, range(len(NONSENSE))))
def test_codec_is_asked_nonsense(port: Path, line: bytes, why: str) -> None:
    """What came before is answered; the message names the line."""
    status, answers, said = codec(port, GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    assert (status, len(answers)) == (65, 1), said
    assert said.startswith("codec: line 2: ")
    assert why in said


def test_codec_whose_input_ends_within_a_line(port: Path) -> None:
    status, answers, said = codec(port, GOOD + b"\n" + GOOD)
    assert (status, len(answers)) == (65, 1)
    assert said == "codec: line 2: the input ends within it\n"


def test_codec_against_random_questions(port: Path) -> None:
    """Questions that are right but for some octets: an answer to each, or the end and its reason; never a crash."""
    draw = random.Random(1)
    frames = [GOOD[12:52].decode(), "10490000101000000000000000000000" + "00000004", "1041" + "0" * 36]
    message = {"type": "BUSY", "order": 2, "accepted": 1, "reason": "EMPTY", "open": 1, "capacity": 4}
    hello = {"type": "IDLE", "open": 0, "capacity": 4, "hello": {"lowest": 16, "highest": 16, "features": []}}
    questions: list[dict[str, Any]] = [{"encode": message}, {"encode": hello}, {"cut": ["10", "", frames[0] * 3]}]
    questions += [{"decode": octets, "from": "worker", "first": bool(at % 2)} for at, octets in enumerate(frames[:9])]
    ended = 0
    for _ in range(150):
        data = bytearray()
        for question in draw.sample(questions, 3):
            line = bytearray(json.dumps(question).encode())
            for _ in range(draw.choice((0, 0, 1, 3))):
                at = draw.randrange(len(line))
                how = draw.randrange(4)
                if how == 0:
                    line[at] = draw.randrange(256)
                elif how == 1:
                    del line[at : at + draw.randrange(1, 9)]
                elif how == 2:
                    line[at:at] = bytes(draw.choice(b'{}[]",:\\0 \xff') for _ in range(draw.randrange(1, 5)))
                else:
                    line[at:at] = line[draw.randrange(len(line)) :]
                if not line:
                    break
            data += line + b"\n"
        status, _, said = codec(port, bytes(data))
        assert status in (0, 65), (bytes(data), said)
        assert bool(said) is bool(status)
        assert not said or (said.startswith("codec: line ") and said.count("\n") == 1), said
        ended += status == 65
    assert 20 < ended < 140, "questions of both kinds are wanted"
