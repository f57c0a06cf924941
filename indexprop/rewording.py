"""Rewording: derived lines in the names, the layout and the manner of somebody's code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from indexprop import codegen, formulas, identities, ir, layouts, printing, validation
from indexprop.agreement import close
from indexprop.errors import IndexpropError
from indexprop.evidence import ONE, Array, Claim, Column, Ledger, Notated
from indexprop.ir import Access, Expr, Index, Number, Step
from indexprop.scopes import Scope, assigned, in_the_manner_of, words_of

ROUNDS = 12
"""How many names are replaced by what they stand for, until a line is seen to be the derived one."""

LONGEST = 200
"""How many definitions are put into a line at most: nobody reads a longer one, and it may grow without end."""


class Rewording:
    """Lines in the names, the layout and the manner of the code; `known` says what the lines before them hold."""

    def __init__(self, ledger: Ledger, known: Mapping[str, Claim]) -> None:
        self.ledger = ledger
        self.gradient = ledger.gradient
        own = ledger.lifted.program
        self.names: dict[str, tuple[str, ir.Factor]] = {}
        for line, claim in known.items():
            if claim.part is None:
                name = self.gradient.cotangents[claim.tensor]
                if name not in self.names or self.names[name][1] != ONE:
                    self.names[name] = line, claim.factor
        self.definitions: dict[str, list[Step]] = {}
        for one in self.gradient.program.steps:
            self.definitions.setdefault(one.name, []).append(one)
        self.taken = {*self.gradient.program.indices, *own.indices}
        self.roots = dict(own.same_size)
        self.scattered = False
        self.count = 0

    def best(self, claim: Claim, fixed: Step | None, step: Step, scopes: Sequence[Scope] = ()) -> str:
        """The shorter of the derived line and the author's line with the smallest change, as a line of the code: it
        gives the right value, in names that can be read there. Nothing, where one line does not say it.
        """
        derived = self.terms(claim)
        sides = [] if self.scattered else [derived]
        if fixed is not None and ir.is_plain(fixed.target):
            sides.append((fixed.target.names, fixed.terms))
        like = claim.tensor if claim.tensor in self.ledger.lifted.layout else step.name
        texts = (self.line(step, slots, terms, like, self.ledger.right(claim), scopes) for slots, terms in sides)
        return min(filter(None, texts), key=len, default="")

    def line(
        self,
        step: Step,
        slots: tuple[Index, ...],
        terms: tuple[ir.Term, ...],
        like: str,
        right: Column,
        scopes: Sequence[Scope],
    ) -> str:
        """A value as a whole line of the code, in the manner of the line of a step; in the notation for who writes
        that. Nothing, if it does not give the right numbers in their right places, or reads what cannot be read there.
        """
        lifted = self.ledger.lifted
        name = lifted.names[step.name]
        if isinstance(lifted, Notated):
            return f"{name}{printing.format_access(Access('', slots))} = {printing.format_terms(terms)}"
        written = lifted.lines[step.name].text
        try:
            text, words, pattern = self.source(slots, terms, like)
        except IndexpropError:
            return ""
        text = in_the_manner_of(written if re.search(r"@|dot\(|sum\(", written) else lifted.source, text)
        if not self.is_right(text, words, pattern, right):
            return ""
        spelled = filter(None, (scope.spelled(text, words) for scope in scopes))
        found = min(spelled, key=lambda one: len(re.findall(r"\[\d+\]", one)), default="")  # of a loop, in its own pass
        return assigned(written, name, found) if found else ""

    def is_right(self, text: str, words: Mapping[str, str], pattern: str, right: Column) -> bool:
        """Whether a line of numpy gives some numbers on every draw; `words` are its names, and the tensors behind."""
        import numpy as np

        layout = self.ledger.lifted.layout
        for draw, value in zip(self.ledger.draws, right, strict=True):
            try:
                arrays = {word: shaped(draw.own[name], layout[name]) for word, name in words.items()}
                with np.errstate(all="ignore"):
                    own = eval(text, {"np": np, **arrays})
            except (TypeError, ValueError, LookupError, NameError, AttributeError):
                return False
            wanted = shaped(value, pattern)
            scale = max(np.max(np.abs(array), initial=0.0) for array in (*arrays.values(), 1.0))
            cancelled = not np.any(wanted) and np.max(np.abs(own), initial=0.0) < 1e-9 * scale
            if np.shape(own) != wanted.shape or not (cancelled or close(own, wanted)):
                return False
        return True

    def terms(self, claim: Claim) -> tuple[tuple[Index, ...], tuple[ir.Term, ...]]:
        """The axes and the terms of a cotangent, with what the code has names for under those names."""
        if claim.part is None:
            steps = self.definitions[self.gradient.cotangents[claim.tensor]]
        else:
            lines = self.ledger.contributions(claim.tensor)
            steps = [lines[claim.part]] if claim.part < len(lines) else lines
        slots = steps[0].target.names
        scale = scaling(claim.factor)
        terms = []
        for step in steps:
            expr = self.inlined(self.apart(step, slots))
            for part in expr.terms if isinstance(expr, ir.Sum) else (expr,):
                one = ir.term((), part)
                terms.append(ir.term(one.bound, ir.multiply(scale, one.body), one.factor))
        return slots, ir.collect(terms)

    def proven(self, step: Step, claim: Claim) -> bool:
        """Whether a line is what it claims to be by algebra: both in the same tensors.

        What only one side reads is replaced by what it is, the last line first.
        """
        if claim.part is not None and claim.part >= len(self.ledger.contributions(claim.tensor)):
            return False
        slots, terms = self.terms(claim)
        right = formulas.expression(terms)
        own = self.apart(step, step.target.names)
        if self.scattered or len(slots) != len(step.target.slots) or step.operation != "=":
            return False
        right = ir.rename(right, dict(zip(slots, step.target.names, strict=True)))
        for _ in range(ROUNDS):
            mine, other = ({access.tensor for access in ir.accesses(side)} for side in (own, right))
            lone = [name for name in self.written if name in mine ^ other]
            if not lone:
                return identities.equal([ir.term((), own)], [ir.term((), right)], self.roots, self.ones)
            own, right = self.put_in(own, lone[-1]), self.put_in(right, lone[-1])
        return False

    @cached_property
    def written(self) -> dict[str, Step]:
        """The lines that say what a tensor is, each the only one of its tensor."""
        steps = [*self.gradient.forward.steps, *self.ledger.hand]
        plain = {step.name: step for step in steps if step.operation == "=" and ir.is_plain(step.target)}
        return {name: step for name, step in plain.items() if [one.name for one in steps].count(name) == 1}

    @cached_property
    def ones(self) -> list[Index]:
        """The indices whose size is one on all data."""
        tables = [draw.sizes for draw in self.ledger.draws]
        return [index for index in self.roots if all(table.get(index) == 1 for table in tables)]

    def put_in(self, expr: Expr, name: str) -> Expr:
        """With a tensor replaced by what it is."""
        match expr:
            case Access(tensor) if tensor == name and ir.is_plain(expr):
                return self.apart(self.written[tensor], expr.names)
            case _:
                return ir.rebuild(expr, lambda part: self.put_in(part, name))

    def slope(self, name: str, step: Step, scopes: Sequence[Scope]) -> str:
        """The derivative of a function of the forward pass as a line of the code."""
        terms = (ir.term((), self.ledger.slopes[name]),)
        return self.line(step, self.ledger.axes[name], terms, name, self.ledger.locals[name], scopes)

    def source(
        self, slots: tuple[Index, ...], terms: tuple[ir.Term, ...], like: str
    ) -> tuple[str, dict[str, str], str]:
        """A line as numpy, its axes in memory as those of another tensor; its names, and the tensors that they mean;
        and how it lies.
        """
        lifted = self.ledger.lifted
        program = lifted.program
        line = Step(Access("right", slots), terms)
        written = validation.assemble(
            [*program.steps, line],
            inputs=program.inputs,
            outputs=[*program.outputs, "right"],
            batch=program.batch,
            facts=program.facts,
        )
        words = iter(slots)
        order = lifted.layout.get(like, " ".join(slots)).split()
        if len([word for word in order if word != "1"]) != len(slots):
            order = list(slots)
        pattern = " ".join(word if word == "1" else next(words) for word in order)
        patterns = {key: value for key, value in {**lifted.layout, "right": pattern}.items() if value}
        writer = codegen.Writer(written, layouts.arrange(written, layouts.Layout(None, patterns)), "matmul")
        text = writer.right_side(line).text
        for name, shape in writer.sizes.values():
            text = re.sub(rf"\b{name}\b", shape, text)
        text = re.sub(r"\.astype\(dtype\)|, dtype(?=\))", "", text)
        named = {word: name for name, word in writer.names.items() if name in lifted.layout}
        return text, {word: named[word] for word in words_of(text) if word in named}, pattern

    def inlined(self, expr: Expr) -> Expr:
        """With every derived tensor that the code has no name for replaced by its definition."""
        if not isinstance(expr, Access):
            return ir.rebuild(expr, self.inlined)
        if expr.tensor in self.names:
            own, factor = self.names[expr.tensor]
            return ir.multiply(scaling(inverse(factor)), Access(own, expr.names))
        if expr.tensor in self.ledger.lifted.values and expr.tensor not in self.ledger.cotangent_of:
            return expr
        steps = self.definitions[expr.tensor]
        self.count += 1
        if self.count > LONGEST or any(step.loop for step in steps):  # a block feeds back
            self.scattered = True
            return expr
        return self.inlined(ir.add(*(self.apart(step, expr.names) for step in steps)))

    def apart(self, step: Step, slots: Sequence[Index]) -> Expr:
        """A definition whose sums have indices that nothing else has."""
        self.scattered |= not ir.is_plain(step.target) or step.loop is not None
        names = dict(zip(step.target.names, slots, strict=True))
        for term in step.terms:
            for bound, _ in sums(term):
                for index in bound:
                    if index not in names:
                        names[index] = ir.fresh(index, self.taken)
                        self.roots[names[index]] = self.roots.get(index, index)
                        self.taken.add(names[index])
        return ir.rename(formulas.expression(step.terms), names)


def inverse(factor: ir.Factor) -> ir.Factor:
    return ir.Factor(1 / factor.number, tuple((index, -power) for index, power in factor.sizes))


def scaling(factor: ir.Factor) -> Expr:
    """A factor as an expression."""
    sizes = [ir.power(ir.Size(index), ir.number(power)) for index, power in factor.sizes]
    return ir.multiply(Number(factor.number), *sizes)


def sums(term: ir.Term) -> Iterator[tuple[tuple[Index, ...], Expr]]:
    """Every sum of a term: its indices and its body."""
    if term.bound:
        yield term.bound, term.body
    for part in ir.walk(term.body):
        if isinstance(part, ir.Reduce):
            yield part.indices, part.body


def shaped(value: Array, pattern: str) -> Array:
    """An array as it lies in memory, with its axes of size one."""
    import numpy as np

    sizes = iter(np.shape(value))
    return np.reshape(value, [1 if word == "1" else next(sizes) for word in pattern.split()])
