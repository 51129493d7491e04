"""Lists and calls all five tools with the official Python client, with and without the handshake: mcp-client.py URL TOKEN"""

import asyncio
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

URL, TOKEN = sys.argv[1:]


async def use(mode: str) -> None:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    async with http, Client(streamable_http_client(URL, http_client=http), mode=mode) as client:

        async def call(name: str, **arguments: object) -> dict:
            # The client validates each result against the tool's output schema.
            result = await client.call_tool(name, arguments)
            assert not result.is_error, result
            return result.structured_content

        tools = [tool.name for tool in (await client.list_tools()).tools if not tool.name.startswith("test_")]
        assert tools == ["add_task", "list_tasks", "complete_task", "update_task", "delete_task"], tools
        number = (await call("add_task", title="feed the snake"))["task"]["id"]
        assert (await call("list_tasks", search="SNAKE"))["tasks"][0]["id"] == number
        assert (await call("complete_task", task_id=number))["task"]["completed"]
        assert (await call("update_task", task_id=number, description="mice"))["task"]["description"] == "mice"
        assert (await call("delete_task", task_id=number))["deleted_task"]["id"] == number
        failed = await client.call_tool("delete_task", {"task_id": number})
        assert failed.is_error and failed.structured_content["error"].startswith("TASK_NOT_FOUND"), failed
        print(f"Python client, {client.protocol_version}: all five tools called")


for mode in ("legacy", "auto"):
    asyncio.run(use(mode))
