"""Wants: the schemas that this process asks other hosts for, and those it is asked for. Runs in the control thread.

An endpoint on the board names its type by a hash. That is enough where both ends of a topic have the same; only who has
to compare two types, or to print one, needs a schema. Such a process posts a *want*: a record with the hash, and which
process is asked, one of those that have an endpoint of the type. That one posts the schema, once and for all: whoever
joins later finds it. A schema has the hash under which it is told, so it does not matter who tells it.

Who is asked may be stopped, or lie. So every second another one that has the type is asked as well, one at a time: many
processes may have it, and every answer goes to all. What depends on the schema waits for a few seconds, and is then
judged without it. The want stays while there is a pair that needs it, and a late answer has that pair judged again.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from lunar.errors import PeerFault, ResourceExhausted
from lunar.graph.descriptions import Fields
from lunar.graph.schemas import known_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lunar.graph.network.remote import RemoteProcess
    from lunar.graph.schemas import OwnSchemas

    Record = Mapping[str, object]

__all__ = ["Wants"]

_log = logging.getLogger("lunar")

# What depends on a schema waits for it so long: control threads stand still while a program loads a large module.
_ANSWER_WITHIN_S: Final = 3.0
_ASK_NEXT_S: Final = 1.0
_LONGEST_REST_S: Final = 60.0
# What we post at a time, of one process and in all. The former is less: one with endless types is not to be in the way
# of others.
_MAX_ASKED_OF_ONE: Final = 256
_MAX_ASKED: Final = 1024
# Of somebody else: twice as many, since a later version may ask for more.
_MAX_WANTS: Final = 2048
# In the place of ids of endpoints: the one who needs the schema is no endpoint, but a tool that looks at the graph.
_TOOL: Final = ""


class _Want:
    """A schema that is needed.

    Attributes:
        holders: Who has the type; of each by its endpoints' ids those of ours that are to be judged with them.
        asked: Those that have been asked.
        pending: Whether what depends on it waits.
        until_s: Until when, monotonic.
        rest_s: Until somebody else is asked.
    """

    __slots__ = ("asked", "holders", "pending", "rest_s", "until_s")

    def __init__(self) -> None:
        self.holders: dict[RemoteProcess, dict[str, set[str]]] = {}
        self.asked: set[RemoteProcess] = set()
        self.pending = True
        self.until_s = time.monotonic() + _ANSWER_WITHIN_S
        self.rest_s = _ASK_NEXT_S


class Wants:
    """Asks for schemas, and answers.

    Args:
        own_id: Of this process.
        own: What is told of its types.
        post: Posts a record on the board under a name, or replaces it.
        withdraw: Takes it back.
        call_later: Runs a function in the control thread after so many seconds.
        judge: Judges a pair again: the process, the id of our endpoint and that of its.
    """

    def __init__(
        self,
        own_id: str,
        own: OwnSchemas,
        post: Callable[[str, Record], object],
        withdraw: Callable[[str], object],
        call_later: Callable[[float, Callable[[], object]], object],
        judge: Callable[[RemoteProcess, str, str], object],
    ) -> None:
        self._own_id, self._own, self._post, self._withdraw = own_id, own, post, withdraw
        self._call_later, self._judge = call_later, judge
        self._open: dict[str, _Want] = {}  # by the type's hash
        self._asked_of: Counter[RemoteProcess] = Counter()
        self._told: set[str] = set()

    # ---- what we ask for ------------------------------------------------------------------------------------------

    def request(self, process: RemoteProcess, type_hash: str, their_id: str = _TOOL, own_id: str = _TOOL) -> bool:
        """Asks for a schema that is not known, unless that has been done.

        Args:
            process: Who has the type.
            type_hash: Its hash.
            their_id: The endpoint there whose type it is; without one, a tool needs it.
            own_id: The endpoint here that is to be judged with it.

        Returns:
            Whether the answer may still come soon: what depends on it should wait.
        """
        want = self._open.get(type_hash)
        if want is None:
            want = self._open[type_hash] = _Want()
            self._call_later(want.rest_s, partial(self._go_on, type_hash, want))
        is_news = process not in want.holders
        want.holders.setdefault(process, {}).setdefault(their_id, set()).add(own_id)
        if (
            is_news
            and (not want.asked or not want.pending)
            and self._ask(process, type_hash, want)
            and not want.pending
        ):
            want.pending, want.until_s, want.rest_s = True, time.monotonic() + _ANSWER_WITHIN_S, _ASK_NEXT_S
            self._call_later(want.rest_s, partial(self._go_on, type_hash, want))
        return want.pending and not self._is_refused(type_hash, want)

    def is_pending(self, type_hash: str) -> bool:
        """Whether a schema has been asked for and may still come soon."""
        want = self._open.get(type_hash)
        return want is not None and want.pending and not self._is_refused(type_hash, want)

    def heard(self, process: RemoteProcess, type_hash: str) -> None:
        """A process has told a schema, or that it has none."""
        want = self._open.get(type_hash)
        if want is None:
            return
        if known_schema([process.schemas], type_hash) is not None:
            self._drop(type_hash)
            self._judge_all(want)
        elif not self._ask_next(type_hash, want) and self._is_refused(type_hash, want) and want.pending:
            want.pending = False
            self._judge_all(want)

    def remote_removed(self, process: RemoteProcess, type_hash: str, their_id: str) -> None:
        """An endpoint on another host is gone."""
        want = self._open.get(type_hash)
        pairs = None if want is None else want.holders.get(process)
        if want is not None and pairs is not None and pairs.pop(their_id, None) is not None and not pairs:
            self._leave(process, type_hash, want)

    def local_removed(self, own_id: str) -> None:
        """An endpoint of ours is gone."""
        for type_hash, want in list(self._open.items()):
            for process, pairs in list(want.holders.items()):
                for their_id in [their_id for their_id, own_ids in pairs.items() if own_ids == {own_id}]:
                    self.remote_removed(process, type_hash, their_id)
                for own_ids in pairs.values():
                    own_ids.discard(own_id)

    def forget(self, process: RemoteProcess) -> None:
        """A process is gone."""
        for type_hash, want in list(self._open.items()):
            if process in want.holders:
                self._leave(process, type_hash, want)

    def _leave(self, process: RemoteProcess, type_hash: str, want: _Want) -> None:
        del want.holders[process]
        self._take_back(process, type_hash, want)
        if not want.holders:
            self._drop(type_hash)
        elif not want.asked:
            self._ask_next(type_hash, want)

    def _drop(self, type_hash: str) -> None:
        want = self._open.pop(type_hash)
        for process in list(want.asked):
            self._take_back(process, type_hash, want)

    def _ask_next(self, type_hash: str, want: _Want) -> bool:
        return any(self._ask(process, type_hash, want) for process in want.holders if process not in want.asked)

    def _ask(self, process: RemoteProcess, type_hash: str, want: _Want) -> bool:
        if type_hash in process.schemas.texts or process in want.asked:
            return False
        if self._asked_of[process] >= _MAX_ASKED_OF_ONE or self._asked_of.total() >= _MAX_ASKED:
            return False  # later, when there is room
        try:
            self._post(self._name(process, type_hash), {"kind": "want", "process": process.id, "hash": type_hash})
        except ResourceExhausted as error:
            _log.warning("a schema cannot be asked for yet: %s", error)
            return False
        want.asked.add(process)
        self._asked_of[process] += 1
        return True

    def _take_back(self, process: RemoteProcess, type_hash: str, want: _Want) -> None:
        if process not in want.asked:
            return
        want.asked.discard(process)
        self._asked_of[process] -= 1
        if not self._asked_of[process]:
            del self._asked_of[process]
        self._withdraw(self._name(process, type_hash))

    def _name(self, process: RemoteProcess, type_hash: str) -> str:
        return f"want {self._own_id} {process.id} {type_hash}"

    def _is_refused(self, type_hash: str, want: _Want) -> bool:
        """Whether all who have the type say that they cannot tell its schema, or have told another one."""
        return all(type_hash in process.schemas.texts for process in want.holders)

    def _go_on(self, type_hash: str, want: _Want) -> None:
        if self._open.get(type_hash) is not want:
            return
        self._ask_next(type_hash, want)
        if want.pending and time.monotonic() >= want.until_s:
            want.pending = False
            self._judge_all(want)
            for process in list(want.holders):  # no tool waits so long
                self.remote_removed(process, type_hash, _TOOL)
        if want.pending or any(process not in want.asked for process in want.holders):
            # Who cannot be asked, since there is no room, is not to cost much.
            want.rest_s = want.rest_s if want.pending else min(2 * want.rest_s, _LONGEST_REST_S)
            self._call_later(want.rest_s, partial(self._go_on, type_hash, want))

    def _judge_all(self, want: _Want) -> None:
        pairs = [
            (process, own_id, their_id)
            for process, by_theirs in want.holders.items()
            for their_id, own_ids in by_theirs.items()
            for own_id in own_ids
        ]
        for process, own_id, their_id in pairs:
            self._judge(process, own_id, their_id)

    # ---- what we are asked for ------------------------------------------------------------------------------------

    def asked(self, process: RemoteProcess, record: Record) -> None:
        """A process wants a schema, maybe of this one.

        Raises:
            PeerFault: It wants too much, or nothing that can be.
        """
        fields = Fields(record, "want")
        type_hash, whom = fields.hex_id("hash"), fields.hex_id("process")
        process.wants += 1
        if process.wants > _MAX_WANTS:
            raise PeerFault(f"it asks for more than {_MAX_WANTS} schemas at a time")
        # Of the types of this process, each once: so the worst that can be asked for is what there is to tell.
        text = self._own.text(type_hash) if whom == self._own_id and type_hash not in self._told else None
        if text is None:
            return
        try:
            self._post(f"schema {self._own_id} {type_hash}", {"kind": "schema", "hash": type_hash, "text": text})
            self._told.add(type_hash)
        except ResourceExhausted as error:
            _log.warning("a schema that %s asks for cannot be told: %s", process, error)

    def close(self) -> None:
        """Asks for nothing more; who closes takes back what is posted."""
        self._open.clear()
