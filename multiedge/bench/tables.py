"""The rows as CSV, and the summary as a LaTeX table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields

from multiedge.bench.rows import MEASURES, Figures, Row
from multiedge.bench.summary import Cell, Score, Standing, cells

_RATIOS = tuple(f"{measure}_{kind}" for measure in MEASURES for kind in ("over_single", "to_best"))
COLUMNS = (
    *("suite", "model", "model_digest", "fleet", "fleet_digest", "strategy", "options", "seed", "status", "reason"),
    *(field.name for field in fields(Figures)),
    *("items_per_s", *_RATIOS, "planning_s", "versions"),
)
_ESCAPED = {symbol: f"\\{symbol}" for symbol in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each row, those without a plan as well. What is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    by_cell = {(cell.instance, cell.strategy): cell for cell in cells(rows)}
    for row in rows:
        writer.writerow(_line(row, by_cell[row.instance, row.strategy]))
    return text.getvalue()


def _line(row: Row, cell: Cell) -> dict[str, object]:
    own = {name: value for name in COLUMNS if (value := vars(row).get(name)) is not None}
    line = {**own, "options": json.dumps(row.options, sort_keys=True)}
    if row.figures:
        line |= {**vars(row.figures), "items_per_s": row.figures.items_per_s}
        for measure in MEASURES:
            cost, single, median, ratio = row.cost(measure), row.single[measure], cell.median[measure], cell.to_best[measure]
            if cost and single:
                line[f"{measure}_over_single"] = single / cost
            if cost and median and ratio:
                line[f"{measure}_to_best"] = cost / (median / ratio)
    return line


def to_latex(standings: Sequence[Standing], suite: str) -> str:
    r"""A tabular for `\input`: with the package booktabs its rules are those of booktabs, without it plain lines."""
    lines = [
        f"% multiedge bench, suite {suite or 'none'}. In the preamble: \\usepackage{{booktabs}}",
        r"% to best: geometric mean of cost / best known cost [95 % interval]; gain: over the best single device;",
        rf"% best: instances where no strategy is better. Means are over {counted(standings)}.",
        *(rf"\providecommand{{\{rule}}}{{\hline}}" for rule in ("toprule", "midrule", "bottomrule")),
        r"\begin{tabular}{l r l r r l l r}",
        r"\toprule",
        r" & & \multicolumn{3}{c}{throughput} & latency & energy & planning \\",
        r"strategy & planned & to best & gain & best & to best & to best & s \\",
        r"\midrule",
        *(_latex_line(each) for each in standings),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def counted(standings: Sequence[Standing]) -> str:
    """The instances that means are over, in words."""
    shared = max((each.scores["throughput"].instances for each in standings), default=0)
    total = max((each.instances for each in standings), default=0)
    return f"all {total} instances" if shared == total else f"the {shared} of {total} instances that every strategy planned"


def _latex_line(each: Standing) -> str:
    throughput, latency, energy = (each.scores[measure] for measure in MEASURES)
    texts = (
        escaped(each.strategy),
        f"{each.planned}/{each.instances}",
        with_interval(throughput),
        "--" if throughput.over_single is None else f"{throughput.over_single:.2f}",
        str(throughput.wins),
        with_interval(latency),
        with_interval(energy),
        f"{each.planning_s:.3f}",
    )
    return " & ".join(texts) + r" \\"


def with_interval(score: Score) -> str:
    """The geometric mean with its interval, such as '1.05 [1.01, 1.10]'."""
    if score.to_best is None:
        return "--"
    interval = score.to_best_interval
    return ratio(score.to_best) + (f" [{ratio(interval[0])}, {ratio(interval[1])}]" if interval else "")


def ratio(value: float) -> str:
    """Two decimals, fewer from ten on, so that columns stay as narrow.

    >>> ratio(1.0), ratio(9.994), ratio(10.68), ratio(1234.5)
    ('1.00', '9.99', '10.7', '1234')
    """
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def escaped(text: str) -> str:
    r"""The text for LaTeX.

    >>> escaped("equal_flops")
    'equal\\_flops'
    """
    return "".join(_ESCAPED.get(symbol, symbol) for symbol in text)
