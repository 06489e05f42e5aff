#!/usr/bin/env python3
"""Draws the results of peers.py as bars: what share of the machine's limit each library reaches. Needs no other package.

One panel for each kind of problem, one group of bars for each head dim and length. The limit is the multiply-add peak of
the type that the work is done in (fp32 for 16-bit inputs), or, for decode, plain reading of K and V; both were measured in
turn with the libraries.

Examples:
  python3 bench/plot.py peers.json --output docs/images/peers_fp32.svg
  python3 bench/plot.py peers.json --dtype bf16 --threads 2 --kind full,causal --output bf16.svg
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from xml.sax.saxutils import escape

LIBRARIES = {  # name, colour: one strong colour, and three calm ones that differ in lightness too
    "pantile": ("pantile", "#c2410c"),
    "pytorch": ("PyTorch", "#1e3a5f"),
    "onnxruntime": ("ONNX Runtime", "#5b8db8"),
    "openvino": ("OpenVINO", "#b7cbdc"),
}
PANELS = {
    "full": "Forward, full",
    "causal": "Forward, causal",
    "backward": "Backward, full",
    "backward-causal": "Backward, causal",
    "decode": "Decode, 32 query heads on 8",
}
LEFT, RIGHT, BAR, GAP = 52, 18, 15, 30  # pixels
PANEL_HEIGHT, TITLE, LABELS = 168, 34, 50
INK, FAINT = "#1f2430", "#d9dde3"


def shares(record, library):
    """Share of the limit, one a round."""
    limits = record["gbytes" if record["kind"] == "decode" else "gflops"]
    return [record["work"] / s / 1e9 / limit for s, limit in zip(record["seconds"].get(library, []), limits)]


def text(x, y, words, size=12, anchor="start", weight="normal", fill=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{fill}">{escape(words)}</text>')


def panel(top, width, title, records):
    """The axis, then a group of bars for each record; libraries that do not serve it leave no gap in their group."""
    bottom = top + TITLE + PANEL_HEIGHT
    drawn = [[(name, statistics.median(values)) for name in LIBRARIES if (values := shares(r, name))] for r in records]
    top_share = max(1.0, *(share for bars in drawn for _, share in bars))
    height = PANEL_HEIGHT / top_share
    out = [text(LEFT, top + 18, title, 14, weight="bold")]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - tick * height
        out.append(f'<line x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{INK if tick == 0 else FAINT}"/>')
        out.append(text(LEFT - 8, y + 4, f"{tick:.0%}", 11, "end"))
    x = LEFT + GAP / 2
    for r, bars in zip(records, drawn):
        for name, share in bars:
            top_of_bar = bottom - share * height
            out.append(f'<rect x="{x:.1f}" y="{top_of_bar:.1f}" width="{BAR - 1}" height="{share * height:.1f}" '
                       f'fill="{LIBRARIES[name][1]}"><title>{LIBRARIES[name][0]}: {share:.2f}</title></rect>')
            if name == "pantile":
                out.append(text(x + (BAR - 1) / 2, top_of_bar - 4, f"{100 * share:.0f}", 10, "middle", "bold", LIBRARIES[name][1]))
            x += BAR
        middle = x - BAR * len(bars) / 2
        out.append(text(middle, bottom + 16, f"N = {r['n']}", 11, "middle"))
        out.append(text(middle, bottom + 30, f"d = {r['d']}", 11, "middle"))
        x += GAP
    return out


def width_of(records):
    bars = sum(sum(1 for name in LIBRARIES if r["seconds"].get(name)) for r in records)
    return LEFT + RIGHT + bars * BAR + len(records) * GAP


def draw(results, dtype, threads, kinds):
    """The SVG text, or None where nothing of that kind was measured."""
    panels = []
    for kind in kinds:
        records = [r for r in results["cells"].values() if (r["kind"], r["dtype"], r["threads"]) == (kind, dtype, threads)]
        if records:
            panels.append((PANELS[kind], sorted(records, key=lambda r: (r["d"], r["n"]))))
    if not panels:
        return None
    width = max(560, *(width_of(records) for _, records in panels))
    head = 66
    height = head + len(panels) * (TITLE + PANEL_HEIGHT + LABELS)
    title = f"Share of the machine's limit, {dtype}, {threads} thread{'s' if threads > 1 else ''}"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           f'font-family="system-ui, Helvetica, Arial, sans-serif" role="img">',
           f"<title>{escape(title)}</title>", f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
           text(LEFT, 26, title, 16, weight="bold")]
    x = LEFT
    for name, colour in LIBRARIES.values():
        out.append(f'<rect x="{x}" y="39" width="11" height="11" fill="{colour}"/>')
        out.append(text(x + 16, 49, name, 12))
        x += 40 + 7 * len(name)
    for i, (name, records) in enumerate(panels):
        out += panel(head + i * (TITLE + PANEL_HEIGHT + LABELS), width, name, records)
    return "\n".join([*out, "</svg>", ""])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("results", type=Path, help="the JSON file of peers.py")
    a.add_argument("--dtype", default="fp32", choices=["fp32", "bf16", "fp16", "fp64"])
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--kind", default=",".join(PANELS), help="default: %(default)s")
    a.add_argument("--output", type=Path, help="the SVG file (default: standard output)")
    arguments = a.parse_args()
    kinds = arguments.kind.split(",")
    unknown = [k for k in kinds if k not in PANELS]
    if unknown:
        a.error(f"--kind: '{unknown[0]}' is not one of {', '.join(PANELS)}")
    try:
        results = json.loads(arguments.results.read_text())
    except (OSError, ValueError) as e:
        print(f"plot.py: cannot read {arguments.results}: {e}", file=sys.stderr)
        return 1
    svg = draw(results, arguments.dtype, arguments.threads, kinds)
    if svg is None:
        print(f"plot.py: {arguments.results} holds no {arguments.dtype} results on {arguments.threads} threads", file=sys.stderr)
        return 1
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(svg)
    else:
        sys.stdout.write(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
