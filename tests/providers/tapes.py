"""Cassettes that hold what a model said to some requests."""

import msgspec

from loomd.amoeba.task import Task
from loomd.cassette import VERSION, Cassette, Step, Taped, fold, write
from loomd.events.event import StepCompleted
from loomd.messages import Reply, Request


def tape(*said: tuple[Request, Reply]) -> bytes:
    """Return the text of a cassette of one task in which a model was asked and answered."""
    steps = tuple(
        Step(
            f"step/execute/model/{at}",
            StepCompleted("model", msgspec.Raw(msgspec.json.encode(reply))),
            request=fold(request, None),
        )
        for at, (request, reply) in enumerate(said)
    )
    task = Task("t1", "hello", cluster="default")
    return write(
        Cassette(
            api_version=VERSION,
            kind="Cassette",
            task="t1",
            goal="hello",
            seed=0,
            namespace="default",
            cluster="default",
            revision="",
            phase="Succeeded",
            answer="",
            objects=(),
            tools={},
            tasks=(Taped(msgspec.Raw(msgspec.json.encode(task)), "Succeeded", steps=steps),),
        )
    )
