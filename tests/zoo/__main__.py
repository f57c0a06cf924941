"""Grades the audit on the whole zoo: `python -m tests.zoo`."""

from collections.abc import Sequence

from tests import zoo
from tests.zoo import Grade

HEAD = ("", "pairs", "lifted", "verdict", "first line", "class", "false alarms", "called right")


def row(title: str, grades: Sequence[Grade]) -> tuple[str, ...]:
    """One line of the table; what has no class, or is right, is not counted for it."""
    lifted = [one for one in grades if one.lifted]
    wrong = [one for one in lifted if one.case.line]
    known = [one for one in wrong if one.case.kind]

    def share(good: int, everything: Sequence[Grade]) -> str:
        return f"{good}/{len(everything)}" if everything else "-"

    return (
        title,
        str(len(grades)),
        share(len(lifted), grades),
        share(sum(one.wrong == bool(one.case.line) for one in lifted), lifted),
        share(sum(one.line == one.case.line for one in wrong), wrong),
        share(sum(one.kind == one.case.kind for one in known), known),
        str(sum(one.wrong and not one.case.line for one in lifted)),
        str(sum(not one.wrong and bool(one.case.line) for one in lifted)),
    )


def table() -> str:
    groups = {
        "right": list(zoo.right()),
        "wrong, by hand": [*zoo.marked(), *zoo.changes()],
        "wrong, by machine": [case for name in zoo.MUTATED for case in zoo.mutants(name)],
    }
    graded = {title: [zoo.grade(case) for case in cases] for title, cases in groups.items()}
    rows = [HEAD, *(row(title, grades) for title, grades in graded.items())]
    widths = [max(len(line[k]) for line in rows) for k in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    others = [one for grades in graded.values() for one in grades if one.lifted and not one.good]
    lines += [f"\n{one.case.name}\n  line {one.line}, not {one.case.line}: {one.kind}" for one in others]
    unnamed = [one for one in graded["wrong, by hand"] if one.good and one.kind != one.case.kind]
    lines += [f"\n{one.case.name}\n  {one.kind}, not {one.case.kind}" for one in unnamed]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
