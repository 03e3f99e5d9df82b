"""Which remote documents are in force, and what a new one would make of the configuration. Pure; reads no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.app.remote_report import kept_errors
from edge_agent.config.effective import fingerprint
from edge_agent.config.layers import RemoteLayer
from edge_agent.config.problems import once_per_key
from edge_agent.config.protected import problems_of_patch
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.config.load import OwnConfig
    from edge_agent.config.mqtt import Layer
    from edge_agent.config.schema import Config
    from edge_agent.store.revisions import KeptError, RemoteState


@dataclass(frozen=True, slots=True)
class Scope:
    """A layer of this device, and whose name it has."""

    layer: Layer
    name: str

    def __str__(self) -> str:
        return self.layer if self.layer == "fleet" else f"{self.layer}/{self.name}"

    def document(self, revision: int, patch: dict[str, Any]) -> RemoteLayer:
        """Return a document of this layer."""
        return RemoteLayer(self.layer, self.name if self.layer == "group" else "", revision, patch)


@dataclass(frozen=True, slots=True)
class InForce:
    """What the device goes by.

    Attributes:
        layers: The documents in force by scope, the weakest first.
        left_out: Accepted documents that no longer fit the device, and why.
        hash: Of the configuration.
    """

    config: Config
    layers: Mapping[str, RemoteLayer] = field(default_factory=dict)
    left_out: Mapping[str, tuple[KeptError, ...]] = field(default_factory=dict)
    hash: str = ""


def scopes_of(device_id: str, groups: Sequence[str]) -> dict[str, Scope]:
    """Return the layers of a device, the weakest first."""
    scopes = [Scope("fleet", ""), *(Scope("group", group) for group in groups), Scope("device", device_id)]
    return {str(scope): scope for scope in scopes}


def in_force(own: OwnConfig, state: RemoteState, device_id: str) -> InForce:
    """Return what counts of the accepted documents: where not all fit together, as many as do, from the weakest on.

    Raises:
        ConfigError: The owner's own configuration is wrong.
    """
    config = own.under()
    if not config.remote.configuration:
        return InForce(config, hash=fingerprint(config))
    found: dict[str, RemoteLayer] = {}
    left_out: dict[str, tuple[KeptError, ...]] = {}
    for name, scope in scopes_of(device_id, config.groups).items():
        accepted = state.record(name).accepted
        if accepted is None or (config.remote.public_key and accepted.signed_by != config.remote.public_key):
            continue
        layer = scope.document(accepted.revision, accepted.patch)
        if problems := problems_of_patch(layer.patch, str(layer)):
            left_out[name] = kept_errors(problems)
        else:
            found[name] = layer
    try:
        config = own.under(list(found.values()))
    except ConfigError:
        fitting: dict[str, RemoteLayer] = {}
        for name, layer in found.items():
            try:
                config = own.under([*fitting.values(), layer])
            except ConfigError as error:
                left_out[name] = kept_errors(error.problems)
            else:
                fitting[name] = layer
        config, found = own.under(list(fitting.values())), fitting
    return InForce(config, found, left_out, fingerprint(config))


def with_document(own: OwnConfig, now: InForce, scope: Scope, layer: RemoteLayer, order: Iterable[str]) -> InForce:
    """Return what `layer` would make of the configuration.

    Raises:
        ConfigError: It touches what it may not, is wrong by itself, or makes the whole wrong; all at once.
    """
    source = str(layer)
    problems = problems_of_patch(layer.patch, source)
    layers = {**now.layers, str(scope): layer}
    layers = {name: layers[name] for name in order if name in layers}
    # A wrong value that a stronger layer hides today would come to light when that one goes, and be its fault then.
    problems += own.wrong_values(layer)
    config: Config | None = None
    try:
        config = own.under(list(layers.values()))
    except ConfigError as error:
        problems += error.problems
    if problems or config is None:
        raise ConfigError(once_per_key(problems))
    left_out = {name: errors for name, errors in now.left_out.items() if name != str(scope)}
    return InForce(config, layers, left_out, fingerprint(config))


def without_documents(own: OwnConfig, now: InForce, errors: tuple[KeptError, ...]) -> InForce:
    """Return the owner's own configuration; all documents are left out, for `errors`.

    Raises:
        ConfigError: The owner's own configuration is wrong.
    """
    config = own.under()
    return InForce(config, {}, {**now.left_out, **dict.fromkeys(now.layers, errors)}, fingerprint(config))
