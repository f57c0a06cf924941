"""The torch texts that run: the lines to read in fewer and cheaper calls.

A call of torch costs a microsecond or two, whatever it computes, and an entry-by-entry pass over a large array costs
memory traffic. So what a program computes twice is computed once, a product and what is added to it are one call, and
the derivatives of the sigmoid, of tanh and of relu are those that torch has as one. Where a line runs in other words
than it reads, the line stands above it as a comment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from indexprop import codegen, dialects, ir, validation
from indexprop.calculus import Gradient, Tangent, program_of
from indexprop.codegen import Writer
from indexprop.codes import ATOM, Axes, Code, broadcast
from indexprop.ir import Access, Call, Expr, Factor, Guard, Index, Number, Partial, Product, Program, Step, Sum, Term
from indexprop.layouts import Arrangement, Derived, LayoutLike, arrange

TWO = Number(Fraction(2))


def source(program: Derived, layout: LayoutLike = None) -> str:
    """A program as the module that runs in torch.

    >>> from indexprop.notation import parse
    >>> print(source(parse("Y[o,b] = W[o,i] X[i,b] + c[o]")))
    import torch
    <BLANKLINE>
    <BLANKLINE>
    def forward(*, W, X, c):
        # W: o i, X: i b, c: o
        # Y = W @ X + c[:, None]
        Y = torch.addmm(c.unsqueeze(1), W, X)  # o b
        return {"Y": Y}
    """
    program = codegen.expanded(program)
    validation.validate(program_of(program))
    arrangement = arrange(program, layout)
    kept = {*program.values.values(), *program.of} if isinstance(program, Gradient) else ()
    whole = program_of(program)
    for _ in range(2):  # what has got one name can be found ahead
        whole = once(whole, {*kept, *whole.outputs})
    program = replace(program, program=whole) if isinstance(program, Gradient | Tangent) else whole
    writer = Fused(whole, arrangement)
    body = codegen.function(writer, codegen.title(program), whole.steps, codegen.results(program, writer))
    return codegen.module(writer, [body])


# --- what is computed twice -------------------------------------------------------------------------------------------


def once(program: Program, kept: Container[str] = ()) -> Program:
    """The program without what it computes a second time, whatever the indices are called; not of what is `kept`.

    >>> from indexprop.notation import parse
    >>> lines = "C[i] = x[i] - T[i]", "D[k] = x[k] - T[k]", "L = sum[i]((x[i] - T[i])^2) + D[k] w[k]"
    >>> print(once(parse("\\n".join(lines))))
    C[i] = x[i] - T[i]
    L    = C[i]^2 + C[k] w[k]
    output C, L
    """
    written = Counter(step.name for step in program.steps)
    same = program.same_size
    known: dict[object, tuple[str, tuple[int, ...]]] = {}
    equal: dict[object, str] = {}
    steps: list[Step] = []
    instead: dict[str, str] = {}

    def key(names: Sequence[Index], *parts: Expr | Term) -> object:
        turned = {name: f"~{number}" for number, name in enumerate(names)}
        said = [ir.rename_term(one, turned) if isinstance(one, Term) else ir.rename(one, turned) for one in parts]
        return tuple(said), tuple(same[name] for name in names)

    def settled(step: Step) -> bool:
        """Whether a line says all that there is of its target, entry by entry."""
        slots = step.target.slots
        plain = ir.is_plain(step.target) and len(set(slots)) == len(slots)
        return plain and not step.loop and step.operation == "=" and written[step.name] == 1

    def names_value(step: Step) -> None:
        """Remembers what a line computes, if that cannot change."""
        if any(written[read.tensor] > 1 for read in step.reads):
            return
        equal.setdefault(key(step.indices, *step.terms), step.name)
        if parts := entrywise(step):
            known.setdefault(key(*parts), (step.name, tuple(map(parts[0].index, step.target.names))))

    def simplified(expr: Expr) -> Expr:
        if isinstance(expr, Sum | Product | Call):
            names = tuple(ir.indices(expr))
            said = key(names, expr)
            ahead = coming.get(said)
            if (
                said not in known
                and ahead
                and ahead.name not in done
                and all(one.tensor in done for one in ahead.reads)
            ):
                done.add(ahead.name)  # a line further down gives it a name
                steps.append(ahead)
                names_value(ahead)
            if found := known.get(said):
                return Access(found[0], tuple(names[place] for place in found[1]))
        return ir.rebuild(expr, simplified)

    done = {*program.input_names}
    lines = [step for step in program.steps if settled(step) and all(written[one.tensor] < 2 for one in step.reads)]
    coming = {key(*parts): step for step in reversed(lines) if (parts := entrywise(step))}
    for step in program.steps:
        if step.name in done and written[step.name] == 1:
            continue
        done.add(step.name)
        if instead:
            step = ir.rename_step(step, {}, instead)
        target = step.target.slots
        if not settled(step):
            steps.append(step)
            continue
        step = replace(step, terms=tuple(replace(one, body=simplified(one.body)) for one in step.terms))
        found = equal.get(key(step.indices, *step.terms))
        match step.terms:
            case (Term(Factor(Fraction(numerator=1, denominator=1), ()), (), Access(tensor, slots)),):
                found = tensor if slots == target and written[tensor] < 2 else found
        if found is not None and step.name not in kept:
            instead[step.name] = found
            continue
        steps.append(step)
        names_value(step)
    return replace(program, steps=tuple(steps))


def entrywise(step: Step) -> tuple[tuple[Index, ...], Expr] | None:
    """The indices and the expression of a line that computes entry by entry; None for others, and for mere copies."""
    if any(one.bound or one.factor.sizes for one in step.terms):
        return None
    body = ir.add(*(ir.multiply(Number(one.factor.number), one.body) for one in step.terms))
    names = tuple(ir.indices(body))
    return (names, body) if isinstance(body, Sum | Product | Call) and set(names) == {*step.target.slots} else None


# --- fewer calls ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matrices(Code):
    """A product of two matrices, to which something may be added in the same call."""

    left: str = ""
    right: str = ""


class Fused(Writer):
    """Writes the steps of a program as torch runs them, below the lines that they stand for."""

    def __init__(self, program: Program, arrangement: Arrangement) -> None:
        super().__init__(program, arrangement, "matmul", dialects.TORCH)
        self.reading = Writer(program, arrangement, "matmul", dialects.TORCH)
        self.rectified: Container[Expr] = ()  # what the line whose derivative is written takes the positive part of

    def step(self, step: Step) -> list[str]:
        forward = step.because.step if step.because else None
        calls = [part for one in (forward.terms if forward else ()) for part in ir.walk(one.body)]
        self.rectified = [part.arguments[0] for part in calls if isinstance(part, Call) and part.function == "relu"]
        lines, read = super().step(step), self.reading.step(step)
        self.rectified = ()
        if lines == read:
            return lines
        return [*(f"# {line.split('  # ')[0]}" for line in read if not line.startswith("# ")), *lines]

    def multiplied(self, left: Code, right: Code, out: Axes) -> Code:
        if len(left.axes) != 2 or len(right.axes) != 2:
            return super().multiplied(left, right, out)
        return Matrices(f"torch.mm({left.text}, {right.text})", out, left=left.text, right=right.text)

    def product(self, operands: Sequence[Code], out: tuple[Index, ...]) -> Code | None:
        """Two operands as a product of matrices, of which each may lie as several axes in a row."""
        code = super().product(operands, out)
        if code is not None or len(operands) != 2:
            return code
        one, other = operands
        kept = tuple(index for index in one.named if index in out)
        summed = tuple(index for index in one.named if index not in out)
        free = tuple(index for index in other.named if index in out)
        left, right = flattened(one, kept, summed), flattened(other, summed, free)
        if left is None or right is None or sorted(kept + free) != sorted(out):
            return None
        sizes = [self.size(index) for index in kept + free]
        return self.transpose(Code(f"torch.mm({left}, {right}).view({', '.join(sizes)})", kept + free), out)

    def align(self, code: Code, want: Axes) -> Code:
        code = super().align(code, want)
        return replace(code, text=code.text.replace("[:, None]", ".unsqueeze(1)")) if code.axes[1:] == (None,) else code

    def joined(self, parts: Sequence[tuple[bool, Code]], want: Axes) -> Code:
        """Signed terms, added; one that is a product of matrices takes the others with it."""
        for number, (negative, code) in enumerate(parts):
            rest = [*parts[:number], *parts[number + 1 :]]
            if isinstance(code, Matrices) and not negative and rest and code.axes == want:
                other = super().joined(rest, want)
                if not other.number:
                    return Code(f"torch.addmm({other.text}, {code.left}, {code.right})", code.axes)
        return super().joined(parts, want)

    def fraction(self, above: Sequence[Expr], below: Sequence[Expr], want: Axes) -> Code:
        """A product of expressions; the derivatives of sigmoid and tanh, times something, are one call."""
        if not self.masked and not any(isinstance(part, Guard) for part in above):
            for part in above:
                for call, value, used in derivatives(part, above):
                    rest = super().fraction([one for one in above if one not in used], below, want)
                    value_read = self.expression(value, want)
                    if len(used) < len(above) and not rest.number:
                        axes = broadcast((rest, value_read), want)
                        return Code(f"{call}({rest.text}, {value_read.text})", axes)
        return super().fraction(above, below, want)

    def entry(self, function: str, arguments: Sequence[Expr], want: Axes) -> Code:
        """A function at every entry; the derivative of relu, times something, is one call."""
        match function, arguments:
            case "^", (base, Number(Fraction(numerator=2, denominator=1))):
                code = self.defined(base, want)
                return replace(code, text=f"{code.at(ATOM)}.square()", level=ATOM, view=False)
            case "where", (Call(">", (x, ir.ZERO)), passed, ir.ZERO) if x in self.rectified:
                codes = [self.expression(one, want) for one in (passed, x)]
                if not any(code.number for code in codes):
                    axes = broadcast(codes, want)
                    return Code(f"torch.ops.aten.threshold_backward({codes[0].text}, {codes[1].text}, 0)", axes)
        return super().entry(function, arguments, want)


def derivatives(part: Expr, above: Sequence[Expr]) -> Iterator[tuple[str, Access, list[Expr]]]:
    """The call that multiplies by a factor among others, `1 - y` beside `y` or `1 - y^2`, the value y, and what it
    makes superfluous.
    """
    match part:
        case Sum((ir.ONE, _)):
            for value in (one for one in ir.accesses(part) if not any(isinstance(slot, Partial) for slot in one.slots)):
                if value in above and part == ir.add(ir.ONE, ir.negate(value)):
                    yield "torch.ops.aten.sigmoid_backward", value, [part, value]
                if part == ir.add(ir.ONE, ir.negate(ir.power(value, TWO))):
                    yield "torch.ops.aten.tanh_backward", value, [part]


def flattened(code: Code, rows: Sequence[Index], columns: Sequence[Index]) -> str | None:
    """An array as a matrix whose rows, and whose columns, are several of its axes in a row; None if it does not lie so,
    or has no rows or no columns.
    """
    if not rows or not columns:
        return None
    if code.named == (*columns, *rows):
        turned = flattened(code, columns, rows)
        return f"{turned}.T"
    if code.named != (*rows, *columns):
        return None
    text = code.at(ATOM)
    if len(columns) > 1:
        text += f".flatten({len(rows)})"
    if len(rows) > 1:
        text += f".flatten(0, {len(rows) - 1})"
    return text
