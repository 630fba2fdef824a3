"""What is broken in :mod:`backchannel_sync.events`."""

from __future__ import annotations

from backchannel_sync.events import _Worker

from . import rewrite, wrong


@wrong("BC-WORK-01", role="worker", kills=["test_listener_is_not_watched"])
def worker_watches_listener() -> None:
    rewrite(
        _Worker.run,
        "    self.channel.setblocking(False)\n",
        (
            "    self.channel.setblocking(False)\n"
            "    for listener in self.listeners:\n"
            "        task = _Task(listener, None)\n"
            "        task.steps = (time.sleep(0.001) or Wait(READ) for _ in iter(int, 1))\n"
            "        self.step(task)\n"
        ),
    )


@wrong("BC-WORK-06", role="worker", kills=["test_silent_client_holds_up_nobody"])
def accepted_socket_blocks() -> None:
    rewrite(_Worker.begin, "        accepted.setblocking(False)\n", "        accepted.setblocking(True)\n")


@wrong("BC-STATUS-05", role="worker", kills=["test_idle_after_the_last_one"])
def reported_before_closed() -> None:
    rewrite(
        _Worker.end,
        ("    close(task.accepted)\n    self.ended += 1\n"),
        ("    self.side.ended()\n    self.flush()\n    time.sleep(3)\n    close(task.accepted)\n"),
    )


@wrong("BC-CAP-01", role="worker", kills=["test_retiring_worker_takes_what_crossed"])
def refuses_after_retiring() -> None:
    rewrite(
        _Worker.channel_ready,
        "        connections, reason = attempt(self.listeners, order)\n",
        (
            "        connections, reason = attempt(self.listeners, order if self.side.capacity else type(order)(order.order, 0, 0))\n"
            "        reason = reason if self.side.capacity or not order.max else type(reason)(1)\n"
        ),
    )


@wrong("BC-CHAN-06", role="worker", kills=["test_parent_gone_with_reports_unread"])
def reset_is_an_error() -> None:
    rewrite(_Worker.channel_ready, "    data = read(self.channel)\n", "    data = self.channel.recv(4096)\n")


@wrong("BC-CHAN-17", role="worker", kills=["test_answer_waits_for_a_full_channel"])
def answer_lost_in_a_full_channel() -> None:
    rewrite(
        _Worker.flush,
        "    blocked = not write_outgoing(self.side, self.channel)\n",
        (
            "    blocked = not write_outgoing(self.side, self.channel)\n    if blocked:\n        self.side._queued.clear()\n"
        ),
    )


@wrong("BC-DRAIN-09", role="worker", kills=["test_draining_worker_lets_go_of_listeners"])
def listener_kept_while_draining() -> None:
    rewrite(_Worker.drain, "        listener.close()\n", "        pass\n")


@wrong("BC-DRAIN-13", role="worker", kills=["test_end_of_file_does_not_spin"])
def spins_on_end_of_file() -> None:
    rewrite(
        _Worker.flush,
        "    self.watch_channel((0 if self.side.draining else READ) | (WRITE if blocked else 0))\n",
        "    self.watch_channel(READ | (WRITE if blocked else 0))\n",
    )


@wrong("BC-DRAIN-05", role="worker", kills=["test_worker_keeps_the_drain_deadline"])
def no_drain_deadline_of_its_own() -> None:
    rewrite(
        _Worker.drain,
        "    self.give_up = time.monotonic() + self.drain_deadline\n",
        "    self.give_up = time.monotonic() + 1000\n",
    )


@wrong("BC-WORK-01", role="pool", kills=["test_no_herd_at_capacity_8"])
def pool_worker_watches_listener() -> None:
    rewrite(
        _Worker.run,
        "    self.channel.setblocking(False)\n",
        (
            "    self.channel.setblocking(False)\n"
            "    for listener in self.listeners:\n"
            "        task = _Task(listener, None)\n"
            "        task.steps = (time.sleep(0.001) or Wait(READ) for _ in iter(int, 1))\n"
            "        self.step(task)\n"
        ),
    )


@wrong("BC-LOAD-01", role="pool", kills=["test_census"])
def pool_reported_before_closed() -> None:
    rewrite(
        _Worker.end,
        ("    close(task.accepted)\n    self.ended += 1\n"),
        ("    self.side.ended()\n    self.flush()\n    time.sleep(0.5)\n    close(task.accepted)\n"),
    )


@wrong("BC-DRAIN-09", role="pool", kills=["test_parent_started_again"])
def orphan_keeps_the_listener() -> None:
    rewrite(_Worker.drain, "        listener.close()\n", "        pass\n")
