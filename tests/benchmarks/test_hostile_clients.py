"""The benchmark of hostile clients holds what it says, and tells answered from unanswered requests."""

import socket
from itertools import count
from math import isnan
from threading import Thread

from benchmarks.hostile_clients import hold_connections, time_calls
from benchmarks.load import Server


def test_failed_calls_are_counted_and_not_timed():
    number = count()
    times = time_calls(4, lambda: next(number) % 2 == 0)
    assert times["failed"] == 2
    assert 0 <= times["median_seconds"] <= times["max_seconds"] < 1


def test_the_connections_are_held_and_replaced():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        accepted: list[socket.socket] = []

        def accept() -> None:
            for number in range(5):
                accepted.append(listener.accept()[0])
                if number == 2:
                    accepted[0].close()
                    accepted[1].close()

        thread = Thread(target=accept)
        thread.start()
        with hold_connections(Server(listener.getsockname()[1]), 3):
            thread.join(10)
            assert len(accepted) == 5
        for connection in accepted:
            connection.close()


def test_without_an_answer_there_is_no_time():
    times = time_calls(2, lambda: False)
    assert times["failed"] == 2
    assert isnan(times["median_seconds"])
