"""What is broken in :mod:`backchannel_server.channels`."""

from __future__ import annotations

from backchannel_server.channels import Channels

from . import rewrite, wrong


@wrong("BC-EXEC-08", role="parent", kills=["test_descriptors_of_a_program"])
def sibling_ends_left_open() -> None:
    rewrite(
        Channels.spawn,
        "    ours.setblocking(False)\n",
        ("    ours.setblocking(False)\n    ours.set_inheritable(True)\n"),
    )


@wrong("BC-CHAN-09", role="parent", kills=["test_flooding_worker_delays_no_other"])
def channel_read_to_the_end() -> None:
    rewrite(
        Channels._read,
        ("        self._core.received(slot, data, self._loop.time())\n    else:\n"),
        (
            "        self._core.received(slot, data, self._loop.time())\n"
            "        while True:\n"
            "            if not __import__('select').select([channel], [], [], 0.5 if slot == 1 else 0)[0]:\n"
            "                return 1\n"
            "            data = channel.recv(1 << 16)\n"
            "            if not data:\n"
            "                return 1\n"
            "            self._core.received(slot, data, self._loop.time())\n"
            "    else:\n"
        ),
    )


@wrong("BC-PASS-05", role="parent", kills=["test_order_of_a_flooding_worker_expires"])
def overdue_read_for_ever() -> None:
    rewrite(
        Channels.read_all,
        ("        while left and (taken := self._read(slot, channel, left)):\n            left -= taken\n"),
        ("        while slot in self._channels:\n            self._read(slot, channel, 1 << 16)\n"),
    )


@wrong("BC-DEATH-07", role="parent", kills=["test_grandchild_that_writes_for_ever"])
def dead_read_for_ever() -> None:
    rewrite(
        Channels.read_all,
        ("        while left and (taken := self._read(slot, channel, left)):\n            left -= taken\n"),
        ("        while slot in self._channels:\n            self._read(slot, channel, 1 << 16)\n"),
    )


@wrong("BC-DEATH-08", role="parent", kills=["test_grandchild_holds_the_channel"])
def death_waits_for_end_of_file() -> None:
    rewrite(
        Channels.reap,
        "    slots = {pid: slot for slot, pid in self.pids.items()}\n",
        "    slots = {pid: slot for slot, pid in self.pids.items() if slot not in self._channels or self._core.workers[slot].order is None}\n",
    )


@wrong("BC-FORK-02", role="pool", kills=["test_worker_descriptors"])
def forked_sibling_ends_left_open() -> None:
    rewrite(Channels.forget, ("    for channel in self._channels.values():\n        channel.close()\n"), "    pass\n")


@wrong("BC-CHAN-10", role="parent", kills=["test_descriptors_of_a_program"])
def sibling_ends_survive_exec() -> None:
    rewrite(
        Channels.spawn,
        "    ours.setblocking(False)\n",
        ("    ours.setblocking(False)\n    ours.set_inheritable(True)\n"),
    )


@wrong("BC-WAIT-01", role="parent", kills=["test_stopped_worker_delays_nobody"])
def waits_for_each_answer() -> None:
    rewrite(
        Channels.send,
        "    if sent < len(data):\n",
        ("    import select\n    select.select([channel], [], [], 20)\n    if sent < len(data):\n"),
    )


@wrong("BC-KILL-04", role="parent", kills=["test_silence_ends_in_a_kill"])
def kills_without_a_signal() -> None:
    rewrite(
        Channels.kill, "        self._signal(slot, signal.SIGKILL)\n", "        self._signal(slot, signal.SIGCONT)\n"
    )


@wrong("BC-DEATH-06", role="pool", kills=["test_the_dead_leave_nothing_in_the_parent"])
def channels_of_the_dead_are_kept() -> None:
    rewrite(
        Channels._drop,
        ("        self._loop.unwatch(channel)\n        channel.close()\n"),
        ("        self._loop.unwatch(channel)\n        globals().setdefault('kept', []).append(channel)\n"),
    )


@wrong("BC-CHAN-15", role="parent", kills=["test_reports_come_before_the_end", "test_answer_comes_before_the_end"])
def end_is_believed_first() -> None:
    rewrite(
        Channels._read,
        "            data = channel.recv(limit or self._core.octets_per_turn)\n        except ConnectionResetError",
        "            import select\n            poll = select.poll()\n            poll.register(channel, select.POLLIN)\n            gone = any(mask & select.POLLHUP for _, mask in poll.poll(0))\n            data = b'' if gone else channel.recv(limit or self._core.octets_per_turn)\n        except ConnectionResetError",
    )
