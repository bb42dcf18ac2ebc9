"""The style sheet of every page: light and dark, wide and narrow, print."""

LIGHT = """--paper: #fbfbfa; --card: #ffffff; --ink: #22262b; --quiet: #6a717b; --line: #e3e5e8; --accent: #2f80c2;
  --link: #2470b0; --accent-soft: #2f80c222; --gold: #b8902b; --base: #b45309; --bar: #eceef1; --shade: #22262b33;"""
DARK = """--paper: #15181c; --card: #1d2126; --ink: #e6e8eb; --quiet: #9aa2ad; --line: #2f353c; --accent: #5aa5e2;
  --link: #5aa5e2; --accent-soft: #5aa5e233; --gold: #d9b95c; --base: #f09038; --bar: #2b3138; --shade: #000000aa;"""

CSS = (
    f"""
:root {{ color-scheme: light dark; --label: 7.6rem; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
"""
    + """* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.6rem; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15.5px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif; }
main, header.page > div, nav > div { max-width: 1120px; margin: 0 auto; padding: 0 1.5rem; }
header.page { padding: 2.6rem 0 1.4rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 0.5rem; }
h2 { font-size: 1.32rem; letter-spacing: -0.01em; margin: 3rem 0 1rem; padding-bottom: 0.4rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 0 0 0.6rem; }
p { margin: 0 0 0.8rem; max-width: 74ch; }
.smoke { border-left: 4px solid var(--base); padding: 0.4rem 0.8rem; font-weight: 600; background: var(--card); }
.summary { font-size: 1.08rem; color: var(--quiet); }
.chips { display: flex; flex-wrap: wrap; gap: 0.45rem; margin-top: 1rem; }
.chips span { background: var(--card); border: 1px solid var(--line); border-radius: 999px; padding: 0.12rem 0.75rem;
  font-size: 0.84rem; }
.chips b { font-weight: 500; color: var(--quiet); margin-right: 0.35rem; }
nav { position: sticky; top: 0; z-index: 5; background: var(--paper); border-bottom: 1px solid var(--line); }
nav > div { display: flex; gap: 1.3rem; overflow-x: auto; font-size: 0.9rem;
  padding-top: 0.6rem; padding-bottom: 0.6rem; }
nav a { color: var(--quiet); text-decoration: none; white-space: nowrap; }
nav a:hover { color: var(--link); }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.86em; }
pre { background: var(--bar); border-radius: 8px; padding: 0.6rem 0.9rem; overflow-x: auto; margin: 0.9rem 0 0; }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.15rem 1.3rem;
  margin: 0 0 1.1rem; min-width: 0; }
.caption { color: var(--quiet); font-size: 0.9rem; margin: 0.7rem 0 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 31rem), 1fr)); gap: 1.1rem;
  margin-bottom: 1.1rem; align-items: start; }
.columns .panel { margin: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.1rem;
  margin-bottom: 1.1rem; }
.cards .panel { margin: 0; padding: 1rem 1.15rem; }
.cards h3 { margin: 0; }
.meaning { color: var(--quiet); font-size: 0.85rem; line-height: 1.35; margin: 0.1rem 0 0.7rem; }
.gauge { display: grid; grid-template-columns: 5.2rem 1fr 8.4rem; align-items: center; gap: 0.8rem; font-size: 0.86rem;
  margin: 0.22rem 0; }
.gauge .track { position: relative; height: 9px; border-radius: 5px; background: var(--bar); }
.gauge .track i { position: absolute; top: 0; bottom: 0; border-radius: 5px; }
.gauge .fill { background: var(--accent); }
.gauge .range { background: var(--ink); opacity: 0.28; top: 3px !important; bottom: 3px !important; }
.gauge .mark { width: 2px; margin-left: -1px; top: -3px !important; bottom: -3px !important;
  border-radius: 0 !important; }
.gauge .chance { background: var(--quiet); }
.gauge .ceiling { background: var(--gold); }
.gauge .nuisance { background: var(--base); }
.gauge .who { line-height: 1.15; overflow-wrap: anywhere; }
.gauge .value { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
.gauge .value b { font-size: 1.02rem; margin-right: 0.3rem; }
.gauge .value small, .foot { color: var(--quiet); font-size: 0.8rem; }
.foot { margin: 0.6rem 0 0; }
.foot .key { display: inline-block; width: 2px; height: 0.8em; vertical-align: -0.08em; margin: 0 0.35em 0 0.7em; }
.foot .key:first-child { margin-left: 0; }
.latents { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 1fr));
  gap: 1.6rem 1.8rem; }
.latent { border-top: 2px solid var(--line); padding-top: 0.6rem; min-width: 0; }
.latent h4 { margin: 0; font-size: 1.05rem; line-height: 1.3; }
.latent small { color: var(--quiet); font-size: 0.82rem; display: block; line-height: 1.4; }
.latent .strip { display: flex; gap: 4px; margin: 0.5rem 0 0.4rem; }
.latent .strip img { flex: 1 1 0; min-width: 0; max-width: 64px; aspect-ratio: 1; border-radius: 4px; }
.latent .area { display: grid; grid-template-columns: 1fr auto; gap: 0.9rem; align-items: center; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; }
.latent .track { position: relative; height: 14px; border-radius: 7px; background: var(--bar); }
.latent .track i { position: absolute; }
.latent .range { top: 5px; bottom: 5px; background: var(--accent); opacity: 0.55; border-radius: 2px; }
.latent .dot { width: 10px; height: 10px; top: 2px; margin-left: -5px; border-radius: 50%; background: var(--accent); }
.latent .mark { width: 3px; margin-left: -1px; top: -3px; bottom: -3px; }
.latent .chance { background: var(--quiet); } .latent .base { background: var(--base); }
.latent .ceiling { background: var(--gold); }
.latent .place { display: flex; gap: 0.8rem; align-items: center; margin-top: 0.4rem; }
.latent .map { width: 74px; flex: none; image-rendering: pixelated; }
.latent .place svg { min-width: 0; flex: 1 1 auto; }
nav a.page { color: var(--link); font-weight: 600; }
svg.figure { max-width: 100%; height: auto; display: block; }
svg.figure * { stroke-linejoin: round; stroke-linecap: butt; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.34rem 0.7rem 0.34rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; font-size: 0.82rem; }
td.num, th.num { text-align: right; }
tr.ours td { font-weight: 600; }
tr:last-child td { border-bottom: 0; }
.words td { white-space: normal; vertical-align: top; min-width: 6rem; }
.stack { display: block; }
.quiet { color: var(--quiet); font-weight: 400; }
.grid { display: grid; gap: 5px; align-items: center; }
.grid figure { margin: 0; }
.grid img { width: 100%; aspect-ratio: 1; object-fit: contain; display: block; border-radius: 4px;
  background: var(--bar); }
.grid .row { position: sticky; left: 0; z-index: 1; background: var(--card); font-size: 0.86rem; line-height: 1.25;
  padding-right: 0.8rem; text-align: right; align-self: stretch; display: flex; align-items: center;
  justify-content: flex-end; }
.grid .row.lead { font-weight: 600; }
.grid .note, .grid .under { font-size: 0.74rem; line-height: 1.25; color: var(--quiet); align-self: start;
  overflow-wrap: anywhere; overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 9; }
.grid .over { font-size: 0.82rem; color: var(--quiet); border-bottom: 2px solid var(--line); padding-bottom: 2px; }
.grid .gap { height: 5px; grid-column: 1 / -1; }
.kept { position: absolute; }
.sorting { display: flex; flex-wrap: wrap; gap: 0.5rem 1.2rem; margin: 0 0 0.5rem; font-size: 0.9rem; }
.sorting[hidden] { display: none; }
.sorting label { color: var(--quiet); }
.sorting select { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 0.3rem 0.5rem; margin-left: 0.3rem; max-width: 15rem; }
.foot.sorted { margin: 0 0 0.8rem; }
.cases { list-style: none; margin: 0; padding: 0; display: grid; gap: 1.5rem 1.7rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.case { border-top: 2px solid var(--line); padding-top: 0.5rem; min-width: 0; }
.case p { max-width: none; }
.case .rank { margin: 0 0 0.4rem; font-size: 0.9rem; overflow-wrap: anywhere; }
.shots { display: grid; grid-template-columns: repeat(var(--abreast), minmax(0, 1fr)); gap: 0.5rem 0.4rem; }
.shots figure { margin: 0; }
.shot { width: 100%; aspect-ratio: 1; display: block; border-radius: 4px; background: var(--bar); }
.shots .lead .shot { outline: 2px solid var(--accent); outline-offset: 1px; }
.shots figcaption { font-size: 0.72rem; line-height: 1.2; color: var(--quiet); margin-top: 0.25rem; hyphens: auto;
  overflow-wrap: break-word; }
.shots .lead figcaption { color: var(--ink); font-weight: 600; }
.said { margin: 0.6rem 0 0; font-size: 0.84rem; line-height: 1.35; }
.said div { display: flex; gap: 0.6rem; margin-top: 0.15rem; }
.said dt { flex: 0 0 5.6rem; color: var(--quiet); }
.said dd { margin: 0; overflow-wrap: anywhere; }
.verdicts { list-style: none; display: flex; flex-wrap: wrap; gap: 0.3rem; margin: 0.6rem 0 0; padding: 0; }
.verdicts li { border: 1px solid var(--line); border-radius: 999px; padding: 0.05rem 0.6rem; font-size: 0.78rem; }
.verdicts li i { font-style: normal; font-weight: 700; }
.verdicts li span { color: var(--quiet); }
.verdicts .brain { border-color: var(--accent); background: var(--accent-soft); }
.verdicts .brain i { color: var(--link); } .verdicts .prior i { color: var(--base); }
.verdicts .prior { border-color: var(--base); border-style: dashed; }
.case .values { margin: 0.55rem 0 0; font-size: 0.82rem; color: var(--quiet); display: flex; flex-wrap: wrap;
  gap: 0.1rem 0.9rem; font-variant-numeric: tabular-nums; }
.case .values b { font-weight: 500; color: var(--ink); } .case .values .by b { font-weight: 700; }
.case .values .by { color: var(--ink); }
.more { margin: 1.2rem 0 0; } .more > summary { padding: 0.5rem 0; font-weight: 600; }
.more[open] > summary { margin-bottom: 0.6rem; }
.tally { width: auto; margin-top: 1.1rem; } .tally th, .tally td { padding-right: 1.4rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
details { margin: 0.15rem 0; }
.group { margin: 0.4rem 0; }
.group > summary { font-weight: 600; padding: 0.25rem 0; }
.group > summary small { font-weight: 400; color: var(--quiet); margin-left: 0.4rem; }
details > summary { cursor: pointer; }
.tree { font-size: 0.88rem; }
.tree details, .tree .leaf { margin-left: 1.1rem; }
.tree .leaf b { font-weight: 500; color: var(--quiet); margin-right: 0.5rem; }
footer { color: var(--quiet); font-size: 0.85rem; margin: 3rem 0 2.5rem; }
@media (max-width: 640px) { :root { --label: 6.1rem; } main, header.page > div, nav > div { padding: 0 1rem; }
  .gauge { grid-template-columns: 5.2rem 1fr 8.2rem; gap: 0.5rem; } .grid .row { font-size: 0.78rem; }
  .shots figcaption { font-size: 0.66rem; }
  h1 { font-size: 1.55rem; }
  /* Shrunk to a phone the letters of a figure cannot be read: it is moved sideways instead. */
  .panel { padding: 1rem; overflow-x: auto; } .panel > svg.figure:not(.small) { max-width: 40rem; }
  /* A shade at the edge behind which there is more. */
  .panel { background: linear-gradient(90deg, var(--card) 40%, transparent) left / 2rem 100% no-repeat local,
      linear-gradient(270deg, var(--card) 40%, transparent) right / 2rem 100% no-repeat local,
      linear-gradient(90deg, var(--shade), transparent) left / 0.8rem 100% no-repeat scroll,
      linear-gradient(270deg, var(--shade), transparent) right / 0.8rem 100% no-repeat scroll, var(--card); } }
@media (min-width: 641px) { nav > div { flex-wrap: wrap; row-gap: 0.2rem; } }
@media (min-width: 1500px) { html { font-size: 19px; } body { font-size: 1rem; }
  main, header.page > div, nav > div { max-width: 1400px; } .panel > svg.figure { width: 100%; max-width: 1250px; }
  .panel > svg.figure.small { max-width: 720px; } }
@media print { nav { display: none; } .panel { break-inside: avoid; } }
"""
)
