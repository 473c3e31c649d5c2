"""Nothing that was confirmed is lost, and nothing is done twice but what was in hand at a kill."""

import os
import random

import pytest

from .proof import CONSUMERS, KILLS, PUBLISHERS, prove

MESSAGES = int(os.environ.get("UNIMSG_PROOF_MESSAGES", "100000"))


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_processes_that_are_killed_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("UNIMSG_PROOF_SEED", random.SystemRandom().randrange(1_000_000)))
    outcome = prove(MESSAGES, seed)
    with capsys.disabled():
        print(f"\nseed {seed}: {outcome}")
    assert outcome.confirmed == MESSAGES // 2 * 2
    assert outcome.lost == []
    assert outcome.wrongly_twice == []
    assert outcome.kills == KILLS * len(PUBLISHERS + CONSUMERS)
