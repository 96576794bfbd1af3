"""Lend one bank to all tests of faults: its worker and its web process must outlive every one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fakes import eventually
from fakes_faults import Scene, open_scene


@pytest.fixture(scope="session")
async def bank_with_faults(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Set the scene once."""
    async with open_scene(tmp_path_factory.mktemp("faults")) as scene:
        yield scene


@pytest.fixture
async def scene(bank_with_faults: Scene) -> AsyncIterator[Scene]:
    """Lend the scene while all is well, and find the processes still there afterwards."""
    await eventually(bank_with_faults.is_well, "all is well before the fault", 60)
    yield bank_with_faults
    assert bank_with_faults.worker.poll() is None, "the stream worker has ended"
