"""A file server that answers each request after a pause, as an object store far away does.

``python -m tests.benchmarks.slow_server FOLDER SECONDS [LOG]`` serves on loopback and writes its port;
the log gets a line ``first stop path`` for each range that was asked for.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO


class SlowRanges(SimpleHTTPRequestHandler):
    """Honours byte ranges and keeps connections open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as object stores; else kept connections wait 40 ms for an answer
    pause = 0.05
    log: TextIO | None = None
    logging = threading.Lock()

    def do_GET(self) -> None:  # the name the server calls
        time.sleep(self.pause)
        path = Path(self.translate_path(self.path))
        size, changed = path.stat().st_size, path.stat().st_mtime_ns
        wanted = self.headers.get("Range")
        first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
        with path.open("rb") as file:
            file.seek(int(first))
            part = file.read((int(last) + 1 if last else size) - int(first))
        if self.log is not None and wanted:
            with self.logging:
                self.log.write(f"{first} {int(first) + len(part)} {self.path}\n")
                self.log.flush()
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{size}")
        self.send_header("ETag", f'"{changed:x}-{size:x}"')  # as object stores do
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *arguments: object) -> None:
        pass


def main() -> None:
    folder, SlowRanges.pause = sys.argv[1], float(sys.argv[2])
    if len(sys.argv) > 3:
        SlowRanges.log = Path(sys.argv[3]).open("a")  # noqa: SIM115  # closed with the process
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SlowRanges, directory=folder)) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
