"""Verdicts as plain text, alone or beside the committed ones."""

from collections.abc import Mapping, Sequence

ROUNDING = 1e-6  # an interval may be a point: all seeds at accuracy 1


def table(verdicts: Sequence[dict]) -> str:
    """Returns the verdicts, one line an effect."""
    lines = []
    for found in verdicts:
        lines += _rows(found)
        for part in found.get("parts", ()):
            lines += [f"    {line}" for line in _rows(part)]
        if found["verdict"] == "not judged" and found["command"]:
            lines += [f"    its runs: {found['command']}"]
    return "\n".join(lines)


def compare(row: Mapping, committed: Mapping | None) -> tuple[str, bool]:
    """Sets a verdict beside the committed one.

    Args:
      row: as `judge` returns it.
      committed: the same claim's, or None.

    Returns:
      A table, one line an effect: committed mean and interval, mean now, and whether
      it lies in that interval; and whether the verdicts, of parts too, and all means
      agree. What was not judged then gives nothing to disagree with.
    """
    lines = [f"{row['claim']}  {row['verdict'].upper()}  {row['text']}"]
    lines += [f"    because {row['reason']}"]
    if committed is None or committed["verdict"] == "not judged":
        return "\n".join([*lines, "    no committed row to compare with"]), True
    same = row["verdict"] == committed["verdict"]
    lines += [f"    committed: {committed['verdict'].upper()}{'' if same else '  <--'}"]
    pairs = [("", row, committed)]
    by_name = {part["claim"]: part for part in committed.get("parts", ())}
    for part in row.get("parts", ()):
        then, prefix = by_name.get(part["claim"]), f"{part['claim']}: "
        if then is None or then["verdict"] == "not judged":
            continue
        pairs.append((prefix, part, then))
        if part["verdict"] != then["verdict"]:
            same = False
            told = f"{part['verdict'].upper()}, committed: {then['verdict'].upper()}"
            lines.append(f"    {prefix}{told}  <--")
    for prefix, now, then in pairs:
        for name, old in then["effects"].items():
            text, within = _compare_effect(old, now["effects"].get(name))
            same &= within
            lines.append(f"    {prefix}{name}: {text}")
    return "\n".join(lines), same


def _rows(found: dict) -> list[str]:
    lines = [f"{found['claim']}  {found['verdict'].upper()}  {found['text']}"]
    lines += [f"    because {found['reason']}"]
    if found.get("p_holm") is not None:
        p, adjusted = found["p"], found["p_holm"]
        lines += [f"    p {p:.2g}, over the thirteen claims {adjusted:.2g} (Holm)"]
    width = max(map(len, found["effects"]), default=0)
    for name, effect in found["effects"].items():
        lines += [f"    {name:<{width}}  {_number(effect)}"]
    return lines


def _compare_effect(old: Mapping, new: Mapping | None) -> tuple[str, bool]:
    if new is None:
        return f"{_number(old)}; now not there  <--", False
    slack = ROUNDING * (1 + abs(old["mean"]))
    within = old["lo"] - slack <= new["mean"] <= old["hi"] + slack
    told = "within" if within else "outside  <--"
    return f"{_number(old)}; now {new['mean']:.3f}, {told}", within


def _number(effect: dict) -> str:
    """Returns `mean [lo, hi]`."""
    return f"{effect['mean']:.3f} [{effect['lo']:.3f}, {effect['hi']:.3f}]"
