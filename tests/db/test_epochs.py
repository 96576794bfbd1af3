from db.epochs import lost_partitions, take_epochs


async def test_each_takeover_has_a_higher_epoch(connection) -> None:
    assert await take_epochs(connection, "iboss.positions.v1", [2, 0], "one") == {0: 1, 2: 1}
    assert await take_epochs(connection, "iboss.positions.v1", [0, 0], "two") == {0: 2}
    assert await take_epochs(connection, "iboss.positions.v1", [], "two") == {}


async def test_a_worker_learns_which_partitions_it_has_lost(connection) -> None:
    mine = await take_epochs(connection, "iboss.positions.v1", [0, 1], "one")
    assert await lost_partitions(connection, "iboss.positions.v1", mine) == set()
    await take_epochs(connection, "iboss.positions.v1", [1], "two")
    assert await lost_partitions(connection, "iboss.positions.v1", mine | {7: 1}) == {1, 7}
