"""Compose the stream worker: settings, connections, membership. `python -m stream`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from db.live import LiveStore, create_redis
from db.postgres import open_pool
from stream.kafka import open_consumer, open_producer
from stream.membership import Membership
from stream.messages import POSITIONS_TOPIC
from stream.outbox import Outbox
from stream.runtime import configure_logging, read_settings, run_worker, serve_metrics
from stream.settings import StreamSettings
from stream.warm_up import warm_up
from stream.worker import Connections, run_assignment


async def main(settings: StreamSettings) -> None:
    """Open everything, then serve one assignment after the other until cancelled."""
    async with AsyncExitStack() as stack:
        name, servers = settings.worker_name, settings.kafka_bootstrap_servers
        redis = create_redis(settings.redis_url.get_secret_value(), name)
        stack.push_async_callback(redis.aclose)
        outbox = Outbox(await stack.enter_async_context(open_producer(servers, name)))
        connections = Connections(
            pool=await stack.enter_async_context(open_pool(settings.database_url.get_secret_value(), name)),
            store=LiveStore(redis),
            quotes=await stack.enter_async_context(open_consumer(servers, f"{name}-quotes")),
            positions=await stack.enter_async_context(open_consumer(servers, name, settings.consumer_group)),
            outbox=outbox,
        )
        membership = Membership()
        connections.positions.subscribe([POSITIONS_TOPIC], listener=membership)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.run(), name="outbox")
            await asyncio.to_thread(warm_up)  # while the group settles; on the loop it would silence our heartbeat
            while True:
                partitions = await membership.assignment()
                await membership.serve(run_assignment(name, connections, partitions))


if __name__ == "__main__":
    settings = read_settings(StreamSettings, "stream")
    configure_logging("stream", settings.log_level)
    serve_metrics(settings.metrics_port, settings.metrics_host)
    run_worker(main(settings))
