"""The live page's server in a thread of the tests, with a token that they know."""

import socket
import threading
import time

import uvicorn

from birthmark.serve import make_app
from birthmark.store import open_store

TOKEN = "open-sesame"


class Server:
    """Serves a store from `start` to `stop`; it can be started again at its port."""

    def __init__(self, path):
        self._path = path
        self.port = 0

    def start(self):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        app = make_app(open_store(self._path), TOKEN)
        config = uvicorn.Config(
            app, log_level="critical", timeout_graceful_shutdown=1, ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        return self

    def stop(self):
        self._server.should_exit = True
        self._thread.join()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def door(self):
        return f"{self.address}/?token={TOKEN}"
