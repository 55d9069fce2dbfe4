"""Node: a named participant; it makes publishers and subscriptions."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, overload

from lunar import setting_values
from lunar.config import Config, Range, checked
from lunar.errors import ClosedError
from lunar.graph.descriptions import NodeInfo
from lunar.graph.listeners import Listeners
from lunar.graph.membership import join, leave, require_same_process
from lunar.messages import message_type
from lunar.names import expand_namespace, expand_topic, full_node_name, validate_node_name
from lunar.publisher import MessagePublisher, Publisher
from lunar.qos import QoS
from lunar.subscription import Subscription

if TYPE_CHECKING:
    from lunar.events import Event

__all__ = ["Node"]

M = TypeVar("M")


class _Endpoint(Protocol):
    """What the node has to close."""

    def close(self) -> None: ...


class Node:
    """A named participant. Use it as a context manager, `with` or `async with`, or call `close`.

    Args:
        name: ASCII letters, digits and '_', not starting with a digit; unique in this process and domain.
        namespace: Prefix of the node's relative topics: "/" or "/robot".
        domain: Keeps systems apart, 0 to 232; None stands for what the settings say (`LUNAR_DOMAIN`), else 0.
        range: How far it is seen, "host" or "network"; None stands for what the settings say (`LUNAR_RANGE`), else
            "host".

    Raises:
        InvalidName: A name breaks ROS 2's rules.
        ConfigError: A setting, or the runtime directory, cannot be used.
        ResourceExhausted: A limit of descriptors or memory was reached.
        LunarError: The name is taken in this process.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str = "/",
        domain: int | None = None,
        range: Range | None = None,  # noqa: A002 - the setting's name
    ) -> None:
        validate_node_name(name)
        self._name = name
        self._namespace = expand_namespace(namespace)
        config = Config.from_environment()
        if domain is not None:
            config = replace(config, domain=checked("LUNAR_DOMAIN", setting_values.domain, domain))
        if range is not None:
            config = replace(config, range=checked("LUNAR_RANGE", setting_values.range_, range))
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._endpoints: set[_Endpoint] = set()
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

    @overload
    def create_publisher(  # type: ignore[overload-overlap]  # bytes are no message class
        self, message: type[bytes], topic: str, *, qos: QoS | None = None
    ) -> Publisher[object]: ...
    @overload
    def create_publisher(self, message: type[M], topic: str, *, qos: QoS | None = None) -> MessagePublisher[M]: ...
    def create_publisher(self, message: type[M], topic: str, *, qos: QoS | None = None) -> Publisher[M]:
        """Makes a publisher. It belongs to the node, which closes it at the latest.

        Args:
            message: The message type: a message class, or `bytes`, which stands for any bytes-like object.
            topic: Absolute ("/a"), relative to the namespace ("a") or private to the node ("~/a").
            qos: The profile it offers; default: reliable, keep the last 10.

        Raises:
            ClosedError: The node is closed.
            InvalidName: The topic breaks ROS 2's rules.
            TypeMismatch: No message type stands for `message`.
        """
        self._check_open()
        absolute = expand_topic(topic, self._name, self._namespace)
        kind = message_type(message)
        arguments = (absolute, qos or QoS(), self.full_name, self._listeners.notify, self._forget)
        made: Publisher[M] = (
            Publisher(self._participant, kind, *arguments)
            if kind.plan is None
            else MessagePublisher(self._participant, kind, *arguments)
        )
        self._keep(made)
        return made

    @overload
    def create_subscription(
        self,
        message: type[bytes],
        topic: str,
        callback: Callable[[memoryview], Awaitable[None] | None] | None = None,
        *,
        qos: QoS | None = None,
        verify: bool = False,
    ) -> Subscription[memoryview]: ...
    @overload
    def create_subscription(
        self,
        message: type[M],
        topic: str,
        callback: Callable[[M], Awaitable[None] | None] | None = None,
        *,
        qos: QoS | None = None,
        verify: bool = False,
    ) -> Subscription[M]: ...
    def create_subscription(  # type: ignore[explicit-any]  # what the callback takes, the overloads say
        self,
        message: type,
        topic: str,
        callback: Callable[..., Awaitable[None] | None] | None = None,
        *,
        qos: QoS | None = None,
        verify: bool = False,
    ) -> Subscription[object]:
        """Makes a subscription. It belongs to the node, which closes it at the latest.

        Args:
            message: The message type: a message class, whose instances are views of the sender's memory, or `bytes`,
                which yields read-only memoryviews of it.
            topic: As for `create_publisher`.
            callback: Called for each message in the running loop, one at a time; a coroutine function is awaited. An
                exception goes to the loop's exception handler, and the next message is delivered. Without one,
                iterate or receive.
            qos: The profile it requests; default: reliable, keep the last 10.
            verify: Check each message of a class as a whole when it is received, and raise VerificationError for one
                that is wrong. Without it, a wrong one from this host raises when the wrong part is read.

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
        made: Subscription[object] = Subscription(
            self._participant,
            message_type(message),
            absolute,
            qos or QoS(),
            self.full_name,
            self._listeners.notify,
            self._forget,
            verify=verify,
        )
        self._keep(made)
        if callback is not None:
            made._start_delivery(callback)
        return made

    def _check_open(self) -> None:
        require_same_process(self._pid)
        if self._closed:
            raise ClosedError(f"node {self.full_name} is closed")

    def _keep(self, made: _Endpoint) -> None:
        with self._lock:
            self._endpoints.add(made)

    def _forget(self, closed: _Endpoint) -> None:
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
