"""The style sheet of the page."""

STYLE = """
:root { --ink: #1c2024; --soft: #5d6670; --line: #e3e3de; --paper: #fbfbf9; --card: #fff; --good: #0b6e4f;
  --bad: #b3402a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.6rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .8rem; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 3.2rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.soft, figcaption { color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .9rem; margin: 1.6rem 0 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.1rem; }
.facts b { display: block; font-size: 1.55rem; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .93rem; }
.keys { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem 2rem; margin: 1.2rem 0; }
.keys h3 { font-size: .95rem; margin: 0 0 .4rem; }
.classes { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); gap: .15rem .6rem;
  list-style: none; margin: 0; padding: 0; font-size: .9rem; }
.classes i { display: inline-block; width: .85em; height: .85em; border-radius: 2px; margin-right: .45em;
  vertical-align: -.06em; box-shadow: inset 0 0 0 1px #0003; }
.ramp { height: 1rem; border-radius: 3px; }
.ends { display: flex; justify-content: space-between; font-size: .9rem; }
.ball { display: flex; gap: .9rem; align-items: center; font-size: .9rem; }
.ball img { width: 76px; height: 76px; flex: none; }
.room { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem; margin: 1rem 0;
  display: grid; gap: .7rem; grid-auto-flow: column; grid-template-rows: auto auto; grid-auto-columns: 1fr; }
.room figure { margin: 0; } .room figcaption { font-size: .88rem; margin-bottom: .2rem; }
.room img { display: block; width: 100%; aspect-ratio: 1; border-radius: 4px; image-rendering: pixelated; }
.room img.photo { image-rendering: auto; }
.note { align-self: center; font-size: .92rem; }
.wide { overflow-x: auto; margin: 1rem 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .9rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; background: #f4f4f0; }
th:first-child, td:first-child, .text { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
tr.sum td { border-top: 2px solid var(--line); font-weight: 600; }
small { color: var(--soft); font-size: .84em; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem;
  margin: 1rem 0; }
.charts img, .chart img { width: 100%; display: block; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; }
.chart { max-width: 52rem; }
pre { background: #22272d; color: #eceff1; padding: 1rem 1.1rem; border-radius: 10px; overflow-x: auto;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre.report { background: var(--card); color: var(--ink); border: 1px solid var(--line); }
@media (max-width: 720px) {
  main { padding: 1.5rem .9rem 3rem; }
  .room { grid-auto-flow: row; grid-template-rows: none; grid-auto-columns: auto;
    grid-template-columns: 1fr 1fr; padding: .8rem; }
  th, td { padding: .45rem .6rem; }
}
"""
