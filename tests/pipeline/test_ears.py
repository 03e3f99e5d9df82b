"""What the ears keep of the person they hear, from one utterance to the next."""

from __future__ import annotations

import pytest
from virtual_scene import Props, Scene, virtual_scene
from virtual_stage import QUIET, VOICE, Person, Tape
from virtual_time import in_virtual_time

from edge_agent.config.audio import EndpointConfig
from edge_agent.hear.pauses import PauseLearner
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.facts import Activated
from edge_agent.pipeline.turn import Mode

CLICK = (*[VOICE] * 6, *[QUIET] * 60)


async def nobody(scene: Scene, person: Person) -> None:
    """The test plays a tape."""


@in_virtual_time
async def test_noises_do_not_wipe_out_what_was_learned_of_the_speaker() -> None:
    """Half is forgotten in a quiet of one half-life, once: each click after it has its own second of quiet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge_agent.hear.pauses._HALF_LIFE_S", 20.0)
        async with virtual_scene(nobody) as (scene, _):
            heard, quiet = scene.ears._pauses, PauseLearner(EndpointConfig())
            for learner in (heard, quiet):
                for _ in range(20):
                    learner.pause(0.2)
                    learner.utterance_ended(2.0, 0.35)
            before_s = quiet.silence_s
            await scene.ears.listen(Tape(*[QUIET] * 1000, *CLICK * 6), patient=False)
            quiet.forget(20.0 + 6 * len(CLICK) * 0.02)
            assert scene.reports == []
            assert heard.silence_s == pytest.approx(quiet.silence_s, abs=0.01)
            assert quiet.silence_s > before_s + 0.02


@pytest.mark.parametrize(("mode", "times", "state"), [("always", 0, State.LISTENING), ("wake_word", 1, State.IDLE)])
@in_virtual_time
async def test_a_question_lapses_only_where_listening_does(mode: Mode, times: int, state: State) -> None:
    """The agent that always listens waits on for what it has asked; after the wake word it does not."""
    expired: list[float] = []
    async with virtual_scene(nobody, Props(mode=mode)) as (scene, _):
        scene.runner.post(Activated("wake word"))
        scene.runner.stages.reasoner.expire = lambda: expired.append(0.0)  # type: ignore[method-assign]
        await scene.ears.listen(Tape(*[QUIET] * 1000), patient=False)
        assert scene.runner.state is state
    assert len(expired) == times
