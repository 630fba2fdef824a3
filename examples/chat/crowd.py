"""So many clients at once, and where they have been placed: ``python crowd.py HOST:PORT COUNT``."""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from collections.abc import Iterator

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage


class Client:
    """One that blocks."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), 10)
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.socket.sendall(self.ws.send(Request(host=f"{host}:{port}", target="/")))
        self.events = self._events()
        assert isinstance(next(self.events), AcceptConnection)
        self.welcome = self.hear()

    def _events(self) -> Iterator[Event]:
        while True:
            for event in self.ws.events():
                if isinstance(event, Ping):
                    self.socket.sendall(self.ws.send(event.response()))
                else:
                    yield event
            self.ws.receive_data(self.socket.recv(65536) or None)

    def say(self, text: str) -> None:
        self.socket.sendall(self.ws.send(TextMessage(data=text)))

    def leave(self) -> None:
        """Say goodbye, and wait until it is answered."""
        self.socket.sendall(self.ws.send(CloseConnection(code=1000)))
        while not isinstance(next(self.events), CloseConnection):
            pass
        self.socket.close()

    def hear(self) -> dict[str, object]:
        """The next thing that somebody says."""
        text = ""
        for event in self.events:
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                break
        return json.loads(text)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.exit("usage: python crowd.py HOST:PORT COUNT")
    host, _, port = sys.argv[1].rpartition(":")
    crowd = [Client(host, int(port)) for _ in range(int(sys.argv[2]))]
    for slot, count in sorted(Counter(client.welcome["slot"] for client in crowd).items()):
        print(f"slot {slot} holds {count}")
    crowd[0].say("hello")
    print(sum(client.hear()["text"] == "hello" for client in crowd), "heard the first one say hello")
