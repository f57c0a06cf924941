"""Stepping: what somebody's code makes of its right gradients when it changes its parameters, and which it leaves out.

A gradient can be right and its step wrong: forgotten, of length 0, twice as long as the others, done to a copy. None of
that is a wrong gradient; all of it is said.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from indexprop import algebra, ir, keeping, naming
from indexprop.agreement import close
from indexprop.claims import before, before_second, changes, meanings, read_by, word_in
from indexprop.evidence import ONE, Claim, show_factor
from indexprop.ir import Access
from indexprop.keeping import HOLDS
from indexprop.matching import Match


class Stepping:
    """The parameters of a run, and what they become before the loss is computed again, or at the end."""

    def __init__(self, match: Match) -> None:
        self.match, self.lifted, self.ledger, self.pairs = match, match.lifted, match.ledger, match.pairs
        self.forward = self.ledger.forward
        self.steps = self.lifted.program.steps
        self.order = {step.name: number for number, step in enumerate(self.steps)}
        self.reads = read_by(self.steps)
        self.hand = {step.name for step in self.ledger.hand}
        inputs = self.forward.input_names
        origins = {before(self.lifted, tensor, inputs) for tensor in self.pairs if tensor not in inputs}
        self.tensors = [
            *(tensor for tensor in inputs if tensor not in origins),
            *(tensor for tensor in self.pairs if tensor not in inputs),
        ]
        self.end = sum(1 for _ in before_second(self.lifted, self.forward, self.hand))

    @cached_property
    def held(self) -> dict[str, list[str]]:
        """For every tensor of the loss what the places hold that hold it first, one after the other; a place that holds
        several of them, such as a name in a function, says nothing.
        """
        places: dict[keeping.Path, dict[str, None]] = {}
        for moment in self.lifted.moments:
            for path, value in moment.state.items():
                if isinstance(value, str) and not keeping.contained(path, HOLDS):
                    places.setdefault(path, {})[value] = None
        found: dict[str, list[str]] = {}
        for values in map(list, places.values()):
            if len(own := [value for value in values if value in self.tensors]) == 1:
                found.setdefault(own[0], []).extend(values[values.index(own[0]) + 1 :])
        last = self.lifted.moments[-1].state if self.lifted.moments else {}
        for tensor in self.tensors:  # what is a number at first
            path = (("name", self.lifted.names[tensor]),)
            if tensor not in found and path in last:
                found[tensor] = list(places.get(path, ()))
        return found

    @cached_property
    def becomes(self) -> dict[str, str]:
        """For every tensor that the code changes what it is when the loss is computed again, or at the end."""
        found: dict[str, str] = {}
        for tensor, values in self.held.items():
            chains = [self.chain(value) for value in values if value in self.hand]
            mine = [chain for chain in chains if tensor in chain or chain[-1] not in self.forward.input_names]
            early = [name for chain in mine for name in chain if name in self.hand and self.order[name] < self.end]
            found |= {tensor: max(early, key=self.order.__getitem__)} if early else {}
        return found

    def chain(self, name: str) -> list[str]:
        """A value, and those before it that it was made from under the same name."""
        found = [name]
        while name in self.reads:
            same = [one for one in self.reads[name] if self.lifted.names[one] == self.lifted.names[name]]
            name = next((one for one in same if one not in found), "")
            found += [name] * bool(name)
        return found

    def sources(self, name: str) -> set[str]:
        """What a line is computed from."""
        return algebra.sources(self.lifted.program, {name})

    def is_data(self, tensor: str) -> bool:
        word = self.lifted.names.get(tensor, tensor).rpartition(".")[2]
        return bool(naming.DATA.fullmatch(word) or naming.STATE.fullmatch(word))

    # what is not judged

    def unjudged(self) -> Iterator[str]:
        """Parameters whose gradient nothing judges: what the code changes by something that is called a gradient or
        is made from audited lines, before it computes its loss with it again.
        """
        judged = {self.becomes[tensor] for tensor in self.pairs if tensor in self.becomes}
        judged |= {update.made for update in self.match.steps.values() if update.tensor in self.pairs}
        again = {self.lifted.makers[step.name] for step in self.forward.steps}
        rerun = [step for step in self.steps[self.end :] if self.lifted.makers[step.name] in again]
        read = {access.tensor for step in rerun for access in step.reads} & self.hand
        changed = {new: tensor for tensor, new in self.becomes.items() if tensor not in self.pairs}
        audited = {step.name for step in self.match.lines}
        early = {name for name in {*read, *changed} - judged if self.order[name] < self.end and not self.is_data(name)}
        for name in sorted(early, key=self.order.__getitem__):
            behind = (self.sources(name) & self.hand) - {name}
            by_gradients = behind & audited or any(
                True for one in behind for _ in meanings(self.ledger.display(one).rpartition(".")[2])
            )
            if by_gradients and not behind & judged:
                yield self.ledger.display(changed.get(name, name))

    def not_run(self) -> Iterator[str]:
        """Lines that would give a gradient a value, behind conditions that never held."""
        names = {self.ledger.display(name).rpartition(".")[2] for name in self.pairs.values()}
        met = {(branch.line.number, branch.taken) for branch in self.lifted.path}
        tree = ast.parse(self.lifted.source) if met else ast.Module([], [])
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and len({(node.lineno, True), (node.lineno, False)} & met) == 1:
                left = node.orelse if (node.lineno, True) in met else node.body
                for one in (one for part in left for one in ast.walk(part)):
                    match one:
                        case ast.Assign(targets) if names & set(map(word_in, targets)):
                            yield f"line {one.lineno} is not run, and not judged: {ast.unparse(one)}"
                        case ast.AugAssign(target) if word_in(target) in names:
                            yield f"line {one.lineno} is not run, and not judged: {ast.unparse(one)}"

    # what becomes of right gradients

    def notes(self) -> Iterator[str]:
        """What the steps do that nobody wants: each is said, none is a wrong gradient."""
        yield from self.not_run()
        right = [tensor for tensor in self.pairs if self.match.fine(tensor) and not self.is_data(tensor)]
        if not changes(self.lifted, self.forward, self.hand).difference(self.pairs.values()):
            return  # gradients may have the names of their tensors
        stepped = {*self.becomes, *(update.tensor for update in self.match.steps.values())}
        program = self.lifted.program
        kept = [tensor for tensor in right if tensor in self.held and tensor not in stepped]
        idle = [tensor for tensor in kept if program.batch not in program.axes[tensor]]
        if idle:
            yield f"no step changes {self.words(idle)}, and steps change others"
        by_name = [tensor for tensor in right if tensor in self.becomes and self.pairs[tensor] not in self.match.steps]
        unused = [tensor for tensor in by_name if not self.is_used(tensor)]
        for tensor in unused:
            name, words = self.ledger.display(self.pairs[tensor]), self.words([tensor])
            yield f"no step uses {name}: {self.place(tensor)} changes {words} without it"
        for tensor in right:
            if tensor in self.becomes and (number := self.stale(tensor)):
                yield f"line {number} reads {self.words([tensor])} again as it was before {self.place(tensor)}"
        added = [self.ledger.display(self.pairs[tensor]) for tensor in by_name if self.is_kept(tensor)]
        if added:
            yield f"the next pass adds to {', '.join(dict.fromkeys(added))} of this one, which a step has used"
        yield from self.of_lengths([tensor for tensor in right if tensor in self.becomes and tensor not in unused])

    def words(self, tensors: Sequence[str]) -> str:
        return ", ".join(self.ledger.readable(tensor) for tensor in tensors)

    def place(self, tensor: str) -> str:
        return f"line {self.lifted.lines[self.becomes[tensor]].number}"

    def is_kept(self, tensor: str) -> bool:
        """Whether the gradient of the next pass is added to that of this one, after a step has used it."""
        name = self.pairs[tensor]
        own = ir.term((), Access(name, self.lifted.program.axes[name]))
        later = self.steps[max(self.end, self.order[self.becomes[tensor]]) :]
        same = (step for step in later if self.lifted.names[step.name] == self.lifted.names[name])
        return any(own in step.terms or (step.operation == "+=" and step.name == name) for step in same)

    def is_used(self, tensor: str) -> bool:
        """Whether what a parameter becomes is computed from its gradient."""
        steps = {step.name: step for step in self.steps}
        behind, name = self.sources(self.becomes[tensor]), self.pairs[tensor]
        while name not in behind and name in steps:  # what is only kept under another name
            match steps[name].terms:
                case [ir.Term(_, (), Access(inner))]:
                    name = inner
                case _:
                    return False
        return name in behind

    def stale(self, tensor: str) -> int:
        """The line of the forward pass that reads a parameter again, as it was before its step."""
        readers = {
            self.lifted.makers[step.name]
            for step in self.forward.steps
            if tensor in {access.tensor for access in step.reads}
        }
        for step in self.steps[self.end :]:
            if self.lifted.makers[step.name] in readers and tensor in {access.tensor for access in step.reads}:
                return self.lifted.makers[step.name].number
        return 0

    def of_lengths(self, tensors: Sequence[str]) -> Iterator[str]:
        """How long steps are beside their gradients."""
        lengths: dict[str, list[float]] = {}
        shrunk, bent = [], []
        for tensor in tensors:
            fitted = [self.fitted(*columns) for columns in self.columns(tensor)]
            known = [pair for pair in fitted if pair is not None]
            if len(known) < len(fitted) or not fitted:
                bent.append(tensor)
            elif all(kept == 1 for kept, _ in known):
                lengths[tensor] = [length for _, length in known]
            elif all(abs(kept) < 1e-9 or kept < 0 for kept, _ in known):
                yield f"{self.place(tensor)} does not keep the old {self.words([tensor])}: it is no step from there"
            else:
                shrunk.append(tensor)
        for tensor in [tensor for tensor, length in lengths.items() if not any(length)]:
            del lengths[tensor]
            yield f"{self.place(tensor)} leaves {self.words([tensor])} as it is: the step is 0 times its gradient"
        yield from self.beside(lengths)
        shrunk, bent = (
            [tensor for tensor in some if self.pairs[tensor] not in self.match.steps] for some in (shrunk, bent)
        )
        if shrunk:
            words = self.words(shrunk)
            yield f"the steps also make {words} smaller by a factor: weight decay, which the gradients do not have"
        if bent:
            yield f"not judged, as they are more than a number times the gradient: the steps of {self.words(bent)}"

    def columns(self, tensor: str) -> Iterator[tuple[Any, Any, Any]]:
        """What a parameter was, what it becomes, and its gradient, cut off or not, on every draw."""
        own, gradients = self.ledger.own, self.ledger.right(Claim(tensor))
        name = self.pairs[tensor]
        for step in self.steps[: self.end]:
            if step.name in self.hand and name in self.reads[step.name] and name in self.chain(step.name)[1:]:
                name, gradients = step.name, own(step.name)
        return zip(own(tensor), own(self.becomes[tensor]), gradients, strict=True)

    @staticmethod
    def fitted(old: Any, new: Any, gradient: Any) -> tuple[float, float] | None:
        """The numbers k and c for which the new value is k old + c gradient; k is 1 where that does."""
        import numpy as np

        if not old.size == new.size == gradient.size:
            return None
        old, new, gradient = (np.ravel(array) for array in (old, new, gradient))
        if not np.any(gradient):
            return None
        length = float((new - old) @ gradient / (gradient @ gradient))
        scale = float(np.max(np.abs(old)))
        if np.max(np.abs(old + length * gradient - new)) <= 1e-9 * max(scale, 1e-300):
            return 1.0, length if np.max(np.abs(length * gradient)) > 1e-12 * scale else 0.0
        kept, length = np.linalg.lstsq(np.stack([old, gradient], 1), new, rcond=None)[0]
        return (float(kept), float(length)) if old.size > 2 and close(kept * old + length * gradient, new) else None

    def beside(self, lengths: dict[str, list[float]]) -> Iterator[str]:
        """Steps that are longer or shorter than most."""
        import numpy as np

        def factor(tensor: str, other: str) -> ir.Factor | None:
            return self.ledger.factor([float(a / b) for a, b in zip(lengths[tensor], lengths[other], strict=True)])

        alike = {one: [other for other in lengths if np.allclose(lengths[one], lengths[other])] for one in lengths}
        most = max(alike.values(), key=len, default=[])
        for tensor in lengths:
            ratio = factor(tensor, most[0]) if tensor not in most else ONE
            if ratio is not None and ratio != ONE:
                far = f"{show_factor(ratio)} times as far along its gradient as"
                yield f"{self.words([tensor])} steps {far} {self.words(most)}: {self.place(tensor)}"
