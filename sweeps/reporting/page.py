"""The page: one HTML file that needs nothing beside it, no network, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from datetime import datetime

from sweeps.progress.plain import duration
from sweeps.reporting import charts, tables
from sweeps.reporting.data import Findings, score
from sweeps.reporting.formats import NOTHING, Table, signed, to_html
from sweeps.reporting.pictures import Gallery
from sweeps.search.algorithms import in_words
from sweeps.search.replicates import METRIC

DESK, PHONE = 980, 350
"""Widths in pixels that the wide charts are made for."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--card:#f6f7f9;--fg:#1b1f24;--soft:#5b6470;--rule:#d9dde3;--accent:#c24e00;
--other:#7d9bbd;--stopped:#c3cedb;--link:#0b5cad;--better:0,114,178;--worse:213,94,0;
--l0:#c5d0dc;--l1:#9fb8d1;--l2:#6f98c0;--l3:#3c73a8;--l4:#0f4479}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2126;--fg:#e6e9ed;--soft:#9ba5b1;--rule:#343b44;
--accent:#ff9a4d;--other:#5f84ad;--stopped:#3f4d5e;--link:#7db8f5;--better:56,150,214;--worse:226,116,32;
--l0:#36465a;--l1:#45627f;--l2:#5a86b0;--l3:#86b1da;--l4:#c6e0f8}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header,nav,footer{max-width:1060px;margin:0 auto;padding:0 16px}
header{padding-top:28px}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:44px 0 10px;padding-top:10px;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:26px 0 6px}
p{margin:6px 0 12px;max-width:75ch;overflow-wrap:anywhere}
a{color:var(--link)}
.soft,figcaption{color:var(--soft);font-size:.875rem}
section:first-child h2{border:0;margin-top:16px}
nav{position:sticky;top:0;background:var(--bg);z-index:2;padding-block:8px;border-bottom:1px solid var(--rule);
display:flex;gap:4px 16px;overflow-x:auto;white-space:nowrap;font-size:.9rem}
section{scroll-margin-top:48px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0}
.tile{background:var(--card);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto;margin:0 0 22px}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;min-width:min(100%,420px)}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{border-bottom:2px solid var(--rule);font-weight:600;vertical-align:bottom}
th.word,td.word{text-align:left}
tbody tr:hover{background:var(--card)}
.wrap td.word{white-space:normal;overflow-wrap:anywhere;min-width:5rem}
.wrap td.word:last-child{min-width:14rem}
.heat td,.heat th{padding:3px 6px;font-size:.8rem}
.heat td:first-child,.heat th:first-child{position:sticky;left:0;background:var(--bg)}
.heat th:not(:nth-child(-n+2)){writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;padding:6px 3px}
.track{display:inline-block;width:8rem;margin-left:10px;text-align:left}
.track span{display:inline-block;height:.7em;min-width:1px;background:var(--other);border-radius:2px}
button.sort{all:unset;cursor:pointer}button.sort:focus-visible{outline:2px solid var(--link)}
th[aria-sort=ascending] button:after{content:" \\2191"}th[aria-sort=descending] button:after{content:" \\2193"}
figure{margin:14px 0}svg{display:block;width:100%;height:auto}
.phone{display:none}
@media(max-width:640px){.desk{display:none}.phone{display:block}}
.small-charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(270px,100%),1fr));gap:12px}
svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .small{font-size:11px;fill:var(--soft)}
svg .halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px}
svg .name{font-weight:600}svg text.best{fill:var(--accent)}
svg .grid{stroke:var(--rule)}svg .axis{stroke:var(--soft)}svg .rung{stroke:var(--soft);stroke-dasharray:1 4}
svg .line{fill:none;stroke-width:1.4;stroke-linejoin:round}
svg .line.other{stroke:var(--other)}svg .line.stopped{stroke:var(--stopped)}
svg .line.best{stroke:var(--accent);stroke-width:2.8}
svg .line.base{stroke:var(--fg);stroke-width:2;stroke-dasharray:6 4}
svg .level0{stroke:var(--l0)}svg .level1{stroke:var(--l1)}svg .level2{stroke:var(--l2)}svg .level3{stroke:var(--l3)}
svg .level4{stroke:var(--l4);stroke-width:1.8}
svg .dot{fill:var(--other);stroke:var(--bg)}svg .dot.best{fill:var(--accent)}svg .dot.base{fill:var(--fg)}
svg .dot.front{fill:var(--l4)}svg .line.front{stroke:var(--l4);stroke-width:2}
svg .dot.stopped{fill:var(--stopped)}svg .cross{stroke:var(--soft);stroke-width:1.5;fill:none}
svg .trial:hover .line{stroke-width:4}
.key{display:inline-block;width:26px;height:0;border-top:3px solid;vertical-align:middle;margin:0 5px 0 12px}
.key:first-child{margin-left:0}.pair{white-space:nowrap;margin-right:10px}
.images{display:grid;gap:8px;grid-template-columns:repeat(auto-fit,minmax(min(150px,45%),1fr));margin:8px 0 20px}
.images figure{margin:0}.images img{width:100%;height:auto;display:block;border-radius:4px}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:.85rem;padding:0;list-style:none}
.legend i{display:inline-block;width:14px;height:14px;border-radius:3px;margin-right:5px;vertical-align:-2px;
border:1px solid var(--rule)}
pre{background:var(--card);border-radius:6px;padding:10px 12px;font-size:.8rem;white-space:pre-wrap;
overflow-wrap:anywhere;margin:6px 0}
details{border-bottom:1px solid var(--rule);padding:4px 0}summary{cursor:pointer}
footer{padding-block:30px;color:var(--soft);font-size:.85rem}
@media print{
:root{color-scheme:light;--bg:#fff;--card:#f6f7f9;--fg:#000;--soft:#444;--rule:#ccc;--accent:#c24e00;--other:#7d9bbd;
--stopped:#c3cedb;--l0:#c5d0dc;--l1:#9fb8d1;--l2:#6f98c0;--l3:#3c73a8;--l4:#0f4479;--better:0,114,178;--worse:213,94,0}
@page{margin:14mm}nav{display:none}body{font-size:10.5pt}main,header,footer{max-width:none;padding:0}
.scroll{overflow:visible}table{font-size:7.5pt}th,td{padding:2px 5px}.heat td,.heat th{font-size:6.5pt;padding:2px}
h2,h3,p.soft{break-after:avoid}figure,tr,.images,.tile,.tiles{break-inside:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.desk{display:block}.phone{display:none}
details::details-content{content-visibility:visible;display:block;height:auto}}
"""

SCRIPT = """
for (const table of document.querySelectorAll('table.sortable')) {
  table.querySelectorAll('th').forEach((th, i) => {
    const button = document.createElement('button');
    button.className = 'sort';
    button.textContent = th.textContent;
    th.replaceChildren(button);
    button.onclick = () => {
      const up = th.getAttribute('aria-sort') === 'descending';
      table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
      th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const text = cell => cell.textContent === '\\u2013' ? '' : cell.textContent;
      const key = row => row.cells[i].dataset.value ?? text(row.cells[i]);
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === '' || y === '') return (x === '') - (y === '');
        const by = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return up ? by : -by;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    };
  });
}
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => d.open = true));
"""


def page(findings: Findings, paper: Sequence[Table], gallery: Gallery | None) -> str:
    """The whole page.

    Args:
        findings: of the sweep.
        paper: tables beside those of the paper.
        gallery: None where no pictures were to be drawn.
    """
    sections = [
        ("ranking", "Ranking", _ranking(findings)),
        ("pareto", "Pareto front", _pareto(findings)),
        ("paper", "Beside the paper", "".join(to_html(table) for table in paper)),
        ("curves", "Learning curves", _curves(findings)),
        ("parameters", "Parameters", _parameters(findings)),
        ("classes", "Classes", _classes(findings)),
        ("pictures", "Pictures", _pictures(gallery)),
        ("cost", "Cost", to_html(tables.cost(findings))),
        ("reproduce", "Reproduce", _reproduce(findings)),
    ]
    sections = [section for section in sections if section[2]]
    name = html.escape(findings.sweep.folder.name)
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}"><h2>{title}</h2>\n{content}</section>' for anchor, title, content in sections
    )
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{name}: sweep report</title><style>{STYLE}</style></head>\n<body>{_header(findings)}"
        f'<nav aria-label="Sections">{links}</nav>\n<main>{body}</main>\n'
        f"<footer>Written {datetime.now():%Y-%m-%d %H:%M} by <code>python sweeps/report.py</code>. The same tables are "
        f"in report.md and report.tex.</footer>\n<script>{SCRIPT}</script></body></html>\n"
    )


def headline(findings: Findings) -> str:
    """The result of the sweep in a sentence."""
    best, base = findings.best, findings.base
    if best is None:
        return "No trial of the search is complete yet." if findings.rows else "No trial has been evaluated yet."
    text = f"The best of the search is trial {best['trial']} with {best[METRIC]:.2f} % {METRIC}"
    if base is None:
        return f"{text}; the base is not complete."
    difference = signed(f"{findings.difference(best):+.2f}")
    return f"{text}, {difference} against the base without contrast ({base[METRIC]:.2f} %)."


def _header(findings: Findings) -> str:
    sweep, best, base = findings.sweep, findings.best, findings.base
    searched = [row["status"] for row in findings.trials if sweep.points or row["kind"] == "search"]
    states = ("complete", "pruned", "failed", "running", "interrupted")
    counts = ", ".join(f"{searched.count(state)} {state}" for state in states if state in searched)
    _, spent = tables.cost_of(findings)
    shares = {"saved": spent.saved, "wasted": spent.wasted_share}
    shown = "".join(f", {100 * share:.0f} % {name}" for name, share in shares.items() if share > 0.005)
    difference = findings.difference(best) if best else None
    tiles = [
        (f"{best[METRIC]:.2f} %" if best else NOTHING.text, f"best {METRIC}" + (f", {best['trial']}" if best else "")),
        (
            NOTHING.text if difference is None else signed(f"{difference:+.2f}"),
            f"against the base, {base[METRIC]:.2f} %" if base else "there is no single base to compare with",
        ),
        (f"{len(searched)} of {sweep.num_trials}", f"trials: {counts}" if counts else "trials started"),
        (_hours(spent.used), f"worker-time{shown}"),
    ]
    flags = sweep.flags
    about = (
        f"Preset {flags['preset']}, {findings.iterations} iterations, {_seeds(sweep.seeds)}, "
        f"{flags['workers']} worker{'s' if flags['workers'] > 1 else ''} per trial; "
        + ("tables of the paper." if sweep.points else f"search {flags['search']}, scheduler {in_words(flags)}.")
    )
    if findings.costs:
        about += f" Objectives {', '.join(sweep.objectives)}."
    boxes = "".join(f'<div class="tile"><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>' for a, b in tiles)
    return (
        f"<header><h1>{html.escape(sweep.folder.name)}</h1><p>{html.escape(headline(findings))}</p>"
        f'<p class="soft">{html.escape(about)}</p><div class="tiles">{boxes}</div></header>'
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else duration(seconds)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _ranking(findings: Findings) -> str:
    if not findings.rows:
        return "<p>Nothing to rank yet.</p>"
    failed = tables.failures(findings)
    return to_html(tables.ranking(findings), classes="sortable") + (to_html(failed, classes="wrap") if failed else "")


def _pareto(findings: Findings) -> str:
    table = tables.pareto(findings)
    if table is None:
        return "<p>No trial is complete yet.</p>" if findings.costs else ""
    text = (
        f"Each point is a complete trial: the front dark, the highest {METRIC} in orange"
        f"{', the base black' if findings.base else ''}. What lies below or to the right of the line is beaten."
    )
    if len(findings.costs) > 1:
        text += f" Trials may also be on the front by their {findings.costs[1]}, which is not shown."
    return _figure(charts.pareto(findings, DESK), charts.pareto(findings, PHONE), text) + to_html(table)


def _curves(findings: Findings) -> str:
    if not findings.curves:
        return "<p>No trial has been evaluated yet.</p>"
    keys = [
        ("--accent", "solid", "best"),
        ("--fg", "dashed", "base"),
        ("--other", "solid", "complete"),
        ("--stopped", "solid", "not complete"),
    ]
    legend = " ".join(
        f'<span class="pair"><i class="key" style="border-color:var({c});border-top-style:{s}"></i>{t}</span>'
        for c, s, t in keys
    )
    rungs = " Dotted: the rungs, at which the scheduler may stop a trial." if findings.rungs else ""
    if (num := findings.sweep.flags["brackets"]) > 1:
        rungs += f" Trials take turns in {num} brackets and compete within theirs; bracket k begins at the k-th rung."
    if findings.sweep.flags["population"]:
        rungs += " A child begins where it has left its parent."
    cut = " What lies far below the range of the later iterations is cut off."
    first = " Of the first seed." if len(findings.sweep.seeds) > 1 else ""
    text = f"{legend}. A cross ends a trial that was stopped.{rungs}{first}{cut}"
    return _figure(charts.curves(findings, DESK), charts.curves(findings, PHONE), text)


def _parameters(findings: Findings) -> str:
    table = tables.importance(findings)
    parts = ["<h3>Importance</h3>"]
    parts.append(to_html(table) if table else f"<p>Not known: {html.escape(findings.no_importances)}.</p>")
    small = charts.slices(findings)
    if small:
        base = " The dashed line is the base." if findings.base else ""
        parts.append(
            f"<h3>Slices</h3><figure><figcaption>Each point is a complete trial, the best in orange.{base} A cross at "
            "the bottom is a trial that was pruned.</figcaption>"
            f'<div class="small-charts">{"".join(small)}</div></figure>'
        )
    wide = charts.parallel(findings, DESK)
    if wide:
        shades = "".join(f'<i class="key" style="border-color:var(--l{k});margin:0"></i>' for k in range(5))
        legend = (
            f"{shades} from the fifth of trials with the lowest {METRIC} to that with the highest"
            '<i class="key" style="border-color:var(--accent)"></i>best'
        )
        parts.append(f"<h3>Parallel coordinates</h3>{_figure(wide, charts.parallel(findings, PHONE), legend)}")
    return "\n".join(parts)


def _classes(findings: Findings) -> str:
    table = tables.per_class(findings)
    return to_html(table, classes="heat") if table else "<p>No trial is complete yet.</p>"


def _pictures(gallery: Gallery | None) -> str:
    if gallery is None:
        return "<p>Pictures are drawn when the sweep ends, or by <code>python sweeps/report.py</code>.</p>"
    parts = [f'<p class="soft">{html.escape(" ".join(gallery.notes))}</p>'] if gallery.notes else []
    for name, panels in gallery.images:
        shown = "".join(
            f'<figure><img src="{uri}" alt="{html.escape(heading)} of {html.escape(name)}">'
            f"<figcaption>{html.escape(heading)}</figcaption></figure>"
            for heading, uri in panels
        )
        parts.append(f'<h3>{html.escape(name)}</h3><div class="images">{shown}</div>')
    if gallery.images:
        entries = "".join(f'<li><i style="background:{c}"></i>{html.escape(n)}</li>' for n, c in gallery.legend)
        parts.append(f'<ul class="legend">{entries}</ul>')
    return "\n".join(parts)


def _reproduce(findings: Findings) -> str:
    parts = ["<h3>The sweep</h3>"]
    for run in findings.sweep.runs:
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        parts.append(f"<pre>{html.escape(run['command'])}</pre>")
        parts.append(f'<p class="soft">{html.escape(run["started"])}; {html.escape(versions)}</p>')
    parts.append("<h3>One trial</h3>")
    roles = ((", the best", findings.best), (", without contrast", findings.base))
    named = {findings.directory(row).name: role for role, row in roles if row}
    for row in findings.runs:
        role, value = named.get(row["trial"], ""), score(row)
        text = f"{row['trial']}{role}" + ("" if value is None else f", {value:.2f} %")
        parts.append(
            f"<details{' open' if role else ''}><summary>{html.escape(text)}</summary>"
            f"<pre>{html.escape(findings.commands[row['trial']])}</pre></details>"
        )
    return "\n".join(parts)


def _figure(desk: str, phone: str, caption: str) -> str:
    charts_of_both = f'<div class="desk">{desk}</div><div class="phone">{phone}</div>'
    return f"<figure><figcaption>{caption}</figcaption>{charts_of_both}</figure>"
