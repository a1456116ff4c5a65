"""One look a second for all who look, and none while nobody does."""

import asyncio
import json

from dae_pacs.web import live
from dae_pacs.web.live import Live


def test_viewers_share_one_look_and_nobody_costs_nothing(monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.05)
    looks = []

    def look():
        looks.append(1)
        return {"count": len(looks), "same": 1}

    async def read(source, count):
        stream = source.stream()
        told = [json.loads((await anext(stream)).removeprefix("data: ")) for _ in range(count)]
        await stream.aclose()
        return told

    async def run():
        source = Live(look)
        told = await asyncio.gather(*(read(source, 3) for _ in range(10)))
        await asyncio.sleep(0.15)
        after = source.looks
        await asyncio.sleep(0.2)
        return told, after, source.looks

    told, after, later = asyncio.run(run())
    assert all(first == {"count": first["count"], "same": 1} for first, *_ in told)
    assert all("same" not in news for _, *rest in told for news in rest)
    assert after <= 6, "ten viewers, three looks each, and a few more until the last had gone"
    assert later == after
