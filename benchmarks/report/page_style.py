"""The page's style sheet: light and dark, in colours that colour-blind readers can distinguish."""

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --soft: #5b6570; --line: #dde2e7;
  --panel: #f6f8fa;  --blue: #0b6cb0; --orange: #d98200; --green: #00805f; --purple: #a8558a; --sky:
  #4a9fd0; --grey: #9aa4ae;
  --red: #b3261e; --gold: #b59a00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e8ebee; --soft: #a3adb7;
  --line: #31373d; --panel: #1c2024; --blue: #4ea3e0; --orange: #f0a63a; --green: #35b892; --purple:
  #d78fbd; --sky: #7cc4ee;
  --grey: #737d87; --red: #ff8a80; --gold: #d8c23f; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 24px 28px 32px }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px }
h2 { font-size: 19px; margin: 30px 0 8px }
p { margin: 4px 0 }
header p, .note { color: var(--soft) }
.note { font-size: 14px }
header .warning { border-left: 4px solid var(--orange); padding: 4px 12px; background: var(--panel);
  color: var(--ink); margin: 8px 0 }
.scroll { overflow-x: auto }
svg { display: block; width: 100%; min-width: 760px; height: auto }
svg text { fill: var(--ink); font: 14px system-ui, sans-serif }
svg text.strong { font-weight: 700 }
svg text.tick { fill: var(--soft); font-size: 12px }
.grid { stroke: var(--line) }
.whisker { stroke: var(--ink); stroke-width: 1.3; fill: none }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 4px 0;
  font-size: 14px }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px }
.init, .anonymous, .code { fill: var(--blue); background: var(--blue) }
.embed, .models { fill: var(--orange); background: var(--orange) }
.rerank { fill: var(--green); background: var(--green) }
.mapped, .floor { fill: var(--grey); background: var(--grey) }
.p1 { fill: var(--grey) } .p2 { fill: var(--purple) } .p3 { fill: var(--blue) } .p4 { fill: var(--orange) }
.p5 { fill: var(--gold) } .p6 { fill: var(--green) } .p7 { fill: var(--sky) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 5px 12px; border-bottom: 1px solid var(--line); text-align: right }
th:first-child { text-align: left; font-weight: 400 }
thead th { color: var(--soft); font-weight: 600 !important; font-size: 14px }
.targets .met td:last-child { color: var(--green); font-weight: 700 }
.targets .met td:last-child::before { content: "\\2713  " }
.targets .missed td:last-child { color: var(--red); font-weight: 700 }
.targets .missed td:last-child::before { content: "\\2717  " }
.targets .not { color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0 }
dt { font-weight: 600 } dd { margin: 0; color: var(--soft) }
pre { overflow-x: auto; background: var(--panel); padding: 12px; font-size: 13px }
summary { cursor: pointer; margin-top: 16px }
@media print { details { display: none } }
"""
