"""TLS to a real broker: what is wrong is refused, and said in words; there is never a connection without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from broker_link import QUICK, config_for, connected, failed, running
from certificates import Authority
from mosquitto_broker import BrokerTls, MakeBroker

from edge_agent.mqtt.link import BrokerLink
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.pool import Pool

TOPICS = Topics("kitchen")


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Threads for handshakes."""
    pool = Pool("mqtt", most_workers=2)
    yield pool
    await pool.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom the device trusts."""
    return Authority(tmp_path)


async def reason_with(port: int, pool: Pool, **tls: object) -> str:
    """Return why a connection with these settings is refused."""
    link = BrokerLink(config_for(port, tls=tls), TOPICS, pool, patience=QUICK)
    async with running(link):
        return await failed(link)


async def test_the_right_broker_is_connected_to(make_broker: MakeBroker, authority: Authority, pool: Pool) -> None:
    """Its authority is trusted and its address is in the certificate."""
    broker = make_broker(tls=BrokerTls(authority.file, *authority.issue("broker", address="127.0.0.1")))
    await asyncio.to_thread(broker.start)
    config = config_for(broker.tls_port, tls={"enabled": True, "ca_file": str(authority.file)})
    link = BrokerLink(config, TOPICS, pool, patience=QUICK)
    async with running(link):
        await connected(link)
        await link.publish("edge-agent/kitchen/status", b"{}" * 40_000, qos=1)
        assert link.state.reason == ""


async def test_a_broker_of_another_authority_is_refused(
    make_broker: MakeBroker, authority: Authority, pool: Pool, tmp_path: Path
) -> None:
    """Whoever signed its certificate is not who is trusted."""
    other = Authority(tmp_path, "Other CA")
    broker = make_broker(tls=BrokerTls(other.file, *other.issue("broker", address="127.0.0.1")))
    await asyncio.to_thread(broker.start)
    reason = await reason_with(broker.tls_port, pool, enabled=True, ca_file=str(authority.file))
    assert "is not signed by the authority that is trusted; check mqtt.tls.ca_file" in reason


async def test_an_expired_certificate_is_refused(make_broker: MakeBroker, authority: Authority, pool: Pool) -> None:
    """However right it was once."""
    broker = make_broker(tls=BrokerTls(authority.file, *authority.issue("broker", address="127.0.0.1", days=-1)))
    await asyncio.to_thread(broker.start)
    reason = await reason_with(broker.tls_port, pool, enabled=True, ca_file=str(authority.file))
    assert "has expired" in reason


@pytest.mark.parametrize("address", [None, "127.0.0.2"])
async def test_a_certificate_for_another_host_is_refused(
    make_broker: MakeBroker, authority: Authority, pool: Pool, address: str | None
) -> None:
    """Trusted or not, it is not the broker that was asked for."""
    broker = make_broker(tls=BrokerTls(authority.file, *authority.issue("elsewhere.example", address=address)))
    await asyncio.to_thread(broker.start)
    reason = await reason_with(broker.tls_port, pool, enabled=True, ca_file=str(authority.file))
    assert "is for another host name than '127.0.0.1'" in reason


async def test_plain_text_where_tls_is_configured_is_refused(
    make_broker: MakeBroker, authority: Authority, pool: Pool
) -> None:
    """The broker's plain port is no way round; the device does not even say who it is."""
    broker = make_broker()
    await asyncio.to_thread(broker.start)
    reason = await reason_with(broker.port, pool, enabled=True, ca_file=str(authority.file))
    assert "TLS" in reason
    assert "correct mqtt.port" in reason


async def test_tls_where_plain_text_is_configured_is_said(
    make_broker: MakeBroker, authority: Authority, pool: Pool
) -> None:
    """The remedy is named."""
    broker = make_broker(tls=BrokerTls(authority.file, *authority.issue("broker", address="127.0.0.1")))
    await asyncio.to_thread(broker.start)
    reason = await reason_with(broker.tls_port, pool)
    assert "set mqtt.tls.enabled" in reason


async def test_a_broker_that_wants_a_certificate_gets_it(
    make_broker: MakeBroker, authority: Authority, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without one the reason is said, once; with one there is a connection."""
    broker = make_broker(
        tls=BrokerTls(authority.file, *authority.issue("broker", address="127.0.0.1"), wants_certificate=True)
    )
    await asyncio.to_thread(broker.start)
    trust = {"enabled": True, "ca_file": str(authority.file)}
    with caplog.at_level(logging.WARNING):
        reason = await reason_with(broker.tls_port, pool, **trust)
    assert "wants a certificate of this device; set mqtt.tls.certificate_file" in reason
    assert len(caplog.records) == 1
    certificate, key = authority.issue("kitchen")
    own = {"certificate_file": str(certificate), "key_file": str(key)}
    link = BrokerLink(config_for(broker.tls_port, tls={**trust, **own}), TOPICS, pool, patience=QUICK)
    async with running(link):
        await connected(link)


async def test_a_certificate_of_another_authority_is_not_enough(
    make_broker: MakeBroker, authority: Authority, pool: Pool, tmp_path: Path
) -> None:
    """The broker refuses it, and that is said."""
    broker = make_broker(
        tls=BrokerTls(authority.file, *authority.issue("broker", address="127.0.0.1"), wants_certificate=True)
    )
    await asyncio.to_thread(broker.start)
    certificate, key = Authority(tmp_path, "Other CA").issue("kitchen")
    reason = await reason_with(
        broker.tls_port,
        pool,
        enabled=True,
        ca_file=str(authority.file),
        certificate_file=str(certificate),
        key_file=str(key),
    )
    assert "does not accept this device's certificate" in reason
