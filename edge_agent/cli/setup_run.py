"""`edge-agent setup`, carried out: with a person, or without."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from edge_agent.app.places import find_places
from edge_agent.app.setup.languages import about_language, require_hearing
from edge_agent.app.setup.questions import Interview
from edge_agent.app.setup.saving import check_standing, draft, has_password, save
from edge_agent.app.setup.sound_questions import SoundQuestions
from edge_agent.cli.setup_person import TerminalPerson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.app.setup.answers import Answers
    from edge_agent.app.setup.person import Person
    from edge_agent.app.setup.saving import Draft
    from edge_agent.app.setup.surroundings import Machine
    from edge_agent.app.setup.target import Target
    from edge_agent.config.schema import Config


@dataclass(frozen=True, slots=True)
class Means:
    """What is set up, and how.

    Attributes:
        config: What the file means now.
        checks: Sound devices and the broker are tried.
        restarts: The running service is restarted without a question.
    """

    target: Target
    config: Config
    machine: Machine
    checks: bool
    restarts: bool


def unattended(means: Means, answers: Answers) -> None:
    """Take the answers as they are; what is wrong with the broker is told, and no reason to refuse them.

    Raises:
        EdgeAgentError: They are wrong, a device is not there, or a file can't be written: nothing was changed.
    """
    places = find_places(means.config.directories)
    if answers.language is not None:
        require_hearing(means.config, answers.language, places)
    new = draft(means.target, answers)
    if means.checks:
        _check(means.machine, answers, new)
    _write(means.target, new)
    if answers.language is not None:
        for note in about_language(means.config, answers.language, places):
            if note.needs_doing or answers.language != means.config.language:
                _say(note.text, is_bad=note.needs_doing)
    if means.restarts:
        if means.machine.service.may_control():
            means.machine.service.control("restart")
            _say("the service was restarted")
        else:
            _say("the service was not restarted: it does not run, or this user may not restart it", is_bad=True)


def _check(machine: Machine, answers: Answers, new: Draft) -> None:
    if answers.microphone is not None:
        machine.sound.find("microphone", answers.microphone)
    if answers.speaker is not None:
        machine.sound.find("speaker", answers.speaker)
    if answers.broker is not None and answers.broker.host:
        found = machine.check_broker(new.config, new.password)
        _say(found.message, is_bad=found.verdict != "ok")


def attended(means: Means, answers: Answers, person: Person | None = None) -> None:
    """Ask for what `answers` leaves open, try it, and write it at the end.

    Raises:
        click.Abort: The person has enough: nothing was changed, and a service that was stopped runs again.
        EdgeAgentError: As for `unattended`.
    """
    person = person or TerminalPerson()
    target, machine = means.target, means.machine
    places = find_places(means.config.directories)
    check_standing(target, means.config, answers)
    if answers.language is not None:
        require_hearing(means.config, answers.language, places)
    person.tell(f"The answers go into {target.file}.")
    person.tell("Enter takes what is in brackets. Ctrl-C leaves everything as it was.")
    asking = SoundQuestions(person, machine.sound, machine.service, tries=means.checks)
    with _given_back(asking, person):
        interview = Interview(person, means.config, places, asking, has_password(target, means.config))
        new = _agreed(means, interview, interview.hold(answers))
        person.head("Done")
        if not new.changed and new.password is None:
            person.tell(f"Nothing is different from before{_no_file(target)}.")
            return
        person.tell(f"Different from before: {', '.join((*new.changed, *_secret(new)))}.")
        if not person.confirm("Write it?", default=True):
            raise click.Abort
        _write(target, new)
        person.tell("Is all well? `edge-agent doctor` looks at the rest.")
    if not asking.has_stopped_service:
        _offer_restart(means, person)


def _agreed(means: Means, interview: Interview, answers: Answers) -> Draft:
    """Try the broker until it answers, or is kept all the same."""
    person = interview.person
    new = draft(means.target, answers)
    while means.checks and new.config.mqtt.host:
        person.tell(f"Connecting to {new.config.mqtt.host} ...")
        found = means.machine.check_broker(new.config, new.password)
        if found.verdict == "ok":
            person.tell(f"Good: {found.message}.")
            break
        person.warn(found.message)
        if found.remedy:
            person.tell(found.remedy)
        what = person.pick("What now?", ("keep it all the same", "enter the broker again", "try again"), 0)
        if what == 0:
            break
        if what == 1:
            again = replace(interview, config=new.config)
            answers = again.broker(replace(answers, broker=None, password=None))
            new = draft(means.target, answers)
    return new


def _secret(new: Draft) -> tuple[str, ...]:
    return () if new.password is None else ("the broker's password",)


def _write(target: Target, new: Draft) -> None:
    written = save(target, new)
    for path in written:
        _say(f"wrote {path}" if path.exists() else f"removed {path}")
    if not written:
        there = target.file.exists()
        _say(f"{target.file} is as it was" if there else f"nothing differs from the defaults{_no_file(target)}")


def _no_file(target: Target) -> str:
    return "" if target.file.exists() else f"; no {target.file} was written"


def _offer_restart(means: Means, person: Person) -> None:
    service = means.machine.service
    if not service.is_running():
        return
    if not service.may_control():
        person.tell("The running service goes on as before until it is restarted: sudo systemctl restart edge-agent")
        return
    if means.restarts or person.confirm("Restart the service, so that it takes this up?", default=True):
        person.tell("Restarting: it takes until it hears ...")
        service.control("restart")
        person.tell("The service was restarted.")
    else:
        person.tell("It takes this up when it is restarted: sudo systemctl restart edge-agent")


@contextmanager
def _given_back(asking: SoundQuestions, person: Person) -> Iterator[None]:
    """Start the service again where it was stopped for the questions, whatever happens."""
    try:
        yield
    finally:
        if asking.has_stopped_service:
            person.tell("Starting the service again ...")
            asking.service.control("start")


def _say(text: str, *, is_bad: bool = False) -> None:
    click.echo(f"! {text}" if is_bad else text, err=is_bad)
