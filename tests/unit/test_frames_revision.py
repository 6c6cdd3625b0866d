"""The revision that a frame tells of a server is the one that its orders are guarded by."""

from pointsman.contracts.base import encode
from pointsman.contracts.server import ServerAdmin, ServerConfig, ServerHealth, Wanted
from pointsman.contracts.subjects import key
from pointsman.services.runtime.follow import Followed
from pointsman.services.statistics.board import Board


def record(board: Board, kind: str, sequence: int, data: bytes) -> None:
    board.fold_record(Followed(key("servers", f"{kind}.a"), sequence, data, not data))


def test_a_row_tells_the_later_of_configuration_and_order() -> None:
    board = Board()
    config = ServerConfig(id="a", name="a", predict="http://a", health="http://a", registered_at=1)
    record(board, "config", 5, encode(config))
    assert board.members["a"].row().revision == 5
    record(board, "admin", 9, encode(ServerAdmin(wanted=Wanted.DRAINING)))
    record(board, "health", 11, encode(ServerHealth(registered_at=1)))
    assert board.members["a"].row().revision == 9
    record(board, "admin", 12, b"")
    record(board, "config", 13, b"")
    record(board, "config", 14, encode(config))
    assert board.members["a"].row().revision == 14
