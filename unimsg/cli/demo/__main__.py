"""The door by which the demo starts its own processes; the URL comes by the environment, where `ps` does not show it."""

import asyncio
import contextlib
import json
import os
import sys

from unimsg.cli.demo.actors import publish, subscribe

if __name__ == "__main__":
    work = publish if sys.argv[1] == "publish" else subscribe
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group; the parent says what there is to say
        asyncio.run(work(os.environ["UNIMSG_URL"], **json.loads(sys.argv[2])))
