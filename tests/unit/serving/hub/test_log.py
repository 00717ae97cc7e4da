from multiedge.serving.hub.log import MOST_LINES, PERIOD_S, LimitedLog


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_many_lines_of_one_kind_become_a_few_and_a_count() -> None:
    lines: list[str] = []
    clock = _Clock()
    log = LimitedLog(clock, lines.append)
    for number in range(200):
        log.warn("handshake", f"peer {number}: refused")
    log.warn("other", "another kind")
    assert len(lines) == MOST_LINES + 1
    clock.now_s = PERIOD_S
    log.flush()
    assert lines[-1] == "handshake: 195 more in 10 s"
    log.warn("handshake", "peer 7: refused")
    assert lines[-1] == "peer 7: refused"


def test_what_a_peer_sent_stays_on_one_line() -> None:
    lines: list[str] = []
    LimitedLog(_Clock(), lines.append).warn("x", "a\nb\x1b[31m")
    assert lines == ["a b[31m"]


def test_an_error_of_the_library_is_one_line_with_the_peer() -> None:
    lines: list[str] = []
    logger = LimitedLog(_Clock(), lines.append).logger()
    logger.error("Error handling request from %s", "10.0.0.9", exc_info=ValueError("bad\nmethod"))
    logger.info("nothing to see")
    assert lines == ["10.0.0.9: refused: no request of HTTP: bad method"]
