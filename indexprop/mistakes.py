"""Mistakes: the catalogue of what goes wrong in hand-written gradients, how each is recognised, and the right line."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from indexprop import algebra, formulas, ir, printing
from indexprop.evidence import ONE, Array, Claim, Column, Ledger, farthest, show_factor
from indexprop.ir import Access, Call, Expr, Index, Number, Step
from indexprop.rewording import Rewording, inverse, scaling, sums

TRANSPOSED = "transposed"
"""The line is right with the indices of one read exchanged, or is itself the transpose."""
BATCH = "missing or extra 1/|b|"
"""Yours over derived is the size of the batch, or one over it, in every entry, or in every entry of one term."""
CONSTANT = "wrong constant"
"""Yours over derived is one number in every entry, or in every entry of one term: a sign, a 2, a forgotten 1/2."""
SIZE = "wrong size in the factor"
"""Yours over derived is a product of other sizes: features divide where samples should."""
SUMMED = "summed over the wrong indices"
"""The line is right with the same terms summed over other indices."""
FORGOTTEN = "activation derivative forgotten"
"""The line is right times the derivative of an activation, or times a mask."""
TWICE = "activation derivative applied twice"
"""The line is right without the derivative of an activation, or a later line applies it once more."""
LAYER = "activation derivative of the wrong layer"
"""The line is right with the derivative of another activation of the network."""
FUNCTION = "derivative of the wrong function"
"""The line is right with the derivative of an activation in place of what people write for that of another."""
SOFTMAX = "softmax with cross entropy counted twice"
"""The line holds the gradient before the softmax, and a later one applies its derivative."""
OVERWRITTEN = "overwritten instead of accumulated"
"""Some of the contributions to a gradient arrive, and others were there."""
DROPPED = "upstream gradient dropped"
"""The line is right times a gradient, or reads none where the derived one does."""
STALE = "stale value"
"""The line is right with an earlier or later value of a name."""
EXTRA = "a factor too many"
"""The line is right without one of its factors."""
MISSING = "a factor is missing"
"""The line is right with a tensor of the forward pass as a further factor."""
ADDED = "a term that the loss does not have"
"""The line is right without one of its terms."""
OMITTED = "a term is missing"
"""Some of the contributions to a gradient arrive, and no line holds the others."""
OPERAND = "wrong operand"
"""The line is right with another tensor, or another entry, in place of one that it reads."""
UNKNOWN = "of no known class"
"""None of these: the entry that is farthest from where it should be is shown."""

Finding: TypeAlias = tuple[str, str, Step | None]
"""The class, the evidence, and the author's line with the smallest change that makes it right, if that is known."""


class Diagnosis:
    """What is wrong with a line, by looking for the smallest change that makes it right."""

    def __init__(self, ledger: Ledger, step: Step, claim: Claim) -> None:
        self.ledger = ledger
        self.step = step
        self.claim = claim
        self.own = self.ledger.own(step.name)
        self.right = self.ledger.right(claim)
        self.scaled = False
        self.rest = ONE

    def classify(self) -> Finding:
        if any(value is None for value in self.own):
            return UNKNOWN, "the line cannot be computed once the lines before it are right", None
        for method in (
            self.by_factor, self.by_transposition, self.by_bound, self.by_sum, self.by_twice, self.by_parts,
            self.by_stale_value, self.by_term, self.by_local_derivative, self.by_inner_derivative, self.by_softmax,
            self.by_added_term, self.by_operand, self.by_reduction, self.by_missing_factor, self.by_extra_factor,
            self.by_mask, self.by_no_upstream,
        ):  # fmt: skip
            found = method()
            if found is not None:
                return found
        return self.by_two() or (UNKNOWN, self.worst(), None)

    def by_factor(self) -> Finding | None:
        """A factor that is the same in every entry."""
        ratios = self.ledger.ratios(self.own, self.right)
        if ratios is None:
            return None
        factor = self.ledger.factor(ratios)
        if factor is not None:
            kind = kind_of(factor, self.ledger.batch)
            return (
                kind,
                f"yours / derived = {show_factor(factor)} in every entry",
                self.times(inverse(factor), self.step),
            )
        square = self.ledger.factor([ratio * ratio for ratio in ratios])
        if square is not None and min(ratios) > 0:
            return (
                (SIZE if square.sizes else CONSTANT),
                f"yours / derived = sqrt({show_factor(square)}) in every entry",
                None,
            )
        if all(value.size == 1 for value in self.own):
            return None
        spread = ", ".join(f"{ratio:.6g}" for ratio in ratios)
        return CONSTANT, f"yours / derived = {spread} on {len(ratios)} draws, the same in every entry", None

    def by_transposition(self) -> Finding | None:
        if self.own[0].ndim >= 2 and self.ledger.same([value.swapaxes(-1, -2) for value in self.own], self.right):
            wanted = ",".join(self.ledger.axes[self.claim.tensor])
            return (
                TRANSPOSED,
                f"yours is the transpose of the gradient of {self.claim.tensor}[{wanted}] in every entry",
                None,
            )
        for edited, access, turned in self.edits(lambda access: [Access(access.tensor, access.names[::-1])]):
            if len(access.names) == 2 and self.is_right(edited):
                words = printing.format_access(turned), printing.format_access(access)
                return TRANSPOSED, f"right with {words[0]} instead of {words[1]}", edited
        return None

    def by_bound(self) -> Finding | None:
        """The same terms, summed over other indices."""
        slots = self.ledger.axes[self.claim.tensor]
        present = set(self.step.indices)
        if not set(slots) <= present or (tuple(slots) == self.step.target.names and not self.step.terms):
            return None
        terms = []
        for term in self.step.terms:
            free = [index for index in ir.free_indices(term.body) if index not in slots]
            terms.append(ir.term(free, term.body, term.factor))
        fixed = replace(self.step, target=Access(self.step.name, slots), terms=tuple(terms))
        if fixed == self.step or not self.is_right(fixed):
            return None
        own = {index for term in self.step.terms for index in term.bound}
        right = {index for term in terms for index in term.bound}
        if own == right:
            return None
        return SUMMED, f"yours sums over {listed(own)}; the gradient sums over {listed(right)}", fixed

    def by_sum(self) -> Finding | None:
        """Sums of something else that is read."""
        import numpy as np

        for name in dict.fromkeys(access.tensor for access in self.step.reads):
            values = [draw.own[name] for draw in self.ledger.draws if draw.own.get(name) is not None]
            if len(values) < len(self.ledger.draws) or not values[0].ndim:
                continue
            options = [
                axes
                for count in range(values[0].ndim + 1)
                for axes in itertools.combinations(range(values[0].ndim), count)
            ]
            sums = {axes: [np.sum(value, axis=axes) for value in values] for axes in options}
            good = [axes for axes in options if self.ledger.ratio(sums[axes], self.right)]
            bad = [axes for axes in options if self.ledger.ratio(self.own, sums[axes])]
            if good and bad and good[0] != bad[0]:
                names = self.ledger.axes[name]
                words = [listed([names[axis] for axis in axes]) for axes in (bad[0], good[0])]
                return (
                    SUMMED,
                    f"{self.ledger.display(name)} is summed over {words[0]}; the gradient sums over {words[1]}",
                    None,
                )
        return None

    def by_twice(self) -> Finding | None:
        """The gradient of what goes into an activation, where that of its value belongs: what follows applies the
        derivative of the activation once more.
        """
        program, tensor = self.ledger.forward, self.claim.tensor
        if tensor in program.input_names or self.claim.part is not None:
            return None
        values = self.ledger.derived(tensor)
        softmax = any(sums_to_one(values, axis) for axis in range(values[0].ndim))
        before = {step.name for step in algebra.needed(self.ledger.gradient.forward, (tensor,)).steps} - {tensor}
        into = {access.tensor for step in program.steps if step.name == tensor for access in step.reads}
        for name in self.ledger.tensors:
            near = name in (before if softmax else into if tensor in self.ledger.slopes else ())
            if near and self.ledger.ratio(self.own, self.ledger.right(Claim(name))) is not None:
                words = self.ledger.readable(name), self.ledger.display(tensor)
                shown = (
                    f"yours is the gradient of {words[0]} already; the derivative of {words[1]} comes again after it"
                )
                return (SOFTMAX if softmax else TWICE), shown, None
        return None

    def by_parts(self) -> Finding | None:
        """Some of several contributions are there, the others are not."""
        if self.claim.part is not None:
            return None
        lines = self.ledger.contributions(self.claim.tensor)
        computed = [(line, self.ledger.compute(line, [draw.derived for draw in self.ledger.draws])) for line in lines]
        values = [(line, column) for line, column in computed if column is not None]
        if not 1 < len(values) <= 6:
            return None
        for count in range(1, len(values)):
            for chosen in itertools.combinations(values, count):
                if self.ledger.same(
                    self.own, [sum(row[1:], row[0]) for row in zip(*(c for _, c in chosen), strict=True)]
                ):
                    name = self.ledger.display(self.claim.tensor)
                    origins = {line.because.step for line, _ in values if line.because is not None}
                    if len(origins) == 1 and (step := next(iter(origins))) is not None and is_choice(step):
                        missing = next(line for line in values if line not in chosen)
                        shown = printing.format_terms(missing[0].terms)
                        return FUNCTION, f"the case {shown} of the derivative of {step.name} is missing", None
                    left = [pair for pair in values if pair not in chosen]
                    if not any(self.is_held(column) for _, column in left):
                        shown = " + ".join(self.contribution(lines.index(line)) for line, _ in left)
                        return OMITTED, f"the gradient of {name} has the term {shown} as well", None
                    return OVERWRITTEN, f"{count} of {len(values)} contributions to the gradient of {name} arrive", None
        return None

    def is_held(self, column: Column) -> bool:
        """Whether a line of the code holds some values, up to a factor."""
        return any(self.ledger.ratio(self.ledger.own(step.name), column) is not None for step in self.ledger.hand)

    def contribution(self, part: int) -> str:
        """One of the terms of the gradient, in what the forward pass reads."""
        _, terms = Rewording(self.ledger, {}).terms(replace(self.claim, part=part))
        return printing.format_terms(terms)

    def by_stale_value(self) -> Finding | None:
        names = self.ledger.lifted.names
        axes = self.ledger.lifted.program.axes

        def versions(access: Access) -> Iterator[Access]:
            for name, slots in axes.items():
                if names.get(name) == names.get(access.tensor) and len(slots) == len(access.names):
                    yield Access(name, access.names)

        for edited, access, _ in self.edits(versions):
            if self.is_right(edited):
                line = self.ledger.lifted.lines[access.tensor]
                return STALE, f"{names[access.tensor]} was changed in line {line.number} before it is read here", None
        return None

    def by_term(self) -> Finding | None:
        """One of several terms has a wrong factor."""
        for everything in dict.fromkeys((self.step.terms, distributed(self.step).terms)):
            for k, term in enumerate(everything if len(everything) > 1 else ()):
                factor = self.needed(everything, k, term)
                if factor is not None and factor != ONE:
                    right = replace(term, factor=term.factor * factor)
                    ratio, where = show_factor(inverse(factor)), printing.format_terms([term])
                    shown = f"yours / derived = {ratio} in the term {where}"
                    fixed = replace(self.step, terms=(*everything[:k], right, *everything[k + 1 :]))
                    return kind_of(factor, self.ledger.batch), shown, fixed
        return None

    def by_local_derivative(self) -> Finding | None:
        """An activation's derivative too few, too many, of another layer or of another function."""
        fitting = {
            name: column
            for name, column in self.ledger.locals.items()
            if all(v.shape == a.shape == b.shape for v, a, b in zip(column, self.own, self.right, strict=True))
        }
        for name, column in fitting.items():
            if self.ledger.same(product(self.own, column), self.right):
                return FORGOTTEN, f"yours times the derivative of {self.function(name)} is right", None
        for name, column in fitting.items():
            if self.ledger.same(self.own, product(self.right, column)):
                return TWICE, f"the derivative of {self.function(name)} is a factor too many", None
        for (one, right), (other, wrong) in itertools.permutations(fitting.items(), 2):
            if self.in_place_of(right, wrong):
                words = self.function(other), self.function(one)
                return LAYER, f"the derivative of {words[0]} stands where that of {words[1]} belongs", None
        for name, right in fitting.items():
            for text, wrong in self.other_derivatives(name):
                if self.in_place_of(right, wrong):
                    return FUNCTION, f"{text} stands where the derivative of {self.function(name)} belongs", None
        return None

    def in_place_of(self, right: Column, wrong: Column) -> bool:
        """Whether the line has the factor `wrong` where it should have `right`."""
        import numpy as np

        mine, other = product(self.own, right), product(self.right, wrong)
        return self.ledger.same(mine, other) and any(np.any(value) for value in mine)

    def other_derivatives(self, name: str) -> Iterator[tuple[str, Column]]:
        """What people write for the derivative of an activation, and it is that of another, or at another place."""
        import numpy as np

        step = next(step for step in self.ledger.gradient.program.steps if step.name == name)
        inner = next(access for access in step.reads if access.names == step.target.names)
        for access in (step.target, inner):
            x = self.ledger.derived(access.tensor)
            word = self.ledger.display(access.tensor)
            for text, function in DERIVATIVES:
                with np.errstate(all="ignore"):
                    yield text.replace("x", word) if "x" in text else text, [function(value) for value in x]
        for other in [step.name for step in self.ledger.lifted.program.steps]:
            column = [draw.own[other] for draw in self.ledger.draws]
            if all(
                value is not None and value.shape == mine.shape for value, mine in zip(column, self.own, strict=True)
            ):
                yield f"{self.ledger.display(other)} > 0", [(value > 0) * 1.0 for value in column]

    def by_inner_derivative(self) -> Finding | None:
        """An activation's derivative forgotten, incomplete or exchanged among the factors of a product."""
        forward = set(self.ledger.gradient.forward.axes)
        for whole in self.products():
            factors = whole.factors if isinstance(whole, ir.Product) else (whole,)
            for name, slope in self.ledger.slopes.items():
                axes = self.ledger.gradient.program.axes[name]
                for slots in dict.fromkeys(access.names for factor in factors for access in ir.accesses(factor)):
                    if [self.size(index) for index in slots] != [self.size(index) for index in axes]:
                        continue
                    local = ir.rename(slope, dict(zip(axes, slots, strict=True)))
                    values = [
                        k
                        for k, factor in enumerate(factors)
                        if (reads := list(ir.accesses(factor)))
                        and all(read.tensor in forward and read.names == slots for read in reads)
                    ]
                    for count in range(len(values) + 1):
                        for chosen in itertools.combinations(values, count):
                            rest = [factor for k, factor in enumerate(factors) if k not in chosen]
                            fixed = exchanged(self.step, whole, ir.multiply(*rest, local))
                            if self.is_right(fixed):
                                old = ir.multiply(*(factors[k] for k in chosen))
                                return self.of_derivative(name, old, local, fixed)
        return None

    def products(self) -> Iterator[Expr]:
        """Every product of the line, and every summand that is none."""
        for term in self.step.terms:
            bodies = [term.body, *(part.body for part in ir.walk(term.body) if isinstance(part, ir.Reduce))]
            yield from (body for body in bodies if not isinstance(body, (ir.Product, ir.Reduce)))
            yield from (part for part in ir.walk(term.body) if isinstance(part, ir.Product))

    def of_derivative(self, name: str, old: Expr, local: Expr, fixed: Step) -> Finding:
        """The class of a line that is right with a local derivative in place of some factors."""
        if old == ir.ONE:
            return FORGOTTEN, f"right with the derivative of {self.function(name)} as a further factor", fixed
        shown = printing.format_expr(old)
        if old == ir.multiply(local, local):
            return TWICE, f"the derivative of {self.function(name)} is a factor too many", fixed
        for other, slope in self.ledger.slopes.items():
            slots = next(access.names for access in ir.accesses(old))
            axes = self.ledger.gradient.program.axes[other]
            if len(axes) == len(slots) and ir.rename(slope, dict(zip(axes, slots, strict=True))) == old:
                words = self.function(other), self.function(name)
                return LAYER, f"the derivative of {words[0]} stands where that of {words[1]} belongs", fixed
        return FUNCTION, f"{shown} stands where the derivative of {self.function(name)} belongs", fixed

    def by_softmax(self) -> Finding | None:
        """The diagonal of the derivative of a softmax, where every output depends on every input."""

        for tensor in self.ledger.tensors:
            values, upstream = self.ledger.derived(tensor), self.ledger.right(Claim(tensor, self.claim.factor))
            if any(v.shape != mine.shape or not v.ndim for v, mine in zip(values, self.own, strict=True)):
                continue
            if not any(sums_to_one(values, axis) for axis in range(values[0].ndim)):
                continue
            diagonal = [u * v * (1 - v) for u, v in zip(upstream, values, strict=True)]
            if self.ledger.same(self.own, diagonal):
                name = self.ledger.display(tensor)
                return FUNCTION, f"{name} (1 - {name}) is only the diagonal of the derivative of a softmax", None
        return None

    def by_added_term(self) -> Finding | None:
        """A term that has to go."""
        for k, term in enumerate(self.step.terms if len(self.step.terms) > 1 else ()):
            fixed = replace(self.step, terms=(*self.step.terms[:k], *self.step.terms[k + 1 :]))
            if self.is_right(fixed):
                return ADDED, f"right without the term {printing.format_terms([term])}", fixed
        return None

    def by_operand(self) -> Finding | None:
        """Another tensor in place of one that is read."""
        axes = self.ledger.lifted.program.axes
        order = [step.name for step in self.ledger.lifted.program.steps]
        before = {*order[: order.index(self.step.name)], *self.ledger.lifted.program.input_names}
        functions = set(self.ledger.locals)
        for access in filter(ir.is_plain, dict.fromkeys(self.step.reads)):
            for name in before:
                if len(axes[name]) != len(access.names) or name == access.tensor:
                    continue
                edited = next((one for one in self.with_operand(access, name, axes[name]) if self.is_right(one)), None)
                if edited is None:
                    continue
                evidence = f"right with {self.ledger.display(name)} instead of {self.ledger.display(access.tensor)}"
                entrywise = not self.contracted(access)
                reads = {leaf.tensor for step in self.ledger.forward.steps if step.name == name for leaf in step.reads}
                if entrywise and {access.tensor, name} <= functions:
                    return LAYER, evidence, edited
                if entrywise and (access.tensor in reads or name in functions):
                    return FUNCTION, evidence, edited
                return OPERAND, evidence, edited
        return None

    def with_operand(self, access: Access, name: str, slots: Sequence[Index]) -> Iterator[Step]:
        """The line with another tensor, everywhere or in one term; where its axes are others, the index takes the new
        name everywhere.
        """
        same = self.ledger.lifted.program.same_size
        names = {}
        for old, new in zip(access.names, slots, strict=True):
            if same[old] != same[new]:
                if new in self.step.indices:
                    return
                names[old] = new
        other = Access(name, access.names)
        edited = exchanged(self.step, access, other)
        others = {slot for read in edited.reads if read.tensor != name for slot in read.names}
        if not others & set(names):
            yield ir.rename_step(edited, names)
        terms = self.step.terms
        for k, term in enumerate(terms if len(terms) > 1 and not names else ()):
            if access in ir.accesses(term.body):
                changed = ir.term(term.bound, replaced(term.body, access, other), term.factor)
                yield replace(self.step, terms=(*terms[:k], changed, *terms[k + 1 :]))

    def contracted(self, access: Access) -> bool:
        """Whether an access is an operand of a sum of products, rather than a factor entry by entry."""
        return any(
            set(access.names) & set(bound) and access in ir.accesses(part)
            for term in self.step.terms
            for bound, part in sums(term)
        )

    def by_reduction(self) -> Finding | None:
        """A sum over other indices, somewhere in the line."""
        everything = distributed(self.step).terms
        for k, term in enumerate(everything):
            for bound, body, rebuilt in summed(term):
                for other, chosen in self.other_sums(bound, body):
                    new = rebuilt(other)
                    if set(ir.free_indices(new.body)) - set(new.bound) - set(self.step.target.names) or new == term:
                        continue
                    factor = self.needed(everything, k, new)
                    if factor is not None:
                        terms = (*everything[:k], replace(new, factor=new.factor * factor), *everything[k + 1 :])
                        shown = printing.format_expr(body)
                        words = f"yours sums {shown} over {listed(bound)}; the gradient sums over {listed(chosen)}"
                        return SUMMED, words, replace(self.step, terms=terms)
        return None

    def other_sums(self, bound: Sequence[Index], body: Expr) -> Iterator[tuple[Expr, list[Index]]]:
        """The sum of a body over other indices than these; what is summed no longer takes its place in the target."""
        slots = self.step.target.names
        free = list(ir.free_indices(body))
        for count in range(1, len(free) + 1):
            for chosen in itertools.combinations(free, count):
                names: dict[Index, Index] = {}
                for index in set(bound) - set(chosen):
                    places = [slot for slot in slots if self.size(slot) == self.size(index) and slot not in free]
                    names |= {index: places[0]} if places else {}
                for index in set(chosen) & set(slots):
                    names[index] = ir.fresh(index, {*slots, *free, *names.values()})
                if set(chosen) != set(bound):
                    inner = ir.rename(body, names)
                    yield ir.reduce("sum", [names.get(index, index) for index in chosen], inner), list(chosen)

    def by_missing_factor(self) -> Finding | None:
        """One more tensor has to be a factor of the line, or of a term: what came in, or a local derivative."""
        axes = self.ledger.lifted.program.axes
        hand = {step.name for step in self.ledger.hand}
        masks = {step.name for step in self.ledger.forward.steps if is_mask(step)}
        order = [step.name for step in self.ledger.lifted.program.steps]
        before = [*self.ledger.lifted.program.input_names, *order[: order.index(self.step.name)]]
        everything = self.step.terms
        places = [range(len(everything)), *([k] for k in range(len(everything)) if len(everything) > 1)]
        for name, place in itertools.product(reversed(before), places):
            for slots in itertools.permutations(self.step.indices, len(axes[name])):
                if [self.size(i) for i in slots] != [self.size(i) for i in axes[name]]:
                    continue
                factor = Access(name, slots)
                terms = tuple(
                    ir.term(one.bound, ir.multiply(one.body, factor), one.factor) if k in place else one
                    for k, one in enumerate(everything)
                )
                fixed = replace(self.step, terms=terms)
                if self.is_right(fixed):
                    kind = DROPPED if name in hand else FORGOTTEN if name in masks else MISSING
                    return kind, f"right with {self.ledger.display(name)} as a further factor", fixed
        return None

    def by_extra_factor(self) -> Finding | None:
        """A factor that has to go."""
        for k, term in enumerate(self.step.terms):
            factors = term.body.factors if isinstance(term.body, ir.Product) else ()
            for number, factor in enumerate(factors):
                rest = ir.multiply(*factors[:number], *factors[number + 1 :])
                free = [index for index in term.bound if index in ir.free_indices(rest)]
                terms = list(self.step.terms)
                terms[k] = ir.term(free, rest, term.factor)
                fixed = replace(self.step, terms=tuple(terms))
                if set(ir.free_indices(rest)) - set(free) == set(self.step.target.names) and self.is_right(fixed):
                    return EXTRA, f"right without the factor {printing.format_expr(factor)}", fixed
        return None

    def by_mask(self) -> Finding | None:
        """Right in some entries, and the others should be 0: a mask, however it is made, is not there."""
        import numpy as np

        column = list(zip(self.own, self.right, strict=True))
        if any(own.shape != right.shape or not right.any() for own, right in column):
            return None
        masked = [np.where(right == 0, 0, own) for own, right in column]
        if not self.ledger.same(masked, self.right) or not all(own[right == 0].any() for own, right in column):
            return None
        count = sum(right.size - np.count_nonzero(right) for _, right in column[:1])
        return FORGOTTEN, f"right but for {count} of {column[0][1].size} entries, which are 0: a mask is missing", None

    def by_no_upstream(self) -> Finding | None:
        """The line reads no gradient, and the derived one does."""
        hand = {step.name for step in self.ledger.hand}
        derived = {access.tensor for line in self.ledger.contributions(self.claim.tensor) for access in line.reads}
        several = sum(step.name == self.step.name for step in self.ledger.hand) > 1
        reads = any(access.tensor in hand for access in self.step.reads)
        if several or reads or not derived & set(self.ledger.cotangent_of):
            return None
        return DROPPED, "the line reads no gradient; the derived one does", None

    def by_two(self) -> Finding | None:
        """A mistake beside a factor that is the same in every entry."""
        self.scaled = True
        for method in (self.by_transposition, self.by_inner_derivative, self.by_operand, self.by_missing_factor):
            found = method()
            kind, shown, fixed = found or (UNKNOWN, "", None)
            if fixed is not None:
                shown += f", and without a factor {show_factor(self.rest)}"
                return kind, shown, self.times(inverse(self.rest), fixed)
        return None

    def worst(self) -> str:
        own, right = self.own[0], self.right[0]
        if own.shape != right.shape:
            return f"the shape is {own.shape}, that of the gradient {right.shape}"
        return farthest(self.own, self.right, self.step)

    def is_right(self, step: Step) -> bool:
        """Whether a changed line gives the right value."""
        if not self.scaled:
            return self.ledger.gives(step, self.right)
        first = self.ledger.compute(step, [self.ledger.draws[0].known])
        scaled = self.ledger.ratios(first, self.right[:1]) is not None
        self.rest = self.ledger.ratio(self.ledger.compute(step), self.right) or ONE if scaled else ONE
        return self.rest != ONE

    @staticmethod
    def times(factor: ir.Factor, step: Step) -> Step:
        body = ir.multiply(scaling(factor), formulas.expression(step.terms))
        return replace(step, terms=(ir.term((), body),))

    def edits(self, options: Callable[[Access], Iterable[Access]]) -> Iterator[tuple[Step, Access, Access]]:
        """The line with one read exchanged, in every way."""
        for access in dict.fromkeys(self.step.reads):
            for other in options(access):
                if other != access:
                    yield exchanged(self.step, access, other), access, other

    def needed(self, terms: Sequence[ir.Term], k: int, term: ir.Term) -> ir.Factor | None:
        """The factor by which a term makes the line right in place of the k-th of its terms, if there is one."""
        others = (*terms[:k], *terms[k + 1 :])
        rest = self.ledger.compute(replace(self.step, terms=others)) if others else None
        column = self.ledger.compute(replace(self.step, terms=(term,)))
        if column is None or (others and rest is None):
            return None
        if rest and [part.shape for part in rest] != [part.shape for part in self.right]:
            return None
        missing = [right - part for right, part in zip(self.right, rest, strict=True)] if rest else self.right
        ratios = self.ledger.ratios(missing, column)
        return None if ratios is None else self.ledger.factor(ratios)

    def function(self, name: str) -> str:
        step = next(step for step in self.ledger.gradient.program.steps if step.name == name)
        body = step.terms[0].body
        return f"{self.ledger.display(name)} ({body.function})" if isinstance(body, Call) else self.ledger.display(name)

    def size(self, index: Index) -> Index:
        return self.ledger.lifted.program.same_size.get(index, index)


DERIVATIVES: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("x (1 - x)", lambda x: x * (1 - x)),
    ("1 - x^2", lambda x: 1 - x * x),
    ("1 - x", lambda x: 1 - x),
    ("x", lambda x: x),
    ("x^2", lambda x: x * x),
    ("x > 0", lambda x: (x > 0) * 1.0),
    ("sigma(x)", lambda x: 1 / (1 + math_exp(-x))),
    ("sigma(x) (1 - sigma(x))", lambda x: math_exp(-x) / (1 + math_exp(-x)) ** 2),
    ("1 - tanh(x)^2", lambda x: 1 - ((1 - math_exp(-2 * x)) / (1 + math_exp(-2 * x))) ** 2),
)  # fmt: skip


def math_exp(x: Array) -> Array:
    import numpy as np

    return np.exp(x)


def product(one: Column, other: Column) -> Column:
    return [a * b for a, b in zip(one, other, strict=True)]


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def kind_of(factor: ir.Factor, batch: Index | None) -> str:
    """The class of a wrong factor: the size of the batch once, other sizes, or a number."""
    if len(factor.sizes) == 1 and factor.sizes[0][0] == batch and abs(factor.sizes[0][1]) == 1:
        return BATCH
    return SIZE if factor.sizes else CONSTANT


def is_mask(step: Step) -> bool:
    """Whether a line holds ones and zeros: where something is positive."""
    match step.terms:
        case (ir.Term(_, (), Call("where", (_, Number(), Number()))),):
            return True
        case _:
            return False


def is_choice(step: Step) -> bool:
    """Whether a line is one of several cases, such as a leaky rectifier."""
    parts = [part for term in step.terms for part in ir.walk(term.body)]
    return any(isinstance(part, Call) and part.function == "where" for part in parts)


def sums_to_one(values: Column, axis: int) -> bool:
    import numpy as np

    return all(bool(np.allclose(value.sum(axis=axis), 1)) for value in values)


def distributed(step: Step) -> Step:
    """The line with `(a + b) c` as `a c + b c`."""
    terms: list[ir.Term] = []
    for term in step.terms:
        factors = term.body.factors if isinstance(term.body, ir.Product) else (term.body,)
        total = next((factor for factor in factors if isinstance(factor, ir.Sum)), None)
        if total is None:
            terms.append(term)
            continue
        rest = [factor for factor in factors if factor is not total]
        parts = [ir.term(term.bound, ir.multiply(part, *rest), term.factor) for part in total.terms]
        terms.extend(distributed(replace(step, terms=tuple(parts))).terms)
    return replace(step, terms=tuple(terms))


def summed(term: ir.Term) -> Iterator[tuple[tuple[Index, ...], Expr, Callable[[Expr], ir.Term]]]:
    """Every sum of a term: its indices, its body, and the term with something else in its place."""
    if term.bound:
        factors = term.body.factors if isinstance(term.body, ir.Product) else (term.body,)
        inside = [factor for factor in factors if set(ir.free_indices(factor)) & set(term.bound)]
        outside = [factor for factor in factors if factor not in inside]
        yield term.bound, ir.multiply(*inside), lambda new: ir.term((), ir.multiply(*outside, new), term.factor)
    for part in ir.walk(term.body):
        if isinstance(part, ir.Reduce) and part.operation == "sum":
            rebuilt = partial(within, term, part)
            yield part.indices, part.body, rebuilt


def within(term: ir.Term, old: Expr, new: Expr) -> ir.Term:
    return ir.term(term.bound, replaced(term.body, old, new), term.factor)


def replaced(expr: Expr, old: Expr, new: Expr) -> Expr:
    """An expression with a part of it exchanged, wherever it stands."""
    return new if expr == old else ir.rebuild(expr, lambda part: replaced(part, old, new))


def exchanged(step: Step, old: Expr, new: Expr) -> Step:
    """The line with a part of it exchanged, wherever it stands."""
    terms = tuple(ir.term(term.bound, replaced(term.body, old, new), term.factor) for term in step.terms)
    return replace(step, terms=terms)
