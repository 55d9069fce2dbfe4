"""Node: a named participant; it makes publishers and subscriptions."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from lunar.config import MAX_DOMAIN, Config
from lunar.errors import ClosedError, ConfigError
from lunar.graph.descriptions import NodeInfo
from lunar.graph.listeners import Listeners
from lunar.graph.membership import join, leave, require_same_process
from lunar.messages import message_type
from lunar.names import expand_namespace, expand_topic, full_node_name, validate_node_name
from lunar.publisher import Publisher
from lunar.qos import QoS
from lunar.subscription import Subscription

if TYPE_CHECKING:
    from lunar.events import Event
    from lunar.messages import MessageType

__all__ = ["Node"]


class Node:
    """A named participant. Use it as a context manager, `with` or `async with`, or call `close`.

    Args:
        name: ASCII letters, digits and '_', not starting with a digit; unique in this process and domain.
        namespace: Prefix of the node's relative topics: "/" or "/robot".
        domain: Keeps systems apart, 0 to 232; None stands for the environment's `LUNAR_DOMAIN`, else 0.

    Raises:
        InvalidName: A name breaks ROS 2's rules.
        ConfigError: A setting, or the runtime directory, cannot be used.
        ResourceExhausted: A limit of descriptors or memory was reached.
        LunarError: The name is taken in this process.
    """

    def __init__(self, name: str, *, namespace: str = "/", domain: int | None = None) -> None:
        validate_node_name(name)
        self._name = name
        self._namespace = expand_namespace(namespace)
        config = Config.from_environment()
        if domain is not None:
            if not 0 <= domain <= MAX_DOMAIN:
                raise ConfigError("LUNAR_DOMAIN", str(domain), f"a whole number from 0 to {MAX_DOMAIN}")
            config = replace(config, domain=domain)
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._endpoints: set[Publisher[object] | Subscription[memoryview]] = set()
        self._listeners = Listeners()
        self._participant = join(config)
        info = NodeInfo(name, self._namespace, self._pid, os.geteuid())
        try:
            self._participant.add_node(info, self._listeners.notify)
        except BaseException:
            leave(self._participant)
            raise

    @property
    def name(self) -> str:
        """The node's own name."""
        return self._name

    @property
    def namespace(self) -> str:
        """Its absolute namespace."""
        return self._namespace

    @property
    def full_name(self) -> str:
        """Namespace and name: "/robot/talker"."""
        return full_node_name(self._name, self._namespace)

    def create_publisher(self, message: type, topic: str, *, qos: QoS | None = None) -> Publisher[object]:
        """Makes a publisher. It belongs to the node, which closes it at the latest.

        Args:
            message: The message type; `bytes` stands for any bytes-like object.
            topic: Absolute ("/a"), relative to the namespace ("a") or private to the node ("~/a").
            qos: The profile it offers; default: reliable, keep the last 10.

        Raises:
            ClosedError: The node is closed.
            InvalidName: The topic breaks ROS 2's rules.
            TypeMismatch: No message type stands for `message`.
        """
        self._check_open()
        absolute = expand_topic(topic, self._name, self._namespace)
        kind = cast("MessageType[object, object]", message_type(message))
        made = Publisher(
            self._participant, kind, absolute, qos or QoS(), self.full_name, self._listeners.notify, self._forget
        )
        self._keep(made)
        return made

    def create_subscription(
        self,
        message: type,
        topic: str,
        callback: Callable[[memoryview], Awaitable[None] | None] | None = None,
        *,
        qos: QoS | None = None,
    ) -> Subscription[memoryview]:
        """Makes a subscription. It belongs to the node, which closes it at the latest.

        Args:
            message: The message type; `bytes` yields read-only memoryviews on the sender's memory.
            topic: As for `create_publisher`.
            callback: Called for each message in the running loop, one at a time; a coroutine function is awaited. An
                exception goes to the loop's exception handler, and the next message is delivered. Without one,
                iterate or receive.
            qos: The profile it requests; default: reliable, keep the last 10.

        Raises:
            ClosedError: The node is closed.
            InvalidName: The topic breaks ROS 2's rules.
            TypeMismatch: No message type stands for `message`.
            RuntimeError: A callback is given and no loop runs.
        """
        self._check_open()
        absolute = expand_topic(topic, self._name, self._namespace)
        if callback is not None:
            asyncio.get_running_loop()
        made = Subscription(
            self._participant,
            message_type(message),
            absolute,
            qos or QoS(),
            self.full_name,
            self._listeners.notify,
            self._forget,
        )
        self._keep(made)
        if callback is not None:
            made._start_delivery(callback)
        return made

    def _check_open(self) -> None:
        require_same_process(self._pid)
        if self._closed:
            raise ClosedError(f"node {self.full_name} is closed")

    def _keep(self, made: Publisher[object] | Subscription[memoryview]) -> None:
        with self._lock:
            self._endpoints.add(made)

    def _forget(self, closed: Publisher[object] | Subscription[memoryview]) -> None:
        with self._lock:
            self._endpoints.discard(closed)

    def events(self) -> AsyncIterator[Event]:
        """Returns what happens to this node's endpoints from this call on, to be iterated until the node is closed.

        As long as somebody holds such an iterator, nothing is logged; otherwise warnings go to the logger "lunar".

        Raises:
            ClosedError: The node is closed.
        """
        self._check_open()
        return self._listeners.open()

    def close(self) -> None:
        """Closes the node and its endpoints. What was published stays receivable; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():
            return  # a forked child's copy: there is nothing left to close
        with self._lock:
            endpoints = list(self._endpoints)
        for endpoint in endpoints:
            endpoint.close()
        self._participant.remove_node(self.full_name)
        leave(self._participant)
        self._listeners.close()

    async def aclose(self) -> None:
        """As `close`, for coroutines."""
        self.close()
        await asyncio.sleep(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{'closed ' if self._closed else ''}Node {self.full_name} in domain {self._participant.config.domain}>"
