"""The same through the daemon's API on its Unix socket, server and client in this process, so that CPU is of both.

Two requests per run: submit, then wait for the result. The difference to `loomd` is what the hop costs.
"""

from . import loomd as _whole

PEER, DISTS = "loomd through its socket", _whole.DISTS
setup, setup_fake, make_agent = _whole.setup, _whole.setup_fake, _whole.make_agent

TASKS = "http://loomd/apis/loomd.dev/v1/namespaces/default/tasks"


async def _session(app):
    if not hasattr(app, "session"):
        import aiohttp

        from loomd.api.server import open_server
        system = await app.ready()
        await app.stack.enter_async_context(open_server(system))
        connector = aiohttp.UnixConnector(str(system.settings.socket), limit=0)
        app.session = await app.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    return app.session


async def run(app, prompt):
    session = await _session(app)
    async with session.post(TASKS, json={"goal": prompt}) as response:
        response.raise_for_status()
        task = (await response.json())["id"]
    async with session.get(f"{TASKS}/{task}", params={"wait": "1"}) as response:
        response.raise_for_status()
        status = (await response.json())["status"]
    if status["phase"] != "Succeeded":
        raise RuntimeError(status.get("error"))
    return status["output"]


async def close(app):
    await app.stack.aclose()
