"""A steady load on Superset, each request on a connection of its own, until a file appears.

    load.py URL STOP

Prints one line: `TOTAL FAILED LONGEST-IN-MILLISECONDS`, and each failure on standard error. Every fourth request is for the login page, the others
ask for the health.
"""

import pathlib
import sys
import threading
import time
import urllib.request

EVERY = 1 / 30


class Load:
    def __init__(self, url):
        self.url, self.lock, self.failed, self.longest = url, threading.Lock(), [], 0.0

    def request(self, path):
        began, failed = time.monotonic(), None
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                answer.read()
        except Exception as error:  # whatever it is, a user would have seen it
            failed = f"{path}: {error!r}"
        with self.lock:
            self.longest = max(self.longest, time.monotonic() - began)
            if failed:
                self.failed.append(failed)


def main(url, stop):
    load, total, threads, due = Load(url), 0, [], time.monotonic()
    while not pathlib.Path(stop).exists():
        thread = threading.Thread(target=load.request, args=("/login/" if total % 4 == 0 else "/health",))
        thread.start()
        threads, total, due = [one for one in threads if one.is_alive()] + [thread], total + 1, due + EVERY
        time.sleep(max(0, due - time.monotonic()))
    for thread in threads:
        thread.join()
    print(*load.failed, sep="\n", file=sys.stderr)
    print(total, len(load.failed), round(load.longest * 1000))


main(*sys.argv[1:])
