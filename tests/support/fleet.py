"""Many stand-in servers in one process, of mixed speed: `python -m tests.support.fleet` prints where they listen.

Server N is at /sN; every thirteenth answers a fifth of its tasks with 500.
"""

import asyncio
from random import Random

from aiohttp import web

SPEEDS, FASTEST_S, SLOWER_S = 7, 0.2, 0.1
FAULTY_EVERY, FAULTY_AT, FAULTY_SHARE = 13, 5, 0.2


class Servers:
    def __init__(self) -> None:
        self._random = Random(7)

    async def predict(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        await asyncio.sleep(self._random.expovariate(1 / (FASTEST_S + SLOWER_S * (number % SPEEDS))))
        if number % FAULTY_EVERY == FAULTY_AT and self._random.random() < FAULTY_SHARE:
            return web.json_response({"error": "CUDA out of memory"}, status=500)
        return web.json_response({"done": number})

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})


async def main() -> None:
    servers = Servers()
    app = web.Application()
    app.router.add_post(r"/s{number:\d+}/predict", servers.predict)
    app.router.add_get(r"/s{number:\d+}/health", servers.health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
