"""The nodes of a Ray cluster, which come and go: how many trials they take, and which are leaving.

A driver hears of none of this by itself. It asks Ray, about once a second, between Tune's events; both
questions are one call each, however many nodes there are.
"""

from __future__ import annotations

import json
import math
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gansearch import files
from gansearch.errors import ClusterError
from gansearch.files import Place
from gansearch.masking import last_line
from gansearch.study.plan import Resources

LOOK_EVERY = 1.0
"""Seconds between two looks at the cluster, at least."""

SHARE = 0.01
"""The part of a driver's time that looking may take: on a large cluster it looks less often."""

LAST_SECONDS = 2.0
"""How long before its node is to end a trial is moved that has not come to its next report."""

LOOK_AGAIN = 30.0
"""Seconds after which a node that did not see the study is asked again."""

PATIENCE = 120.0
"""Seconds within which every node must have told what it sees."""

LATE = f"has not answered within {PATIENCE:g} seconds"

NODE_ID = "ray.io/node-id"
"""The label that Ray gives every node."""


class Nodes:
    """The nodes on which trials run, as they are now.

    Args:
        ray: the connected module.
        wanted: what one trial holds.
        elastic: whether nodes may be added: one more trial than fits is then had ready, whose waiting
            makes an autoscaler add a node, and which a node that joins has at once.
        say: tells the user of what happens, in a line.
    """

    def __init__(
        self, ray: Any, wanted: Resources, *, elastic: bool, say: Callable[[str], None]
    ) -> None:
        self._ray, self._wanted, self._elastic, self._say = ray, wanted, elastic, say
        self._own = ray.get_runtime_context().get_node_id()
        self._alive: dict[str, dict[str, Any]] = {}
        self._leaving: dict[str, float] = {}
        self._blind: dict[str, float] = {}
        self._unfit: dict[str, float] = {}
        self._starved = False
        self._places: dict[str, str] = {}
        self._asked: dict[str, tuple[Any, float]] = {}
        self._silent: set[str] = set()
        self._mark: tuple[str, str] | None = None
        self._next_look = -math.inf
        self._look()

    # What they take

    def check_resources(self) -> None:
        """Raise `ClusterError` where no node could ever run one trial, telling all that it lacks."""
        nodes = [node["Resources"] for node in self._alive.values()]
        wrong = lacking(self._wanted, nodes, "the largest node")
        if not wrong:
            return
        if not (self._elastic and _is_autoscaled()):
            raise ClusterError("\n".join(wrong))
        self._say("\n".join(wrong) + "; waiting for the autoscaler to add one")

    def slots(self) -> int:
        """How many trials to have at once: as many as fit, one at least; one more where elastic."""
        self.look()
        fitting = sum(
            _fits(node["Resources"], self._wanted)
            for id_, node in self._alive.items()
            if id_ not in self._leaving and id_ not in self._blind and id_ not in self._unfit
        )
        if (not fitting) != self._starved:
            self._starved = not fitting
            none = "no node takes a trial now; waiting for one (Ctrl-C ends the study, resumably)"
            self._say(none if self._starved else "a node takes trials again")
        return max(fitting, 1) + self._elastic

    @property
    def alone(self) -> bool:
        """Whether the node of this process is the only one on which trials could run."""
        return self._could_run(self._own) and not self._others()

    def avoided(self) -> list[str]:
        """The nodes on which no trial is to be started; from those that leave Ray itself keeps away."""
        return sorted(self._blind.keys() | self._unfit.keys())

    # What becomes of them

    def look(self) -> None:
        """See what has changed, if it is time to."""
        if time.monotonic() >= self._next_look:
            self._look()

    def _look(self) -> None:
        begun = time.monotonic()
        before = self._alive
        self._silent.clear()
        self._alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        own = self._alive.get(self._own)
        if own is None or _has_ended(own):  # nothing that Ray is asked is answered from here any more
            raise ClusterError(
                "the Ray node that this process is on has died: `gansearch resume` goes on when there "
                "is one again"
            )
        for id_, node in before.items():
            if id_ not in self._alive:
                self._say(f"{_name(id_, node)} is gone: its trials go on elsewhere")
        leaving = self._ray._private.state.state.get_draining_nodes()
        for id_ in leaving.keys() - self._leaving.keys():
            self._say(f"{self._name(id_)} is to end: its trials move on after the report they are at")
        self._leaving = {id_: at / 1000 or math.inf for id_, at in leaving.items()}
        self._blind = {id_: at for id_, at in self._blind.items() if id_ in self._alive}
        fit = begun - LOOK_AGAIN
        self._unfit = {i: at for i, at in self._unfit.items() if i in self._alive and at > fit}
        if self._mark is not None:
            again = {id_ for id_, at in self._blind.items() if begun - at > LOOK_AGAIN}
            self._ask((self._alive.keys() - before.keys()) | again)
            self._hear()
        now = time.monotonic()
        self._next_look = now + max(LOOK_EVERY, (now - begun) / SHARE)

    def hurries(self, node: str) -> bool:
        """Whether a node ends within seconds."""
        return self._leaving.get(node, math.inf) - time.time() < LAST_SECONDS

    @property
    def leaving(self) -> Mapping[str, float]:
        """The nodes that are to end, and when: seconds since 1970, or infinity."""
        return self._leaving

    def node_of(self, actor: str) -> str:
        """The node of an actor, alive or dead, by their ids; "" where Ray does not know it."""
        if not self._places.get(actor):  # once it is somewhere it stays there
            actor_facts = self._ray._private.state.actors(actor) or {}
            self._places[actor] = str(actor_facts.get("Address", {}).get("NodeID", ""))
        return self._places[actor]

    def took(self, actor: str) -> bool:
        """Whether an actor died with its node, or for want of it, and not by what it did itself.

        It is asked late and again, for Ray knows that a node is dead some ten seconds after the fact. A
        machine that is switched off may still tell of its workers' deaths before its own.
        """
        actor_facts = self._ray._private.state.actors(actor) or {}
        if actor_facts.get("State") != "DEAD":
            return True  # it cannot be reached: its node, or the way there
        cause = actor_facts["DeathCause"].actor_died_error_context
        node = actor_facts["Address"]["NodeID"]
        unfit = any(node in known for known in (self._leaving, self._blind, self._unfit, self._asked))
        return unfit or cause.reason == cause.Reason.NODE_DIED or not self._answers_calls(node)

    # What they see

    def check_shared(self, folder: Place) -> None:
        """Raise `ClusterError` where a node that would run trials does not see what is in `folder`."""
        others = self._others()
        if not others:
            return
        mark = folder / f".shared-{secrets.token_hex(8)}"
        files.write(mark, mark.name)
        try:
            self._mark = (str(mark), mark.name)
            self._ask(set(others))
            refs = [ref for ref, _ in self._asked.values()]
            self._ray.wait(refs, num_returns=len(refs), timeout=PATIENCE)
            answers = dict.fromkeys(others, LATE) | self._answers()
        finally:
            self._asked.clear()
            self._mark = None
            files.remove(mark)
        wrong = {self._name(id_): what for id_, what in answers.items() if what}
        if wrong:
            raise ClusterError(_unshared(str(folder), wrong))

    def share(self, folder: Place) -> None:
        """Have every node that joins asked whether it sees a study's directory."""
        if self._elastic:
            token = secrets.token_hex(8)
            files.write(folder / ".session", token)
            self._mark = (str(folder / ".session"), token)

    @property
    def mark(self) -> tuple[str, str] | None:
        """What a worker needs for `sees`; None where all are on the driver's machine."""
        return self._mark

    def doubt(self, actor: str) -> None:
        """Keep away for a while from an actor's node, on which it could not begin, if there are others;
        and ask it again what it sees.
        """
        node = self.node_of(actor)
        if node not in self._alive or node in self._blind or node in self._unfit:
            return
        if self._mark:
            self._ask({node})
        others = self._alive.keys() - self._blind.keys() - self._unfit.keys() - self._leaving.keys()
        if any(map(self._could_run, others - {node})):
            self._unfit[node] = time.monotonic()
            self._say(f"no trials for {self._name(node)} for now: a worker could not begin there")

    def _others(self) -> list[str]:
        """The other nodes on which trials could run."""
        return [id_ for id_ in self._alive if id_ != self._own and self._could_run(id_)]

    def _could_run(self, node: str) -> bool:
        return _fits(self._alive[node]["Resources"], self._wanted) > 0

    def _ask(self, nodes: set[str]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        assert self._mark is not None
        for id_ in nodes - self._asked.keys():
            there = NodeAffinitySchedulingStrategy(id_, soft=False)
            task = self._ray.remote(num_cpus=0, scheduling_strategy=there, max_retries=0)(answer)
            self._asked[id_] = task.remote(*self._mark, id_), time.monotonic()

    def _hear(self) -> None:
        """Note what nodes have answered since."""
        for id_, wrong in self._answers().items():
            if id_ not in self._alive:
                continue
            known = self._blind.pop(id_, None) is not None
            if wrong:
                self._blind[id_] = time.monotonic()
            if wrong and not known:
                place = str(self._mark and self._mark[0]).rpartition("/")[0]
                self._say(f"no trials for {self._name(id_)}: {_unshared(place, {'it': wrong})}")
            elif known and not wrong:
                self._say(f"{self._name(id_)} sees the study now, and gets trials")

    def _answers(self) -> dict[str, str]:
        """What is wrong, by node; "" where nothing is. Those that have answered are asked no more, nor
        those that have had their time.
        """
        refs = [ref for ref, _ in self._asked.values()]
        ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        answers = {}
        for id_, (ref, at) in list(self._asked.items()):
            if ref in ready:
                answers[id_] = self._answer(ref)
            elif time.monotonic() - at > PATIENCE:
                answers[id_] = LATE
        for id_ in answers:
            del self._asked[id_]
        return answers

    def _answer(self, ref: Any) -> str:
        try:
            return str(self._ray.get(ref))
        except Exception as error:  # the node has died, or has no gansearch
            return last_line(error)

    def _answers_calls(self, node: str) -> bool:
        """Whether Ray's process on a node takes connections; asked once between two looks."""
        about = self._alive.get(node)
        if about is None or node in self._silent:
            return False
        try:
            where = (about["NodeManagerAddress"], about["NodeManagerPort"])
            socket.create_connection(where, timeout=1.0).close()
        except OSError:
            self._silent.add(node)
            return False
        return True

    def _name(self, node: str) -> str:
        return _name(node, self._alive.get(node, {}))


def _has_ended(own: Mapping[str, Any]) -> bool:
    """Whether nothing listens where Ray's process on this machine did. Ray knows of it when it has been
    missed for a while, and by then may have ended this process.
    """
    try:
        socket.create_connection((own["NodeManagerAddress"], own["NodeManagerPort"]), 1.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # it may be busy
        pass
    return False


def _name(node: str, about: Mapping[str, Any]) -> str:
    host, address = about.get("NodeManagerHostname", "?"), about.get("NodeManagerAddress", "?")
    return f"node {host} ({address}, {node[:8]})"


def lacking(wanted: Resources, nodes: Sequence[Mapping[str, float]], largest: str) -> list[str]:
    """What none of some nodes has of a trial's wants, in words; `largest` names the one with most."""
    reasons = []
    for kind, name, need in (("CPU", "cpus", wanted.cpus), ("GPU", "gpus", wanted.gpus)):
        most = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if need > most:
            reasons.append(
                f"resources.{name}: a trial asks for {need:g} {kind}s, and {largest} has {most:g}"
            )
    return reasons


def answer(mark: str, token: str, node: str) -> str:
    """Run on a node: leave a mark beside the driver's; returns what is wrong, or ""."""
    wrong = sees(mark, token)
    if not wrong:
        beside = files.place(f"{mark}-{node[:16]}")
        try:
            files.write(beside, token)
            files.remove(beside)
        except OSError as error:
            return f"cannot write there ({error})"
    return wrong


def sees(mark: str, token: str) -> str:
    """What is wrong with a worker's view of the file that the driver wrote; "" if nothing is."""
    try:
        written = files.read(files.place(mark)).decode()
    except FileNotFoundError:
        return "does not see what the driver wrote there"
    except OSError as error:
        return f"cannot read there ({error})"
    return "" if written == token else "has other files there"


def _unshared(place: str, wrong: Mapping[str, str]) -> str:
    told = "; ".join(f"{node} {what}" for node, what in wrong.items())
    return (
        f"{place} must be one place for all nodes, and {told}. Give a --runs-dir on a file system "
        "that every node has mounted at the same path, or in an object store (s3://BUCKET/runs)"
    )


def _is_autoscaled() -> bool:
    """Whether an autoscaler is at work that can add nodes, by what it last told Ray.

    Every head has one that only watches: it calls the type of each node by the node's own id. Ray has
    two autoscalers: what `ray up` starts since Ray 2.50 tells in another way than the older one.
    """
    from ray.autoscaler.v2.utils import is_autoscaler_v2  # noqa: PLC0415

    types = _types_by_v2() if is_autoscaler_v2() else _types_by_v1()
    return any(name and not name.startswith(("node_", "local_node")) for name in types)


def _types_by_v2() -> set[str]:
    import ray  # noqa: PLC0415
    from ray.autoscaler.v2.sdk import get_cluster_status  # noqa: PLC0415

    cluster = get_cluster_status(ray.get_runtime_context().gcs_address)
    return {node.ray_node_type_name for node in (*cluster.active_nodes, *cluster.idle_nodes)}


def _types_by_v1() -> set[str]:
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS  # noqa: PLC0415
    from ray.experimental.internal_kv import _internal_kv_get  # noqa: PLC0415

    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    return set((status.get("autoscaler_report") or {}).get("active_nodes") or {})


def _fits(node: dict[str, float], wanted: Resources) -> int:
    by_cpu = int(node.get("CPU", 0.0) // wanted.cpus)
    if not wanted.gpus:
        return by_cpu
    gpus = node.get("GPU", 0.0)
    per_gpu = int(1 / wanted.gpus + 1e-9) if wanted.gpus < 1 else 0
    by_gpu = int(gpus) * per_gpu if per_gpu else int(gpus // wanted.gpus)
    return min(by_cpu, by_gpu)
