"""What a source sums: contractions as matrix products, einsums and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from indexprop import ir, printing
from indexprop.codes import ATOM, MULTIPLIED, Axes, Code, Factors, factors_of, fits, part_of, squeeze
from indexprop.ir import Access, Expr, Guard, Index, Slot, Step
from indexprop.source_entries import Entries
from indexprop.windows import Roles, Window, place, roles, windows


class Products(Entries):
    """Sums over products of factors."""

    def contraction(self, factors: Sequence[Expr], bound: Sequence[Index], want: Axes) -> Code:
        """The sum over the bound indices of a product, its axes in the order of `want` where they are there."""
        survive = [part for part in factors if isinstance(part, Guard) and not set(bound) & set(ir.free_indices(part))]
        masks = [self.guard(part, want) for part in survive]
        parts = printing.fractional([part for part in factors if part not in survive])
        guards = [part for part in parts.above if isinstance(part, Guard)]

        def outside(part: Expr) -> bool:  # what has no index scales the result, unless it may not be chosen at all
            return not ir.free_indices(part) and not (guards and any(ir.accesses(part)))

        scalars = [part for part in parts.above if outside(part)]
        above = [part for part in parts.above if part not in guards and part not in scalars]
        divisors = [part for part in parts.below if outside(part)]
        below = [part for part in parts.below if part not in divisors]
        groups = self.groups(above, below)
        together = self.selecting(groups, guards)
        chosen, self.chosen = self.chosen, (*self.chosen, *(part for part in factors if isinstance(part, Guard)))
        slid = None if guards else self.correlated(groups, bound)
        operands = [] if slid else [self.operand(over, under) for _, over, under in groups]
        self.chosen = chosen
        free = {index for group in groups for index in group[0]}.union(*map(ir.free_indices, together))
        out = tuple(axis for axis in want if axis in free and axis not in bound)
        if slid:
            core = self.transpose(slid, out)
        elif together:
            core = self.among(together, operands, out)
        elif len(operands) == 1 and not self.einsums:
            core = self.reduction("sum", operands[0], bound, want)
        else:
            core = (None if self.einsums else self.product(operands, out)) or self.einsum(operands, out)
        scale = [self.expression(part, ()) for part in scalars if part != ir.ONE]
        code = self.quotient([*scale, core], [self.expression(part, ()) for part in divisors], core.axes)
        code = self.negated(parts.negative, replace(code, axes=core.axes))
        return self.where(masks, self.align(code, want), want) if masks else code

    def groups(self, above: Sequence[Expr], below: Sequence[Expr]) -> list[Factors]:
        """The factors of a contraction, grouped so that what has the same indices is multiplied first.

        In einsum style only expressions are grouped, with the tensors of their indices, and the first factor stays
        by itself: `einsum("hb,hb->h", dH, H * (1 - H))`. In matrix style everything that fits into another factor
        joins it.
        """
        groups: list[Factors] = []
        mixed = [set(ir.free_indices(part)) for part in above if not isinstance(part, Access)]
        for position, part in enumerate(above):
            own = set(ir.free_indices(part))
            if self.einsums and (position == 0 or own not in mixed):
                groups.append((own, [part], []))
                continue
            host = next((group for group in groups[1 if self.einsums else 0 :] if group[0] == own), None)
            if host is None:
                groups.append((own, [part], []))
            else:
                host[1].append(part)
        for part in below:
            own = set(ir.free_indices(part))
            host = next((group for group in groups if group[0] >= own), None)
            if host is None:
                groups.append((own, [ir.ONE], [part]))
            else:
                host[2].append(part)
        if not self.einsums:
            for group in [group for group in groups if len(groups) > 2]:
                host = next((other for other in groups if other[0] > group[0]), None)
                if host is not None and len(groups) > 2:
                    host[1].extend(group[1])
                    host[2].extend(group[2])
                    groups.remove(group)
        return groups

    def selecting(self, groups: list[Factors], guards: Sequence[Expr]) -> Sequence[Expr]:
        """Puts conditions into groups of factors, so that nothing enters where they do not hold; or returns them.

        Where every group has their indices, every group is masked. Where one array has all indices, the product is.
        Otherwise masking one factor would leave 0 times the others: a matrix product with a condition.
        """
        if not guards:
            return ()
        own = set().union(*map(ir.free_indices, guards))
        every = own.union(*(indices for indices, _, _ in groups))
        apart = any(indices != every for indices, _, _ in groups)
        if apart and all(indices >= own for indices, _, _ in groups):
            groups[:] = [(indices, [*guards, *over], under) for indices, over, under in groups]
        elif every == own or any(indices == every for indices, _, _ in groups):
            over = [part for _, parts, _ in groups for part in parts]
            groups[:] = [(every, [*guards, *over], [part for _, _, parts in groups for part in parts])]
        else:
            return guards
        return ()

    def operand(self, over: Sequence[Expr], under: Sequence[Expr]) -> Code:
        match over, under:
            case [Access() as access], []:
                return squeeze(self.read(access))
        order = self.order_for(ir.multiply(*over, *(ir.power(part, ir.MINUS_ONE) for part in under)))
        return squeeze(self.fraction(over, under, order))

    def among(self, guards: Sequence[Expr], operands: Sequence[Code], out: tuple[Index, ...]) -> Code:
        """The contraction over what conditions choose."""
        own = dict.fromkeys(index for part in guards for index in ir.free_indices(part))
        order = tuple(dict.fromkeys(axis for operand in operands for axis in operand.named if axis in own))
        order += tuple(index for index in own if index not in order)
        mask = self.both([self.guard(part, order) for part in guards if isinstance(part, Guard)])
        if mask.level == ATOM:
            mask = Code(f"{mask.text} != 0", mask.axes)
        letters = self.letters(index for operand in (mask, *operands) for index in operand.named)
        inputs = ",".join(letters(operand.named) for operand in (mask, *operands))
        arguments = ", ".join(operand.text for operand in (mask, *operands))
        if not self.bare:
            self.helpers["among"] = None
        return Code(f'among("{inputs}->{letters(out)}", {arguments})', out)

    def einsum(self, operands: Sequence[Code], out: tuple[Index, ...]) -> Code:
        read = dict.fromkeys(index for operand in operands for index in operand.named)
        many = len(operands) > 2 and self.dialect.contract  # opt_einsum takes two at a time, with letters of its own
        letters = self.letters(read, "".join(map(chr, range(192, 192 + len(read)))) if many else "")
        inputs = ",".join(letters(operand.named) for operand in operands)
        arguments = ", ".join(operand.text for operand in operands)
        view = len(operands) == 1 and set(operands[0].named) == set(out) and operands[0].view
        name = self.np("einsum")
        if many and not self.bare:
            self.uses.add(self.dialect.contract)
            name = self.dialect.contract
        return Code(f'{name}("{inputs}->{letters(out)}", {arguments})', out, view=view)

    def product(self, operands: Sequence[Code], out: tuple[Index, ...]) -> Code | None:
        """Two operands as a matrix product, if they are one."""
        if len(operands) != 2:
            return None
        one, other = operands
        a, b = set(one.named), set(other.named)
        summed = [index for index in one.named if index in b and index not in out]
        if len(summed) != 1 or (a ^ b) - set(out):
            return None
        batch = tuple(index for index in out if index in a and index in b)
        only_a = tuple(index for index in out if index not in b)
        only_b = tuple(index for index in out if index not in a)
        if len(only_a) > 1 or len(only_b) > 1:
            return None
        if out == (*batch, *only_b, *only_a) and only_a and only_b:
            one, other, only_a, only_b = other, one, only_b, only_a
        elif out != (*batch, *only_a, *only_b):
            return None
        if batch:
            if not (only_a and only_b):
                return None
            left = self.oriented(one, (*batch, *only_a, summed[0]), len(batch))
            right = self.oriented(other, (*batch, summed[0], *only_b), len(batch))
            if left is None or right is None:
                return None
        elif not only_a and len(other.named) == 2 and other.named[1] == summed[0]:
            left, right = other, one  # W @ x reads better than x @ W.T
        else:
            left = self.transpose(one, (*only_a, summed[0]))
            right = self.transpose(other, (summed[0], *only_b))
        return self.multiplied(left, right, out)

    def multiplied(self, left: Code, right: Code, out: Axes) -> Code:
        """A matrix product."""
        return Code(f"{left.at(ATOM)} @ {right.at(ATOM)}", out, MULTIPLIED)

    def oriented(self, code: Code, want: tuple[Index, ...], batch: int) -> Code | None:
        """A stack of matrices as it is, or with its last two axes exchanged."""
        if code.named == want:
            return code
        if code.named == (*want[:batch], want[-1], want[-2]):
            return Code(f"{code.at(ATOM)}.mT", want)
        return None

    def reduction(self, operation: str, code: Code, bound: Sequence[Index], want: Axes) -> Code:
        """A sum, maximum or minimum over axes of one array."""
        code = squeeze(code)
        axes = tuple(k for k, axis in enumerate(code.axes) if axis in bound)
        rest = tuple(axis for axis in code.axes if axis not in bound)
        if not axes:
            return code
        whole = Code(self.dialect.reduce(operation, code.at(ATOM)), ())
        if not rest and not any(axis is None for axis in want):
            return whole
        kept = tuple(None if axis in bound else axis for axis in code.axes)
        if kept == want or (fits(kept, want) and not fits(rest, want)):
            return Code(self.dialect.reduce(operation, code.at(ATOM), axes, keep=True), kept)
        return Code(self.dialect.reduce(operation, code.at(ATOM), axes), rest) if rest else whole

    # windows, where the dialect has convolutions

    def correlated(self, groups: Sequence[Factors], bound: Sequence[Index]) -> Code | None:
        """A contraction of windows of one operand with the other, where it is a correlation."""
        if not self.dialect.slides or self.einsums or self.skipped != "0" or len(groups) != 2:
            return None
        kept = {index for indices, _, _ in groups for index in indices if index not in bound}
        for image, (inner, over, under) in (groups, groups[::-1]):
            match image:
                case (_, [Access() as access], []):
                    slots, found = windows(access.slots, kept)
                case _:
                    continue
            whole = Access(access.tensor, slots)
            parts = roles(found, [index for slot in slots for index in ir.slot_indices(slot)], kept, inner)
            if parts is None or self.moves(found):
                continue
            names = self.program.axes[access.tensor]
            self.windows = {one.axis: names[slots.index(one.axis)] for one in found}
            x = self.stacked(squeeze(self.read(whole)), parts.image(found))
            k = self.turned(
                self.stacked(self.operand(over, under), parts.inner(found)), [one.dilation for one in found]
            )
            y = self.turned(self.slid("correlate", x, k, found, parts), [one.stride for one in found])
            self.windows = {}
            return self.apart(y, parts.outer(found))
        return None

    def convolved(
        self, step: Step, slots: Sequence[tuple[Slot, Index]]
    ) -> tuple[Code, Sequence[tuple[Slot, Index]]] | None:
        """The value of a step that adds windows to its target, where it is a convolution, and the slots that are left:
        an axis with windows is written as a whole.
        """
        if not self.dialect.slides or self.einsums or len(step.terms) != 1:
            return None
        [one] = step.terms
        scale = printing.fractional(factors_of(one.body), one.factor)
        if any(isinstance(part, Guard) for part in scale.above):
            return None
        above, below = ([part for part in parts if ir.free_indices(part)] for parts in (scale.above, scale.below))
        groups = self.groups(above, below)
        if len(groups) != 2:
            return None
        groups.sort(key=lambda group: place([slot for slot, _ in slots]) not in group[0])
        for (outer, *upper), (inner, *lower) in (groups, groups[::-1]):
            whole, found = windows([slot for slot, _ in slots], outer)
            parts = roles(found, [index for slot in whole for index in ir.slot_indices(slot)], outer, inner)
            if parts is None or self.moves(found):
                continue
            left = [(slot, axis) for slot, (_, axis) in zip(whole, slots, strict=True)]
            self.windows = {one.axis: next(axis for slot, axis in left if slot == one.axis) for one in found}
            x = self.turned(self.stacked(self.operand(*upper), parts.outer(found)), [one.stride for one in found])
            k = self.turned(self.stacked(self.operand(*lower), parts.inner(found)), [one.dilation for one in found])
            core = self.apart(self.slid("convolve", x, k, found, parts), parts.image(found))
            self.windows = {}
            numbers = [self.expression(part, ()) for part in scale.above if part not in above and part != ir.ONE]
            divisors = [self.expression(part, ()) for part in scale.below if part not in below]
            code = self.quotient([*numbers, core], divisors, core.axes)
            return replace(self.negated(scale.negative, code), axes=core.axes), left
        return None

    def moves(self, found: Sequence[Window]) -> bool:
        """Whether windows stand elsewhere at every position of a block."""
        return any(index in self.counters for one in found for index, _ in one.start.sizes)

    def slid(self, name: str, x: str, k: str, found: Sequence[Window], parts: Roles) -> str:
        """The call of a correlation or a convolution."""
        helpers = self.dialect.helpers
        self.helpers |= {one: None for one in helpers if one == name or f" {one}(" in helpers[name]}
        self.slides = True
        ends = [one.axis if name == "convolve" else one.outer for one in found]
        columns = {
            "size": [self.size(index) for index in ends],
            "start": [self.affine(one.start, ()).text for one in found],
            "stride": [str(abs(one.stride)) for one in found],
            "dilation": [str(abs(one.dilation)) for one in found],
        }
        words = [f"{word}=({', '.join(values)}{',' * (len(values) == 1)})" for word, values in columns.items()]
        if parts.groups:
            words.append(f"groups={self.volume(parts.groups)}")
        return f"{name}({', '.join([x, k, *words])})"

    def turned(self, text: str, directions: Sequence[int]) -> str:
        """An array whose last axes are turned around where the direction is negative."""
        axes = [str(axis) for axis, direction in enumerate(directions, 2) if direction < 0]
        return self.say(self.dialect.flip, array=text, axes=f"({', '.join(axes)},)") if axes else text

    def stacked(self, code: Code, want: Sequence[Sequence[Index]]) -> str:
        """An array with several axes as one, or one of size one where there is none."""
        code = self.transpose(code, [index for axes in want for index in axes])
        if all(len(axes) <= 1 for axes in want):
            return part_of(code.at(ATOM), [":" if axes else "None" for axes in want])
        return f"{code.at(ATOM)}.reshape({', '.join(map(self.volume, want))})"

    def apart(self, text: str, have: Sequence[Sequence[Index]]) -> Code:
        """The array of which several axes are one, with its axes one by one."""
        axes = tuple(index for parts in have for index in parts)
        if all(len(parts) <= 1 for parts in have):
            return Code(part_of(text, [":" if parts else "0" for parts in have]), axes)
        return Code(f"{text}.reshape({', '.join(map(self.size, axes))})", axes)

    def volume(self, axes: Sequence[Index]) -> str:
        return " * ".join(map(self.size, axes)) or "1"
