"""What is broken in :mod:`backchannel.frames`."""

from __future__ import annotations

import atexit
import os

from backchannel import frames
from backchannel.frames import FrameReader

from . import rewrite, wrong


@wrong("BC-FRAME-01", role="codec", kills=["test_codec_reads_messages", "test_codec_reads_any_frame"])
def figures_swapped() -> None:
    rewrite(
        frames.decode,
        "return Busy(word1, word2, _REASONS[reason], word3, word4)",
        "return Busy(word1, word2, _REASONS[reason], word4, word3)",
    )


@wrong("BC-FRAME-02", role="codec", kills=["test_codec_writes_messages", "test_codec_writes_any_message"])
def reserved_word_written() -> None:
    rewrite(
        frames.encode,
        "return _LAYOUT.pack(version, Type.ACCEPT, 0, 0, order, listener, most, 0)",
        "return _LAYOUT.pack(version, Type.ACCEPT, 0, 0, order, listener, most, 1)",
    )


@wrong("BC-FRAME-08", role="codec", kills=["test_codec_rejects_what_is_wrong"])
def reserved_octet_ignored() -> None:
    rewrite(frames.decode, "    if reserved:\n", "    if False:\n")


@wrong("BC-CHAN-04", role="codec", kills=["test_codec_cuts_a_stream"])
def part_of_a_frame_lost() -> None:
    rewrite(FrameReader.feed, "self._rest = data[whole:]", "self._rest = b''")


@wrong("BC-CHAN-04", role="codec", kills=["test_codec_cuts_any_stream"])
def read_of_a_frames_length_is_a_frame() -> None:
    rewrite(FrameReader.feed, "if len(data) == FRAME_SIZE and not self._rest:", "if len(data) == FRAME_SIZE:")


@wrong("BC-FRAME-01", role="codec", kills=["test_codec_ends_with_its_input"])
def codec_exits_with_1() -> None:
    atexit.register(os._exit, 1)


@wrong("BC-CHAN-04", role="worker", kills=["test_orders_octet_by_octet"])
def half_a_frame_lost() -> None:
    rewrite(FrameReader.feed, "self._rest = data[whole:]", "self._rest = b''")


@wrong("BC-HELLO-11", role="parent", kills=["test_first_message_is_no_hello"])
def hello_with_capacity_0() -> None:
    rewrite(frames.decode_hello, " or word2 or word3 or not capacity:", " or word2 or word3:")


@wrong("BC-CHAN-04", role="parent", kills=["test_reports_split_and_merged"])
def report_in_two_parts_lost() -> None:
    rewrite(FrameReader.feed, "self._rest = data[whole:]", "self._rest = b''")


@wrong("BC-VER-01", role="codec", kills=["test_codec_writes_messages"])
def hello_versions_swapped() -> None:
    rewrite(
        frames.encode,
        "word = hello.lowest << 24 | hello.highest << 16 | hello.features",
        "word = hello.highest << 24 | hello.lowest << 16 | hello.features",
    )


@wrong("BC-VER-02", role="codec", kills=["test_codec_writes_messages"])
def hello_in_our_own_version() -> None:
    rewrite(
        frames.encode,
        "word = hello.lowest << 24 | hello.highest << 16 | hello.features",
        "word, version = hello.lowest << 24 | hello.highest << 16 | hello.features, VERSION",
    )


@wrong("BC-VIOL-04", role="codec", kills=["test_codec_rejects_what_is_wrong"])
def every_fault_is_of_the_layout() -> None:
    rewrite(
        frames.decode,
        'raise Violation("BC-STATUS-06", "GONE with open 0")',
        'raise Violation("BC-FRAME-03", "GONE with open 0")',
    )
