"""Matching: the cotangent that every line of a hand-written backward pass holds, and which gradients are wrong."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property

from indexprop import ir, naming
from indexprop.agreement import close
from indexprop.claims import LOSS, before_second, changes, said_by
from indexprop.completion import Lifted
from indexprop.evidence import MINUS, ONE, Claim, Ledger, Values, fits
from indexprop.ir import Step
from indexprop.keeping import HOLDS
from indexprop.rewording import Rewording
from indexprop.updates import Update


class Match:
    """The lines of a backward pass beside the derivation, on the same data."""

    def __init__(
        self,
        lifted: Lifted,
        data: Callable[[int], Values],
        loss: str,
        pairs: Mapping[str, str],
        *,
        steps: Mapping[str, Update] | None = None,
        guarded: Container[str] = (),
        asked: bool = True,
    ) -> None:
        self.lifted = lifted
        self.asked = asked
        self.steps = dict(steps or {})
        self.pairs = dict(pairs)
        self.grads = {name: tensor for tensor, name in pairs.items()}
        self.loss = loss
        self.ledger = Ledger(lifted, data, loss, list(pairs), guarded=guarded)
        self.lines = self.of_interest()
        self.said = {
            step.name: self.grads.get(step.name) or said_by(step.name, self.lifted, self.ledger.tensors)
            for step in self.lines
        }
        self.sign = ONE
        self.scale = ONE
        self.sign = self.find_sign()
        self.scale = self.find_scale()

    def of_interest(self) -> list[Step]:
        """The lines of the backward pass that the gradients are made of."""
        wanted = set(self.pairs.values())
        for step in reversed(self.ledger.hand):
            if step.name in wanted:
                wanted.update(access.tensor for access in step.reads)
        return [step for step in self.ledger.hand if step.name in wanted]

    @cached_property
    def found(self) -> dict[str, Claim]:
        """For every line the cotangent that it holds, up to a factor, or the contributions to one."""
        found: dict[str, Claim] = {}
        ledger = self.ledger
        for step in self.lines:
            own, said = ledger.own(step.name), self.said[step.name]
            if said and ledger.same(own, ledger.right(Claim(said))):  # also where both are zero
                found[step.name] = Claim(said)
                continue
            order = sorted(ledger.tensors, key=lambda tensor: (tensor != said, tensor not in self.lifted.values))
            exact = (Claim(tensor) for tensor in order if ledger.same(own, ledger.right(Claim(tensor))))
            parts = (
                Claim(tensor, ONE, part)
                for tensor in order
                for part, column in enumerate(ledger.parts.get(tensor, ()))
                if ledger.same(own, column)
            )
            factors = (
                Claim(tensor, factor)
                for tensor in order
                if (factor := ledger.ratio(own, ledger.right(Claim(tensor)))) is not None
            )
            mine = (
                Claim(said, ONE, part)
                for part, column in enumerate(ledger.parts.get(said, ()))
                if ledger.same(own, column)
            )
            claim = next(itertools.chain(mine, exact, parts, factors), None)
            if claim is not None:
                found[step.name] = claim
        return found

    def is_settled(self, name: str) -> bool:
        """Whether a line holds what its name says."""
        claim, said = self.found.get(name), self.said[name]
        if claim is None or claim.factor not in (ONE, self.sign):
            return False
        return said in ("", claim.tensor) and (claim.part is None or not said)

    def find_sign(self) -> ir.Factor:
        """Whether the code computes the direction of descent, -gradient, to be added: no name says that it is a
        gradient, or it is added to its parameter, and nothing is right as it stands.
        """
        if self.steps and set(self.pairs.values()) <= set(self.steps):
            return MINUS if all(update.adds for update in self.steps.values()) else ONE
        claims = [claim for name, claim in self.found.items() if self.signed(name)]
        if any(claim.factor == ONE for claim in claims) or not any(claim.factor == MINUS for claim in claims):
            return ONE
        words = {name: self.lifted.names[name].rpartition(".")[2] for name in self.grads}
        named = any(HOLDS.fullmatch(words[name]) or said_by(name, self.lifted, self.pairs) for name in words)
        return ONE if self.climbs() or (named and not self.added()) else MINUS

    def climbs(self) -> bool:
        """Whether a step goes up the loss: what it is made of is no direction of descent then."""
        if self.minimised and any(self.upward.values()):
            return True
        down = MINUS if all(update.adds for update in self.steps.values()) else ONE
        own = {name: Claim(update.tensor, down) for name, update in self.steps.items() if update.tensor in self.pairs}
        ratios = [self.ledger.ratio(self.ledger.own(name), self.ledger.right(claim)) for name, claim in own.items()]
        return self.minimised and any(ratio is not None and ratio.number < 0 for ratio in ratios)

    @cached_property
    def upward(self) -> dict[str, bool]:
        """Whether steps that are no number times something, such as those of Adam, go up the loss on all data, or down
        on all data.
        """
        ledger, known = self.ledger, {update.tensor for update in self.steps.values()}
        hand = [step.name for step in ledger.hand]
        changed = changes(self.lifted, ledger.forward, hand)
        within = {step.name for step in before_second(self.lifted, ledger.forward, hand)}
        changing = [name for name in hand if name in changed & within]
        last = {ledger.display(name): ledger.own(name) for name in changing}
        found = {}
        for tensor in (one for one in self.pairs if one not in known and ledger.display(one) in last):
            rows = zip(last[ledger.display(tensor)], ledger.own(tensor), ledger.right(Claim(tensor)), strict=True)
            ways = [float((new - old).ravel() @ up.ravel()) for new, old, up in rows if new.shape == old.shape]
            if ways and (min(ways) > 0 or max(ways) < 0):
                found[tensor] = ways[0] > 0
        return found

    @property
    def minimised(self) -> bool:
        """Whether the name of the loss says that it is to become small."""
        word = self.lifted.names.get(self.loss, self.loss)
        return LOSS.fullmatch(word) is not None and "objective" not in word

    def find_scale(self) -> ir.Factor:
        """By what most steps differ from the gradient, where the code has no gradients but in them: the size of a step
        is the author's, and may hold a factor, the same for all parameters.
        """
        ledger = self.ledger
        own = {tensor: ledger.own(name) for tensor, name in self.pairs.items() if name in self.steps}
        ratios = [ledger.ratio(column, ledger.right(Claim(tensor, self.sign))) for tensor, column in own.items()]
        counts = Counter(ratio for ratio in ratios if ratio is not None and ratio.number > 0)
        most = max(counts.values(), default=0)
        named = any(self.steps[name].named for name in self.pairs.values() if name in self.steps)
        if named or len(own) < len(self.pairs) or counts[ONE] == most:
            return ONE
        return next(ratio for ratio, count in counts.items() if count == most)

    def claimed(self, tensor: str) -> Claim:
        """What the line that claims to be the gradient of a tensor should hold."""
        return Claim(tensor, self.sign * self.scale if self.pairs[tensor] in self.steps else self.sign)

    def signed(self, name: str) -> bool:
        return name in self.grads or any(self.depends({name}, grad) for grad in self.grads)

    def added(self) -> bool:
        """Whether a gradient is added to its parameter with a positive factor, or what is made of it leads down."""
        if self.upward and not any(self.upward.values()):
            return True
        for step in self.ledger.hand:
            for term in step.terms:
                reads = {access.tensor for access in ir.accesses(term.body)}
                if reads & set(self.grads) and step.name not in self.grads:
                    others = {
                        access.tensor for other in step.terms if other != term for access in ir.accesses(other.body)
                    }
                    if others & set(self.pairs) and term.factor.number > 0:
                        return True
        return False

    def fine(self, tensor: str, tables: Sequence[Values] | None = None) -> bool:
        """Whether the gradient of a tensor is right."""
        name = self.pairs[tensor]
        own = [table[name] for table in tables or [draw.own for draw in self.ledger.draws]]
        rights = self.ledger.right(self.claimed(tensor))
        return all(a is not None and fits(a, b) for a, b in zip(own, rights, strict=True))

    @cached_property
    def differing(self) -> list[str]:
        return [tensor for tensor in self.pairs if not self.fine(tensor)]

    @cached_property
    def unfinished(self) -> list[str]:
        return [tensor for tensor in self.differing if self.is_unfinished(tensor, self.differing)]

    @cached_property
    def wrong(self) -> list[str]:
        """The tensors whose gradient is wrong."""
        return [tensor for tensor in self.differing if tensor not in self.unfinished]

    def differs_by_a_factor(self, tensor: str) -> bool:
        """Whether the gradient of a tensor would be right times a number, or a number of sizes."""
        ledger = self.ledger
        return ledger.ratio(ledger.own(self.pairs[tensor]), ledger.right(self.claimed(tensor))) is not None

    def is_unfinished(self, tensor: str, wrong: Container[str]) -> bool:
        """Whether the gradient of data, which nobody asked for and nothing reads, only has the factor of the gradients
        that it is made of, and the right gradients of parameters that are made of these as well do not have it.
        """
        name = self.pairs[tensor]
        claim, batch = self.found.get(name), self.lifted.program.batch
        word = self.ledger.display(tensor).rpartition(".")[2]
        data = naming.DATA.fullmatch(word) or naming.STATE.fullmatch(word)
        if self.asked or not data or batch not in self.lifted.program.axes[tensor] or claim is None:
            return False
        if claim.tensor != tensor or claim.part is not None or claim.factor.number <= 0 or self.sign != ONE:
            return False
        others = {one: owner for one, owner in self.grads.items() if one != name}
        if self.steps.keys() & self.grads.keys() - others.keys() or any(self.depends({name}, one) for one in others):
            return False
        if any(update.tensor == tensor for update in self.steps.values()):
            return False
        made = next(step for step in self.lines if step.name == name)
        read = {access.tensor for access in made.reads} & self.found.keys()
        fed = [owner for one, owner in others.items() if any(self.depends({source}, one) for source in read)]
        same = all(self.found[source].factor == claim.factor for source in read)
        return bool(fed) and same and not any(owner in wrong for owner in fed)

    def rewording(self, step: Step) -> Rewording:
        """Derived lines in the words of the lines before one."""
        before = self.lines[: self.lines.index(step)] if step in self.lines else []
        return Rewording(self.ledger, {one.name: self.found[one.name] for one in before if one.name in self.found})

    @cached_property
    def conventions(self) -> dict[str, str]:
        """The first lines that differ from the derivation where a function has a kink, and the tensor that is there."""
        found: dict[str, str] = {}
        for name in self.ledger.kinks:
            tables = self.ledger.at_kink(name)
            for step in self.lines if tables else ():
                claim = self.found.get(step.name)
                if tables is None or claim is None or claim.factor != ONE or claim.part is not None:
                    continue
                own, derived = tables[0][step.name], tables[1].get(self.ledger.gradient.cotangents[claim.tensor])
                if derived is not None and own.shape == derived.shape and not close(own, derived):
                    found.setdefault(step.name, name)
                    break
        return found

    def derived(self, claim: Claim) -> tuple[Step, ...]:
        """The lines of the derivation that a line should be."""
        name = self.ledger.gradient.cotangents[claim.tensor]
        return tuple(step for step in self.ledger.gradient.program.steps if step.name == name)

    @cached_property
    def sources(self) -> dict[str, set[str]]:
        """For every line of the backward pass itself and all that it is computed from."""
        found: dict[str, set[str]] = {}
        for step in self.lines:
            reads = {access.tensor for access in step.reads}
            found.setdefault(step.name, {step.name}).update(reads, *(found.get(name, ()) for name in reads))
        return found

    def depends(self, names: set[str], name: str) -> bool:
        """Whether a line is one of others, or computed from one of them."""
        return not names.isdisjoint(self.sources.get(name, {name}))
