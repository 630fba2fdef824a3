"""What is broken in :mod:`backchannel_sync.blocking`."""

from __future__ import annotations

from backchannel_sync import blocking

from . import rewrite, wrong


@wrong("BC-BUSY-02", role="worker", kills=["test_answer_before_service"])
def answer_after_service() -> None:
    rewrite(
        blocking.run,
        ("                _flush(side, channel)\n                _serve_all"),
        "                _serve_all",
    )


@wrong("BC-WORK-05", role="worker", kills=["test_listener_flags_are_left_alone"])
def listener_made_blocking_at_the_end() -> None:
    rewrite(
        blocking.run,
        ("    for listener in listeners:\n        listener.close()\n"),
        ("    for listener in listeners:\n        listener.setblocking(True)\n        listener.close()\n"),
    )


@wrong("BC-WORK-07", role="worker", kills=["test_service_that_fails"])
def failing_service_ends_the_worker() -> None:
    rewrite(blocking.serve_one, "    except BaseException as error:\n", "    except ZeroDivisionError as error:\n")


@wrong("BC-DRAIN-03", role="worker", kills=["test_order_then_drain"])
def drop_on_drain() -> None:
    rewrite(
        blocking.run,
        "        data = read(channel)\n",
        (
            "        data = read(channel)\n"
            "        import select\n"
            "        time.sleep(0.3)\n"
            "        if select.select([channel], [], [], 0)[0] and not channel.recv(1, socket.MSG_PEEK):\n"
            "            data = b''\n"
        ),
    )


@wrong("BC-DRAIN-10", role="worker", kills=["test_no_new_connection_after_end_of_file"])
def backlog_taken_at_the_end() -> None:
    rewrite(
        blocking.run,
        ("    for listener in listeners:\n        listener.close()\n"),
        (
            "    for listener in listeners:\n"
            "        try:\n"
            "            handler(listener.accept()[0])\n"
            "        except OSError:\n"
            "            pass\n"
            "        listener.close()\n"
        ),
    )


@wrong("BC-WORK-05", role="pool", kills=["test_listener_stays_non_blocking"])
def listener_made_blocking() -> None:
    rewrite(
        blocking.run,
        "    channel.setblocking(True)\n",
        ("    channel.setblocking(True)\n    listeners[0].setblocking(True)\n"),
    )


@wrong("BC-BUSY-01", role="pool", kills=["test_killed_before_it_reports"])
def answers_before_it_accepts() -> None:
    rewrite(
        blocking.run,
        ("            connections, reason = attempt(listeners, order)\n            if folds:\n"),
        (
            "            side.answer(order, order.max, __import__('backchannel').Reason.FILLED)\n"
            "            _flush(side, channel)\n"
            "            connections, reason = attempt(listeners, order)\n"
            "            if folds:\n"
        ),
    )
    rewrite(
        blocking.run,
        ("                side.answer(order, len(connections), reason)\n                _flush(side, channel)\n"),
        "",
    )


@wrong("BC-WORK-07", role="pool", kills=["test_error_ends_one_connection"])
def pool_failing_service_ends_the_worker() -> None:
    rewrite(blocking.serve_one, "    except BaseException as error:\n", "    except ZeroDivisionError as error:\n")


@wrong("BC-CAP-02", role="worker", kills=["test_retiring_worker_takes_what_crossed"])
def quota_without_retiring() -> None:
    rewrite(blocking.run, "                side.retire()\n", "                pass\n")


@wrong("BC-DEATH-05", role="worker", kills=["test_parent_gone_with_reports_unread"])
def dies_with_its_parent() -> None:
    rewrite(
        blocking.run,
        ("        data = read(channel)\n        if data is None:"),
        ("        data = channel.recv(4096)\n        if data is None:"),
    )


@wrong("BC-FORK-01", role="pool", kills=["test_listener_stays_non_blocking"])
def listener_blocks() -> None:
    rewrite(
        blocking.run,
        "    channel.setblocking(True)\n",
        ("    channel.setblocking(True)\n    listeners[0].setblocking(True)\n"),
    )


@wrong("BC-DRAIN-04", role="worker", kills=["test_one_connection_outlasts_the_end_of_file"])
def end_of_file_after_service_is_an_error() -> None:
    rewrite(blocking.run, ("            side.eof()\n            break\n"), "            return 1\n")


@wrong("BC-CHAN-12", role="worker", kills=["test_flags_of_its_end_are_its_own"])
def channel_is_taken_to_block() -> None:
    rewrite(blocking.run, "    channel.setblocking(True)\n", "")
    rewrite(blocking.run, "        data = read(channel)\n", "        data = channel.recv(4096)\n")
