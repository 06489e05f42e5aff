/// \file
/// The fixed parts of the report: head, animation, script.
#pragma once

#include <string_view>

namespace pantile::inline v0::simulator {

inline constexpr std::string_view report_head = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>pantile: IO complexity that can be run</title>
<style>
body { font: 15px/1.5 sans-serif; color: #222; max-width: 980px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; }
pre { background: #f6f6f6; padding: 0.8em; white-space: pre-wrap; font-size: 12.5px; line-height: 1.35; }
svg { max-width: 100%; height: auto; }
.walks { display: flex; gap: 2em; flex-wrap: wrap; }
.walks figure { margin: 0; } figcaption { font-variant-numeric: tabular-nums; }
button { font: inherit; padding: 0.2em 1em; }
</style>
</head>
<body>
<h1>pantile: IO complexity that can be run</h1>
<p>Every figure on this page was counted by running the algorithms' tile walks in a simulated memory hierarchy, or by closed
forms that those runs are held equal to. Nothing is loaded from elsewhere.</p>
)html";

inline constexpr std::string_view report_animation = R"html(<div class="walks" id="walks"></div>
<p><button id="play">play</button> <input id="at" type="range" min="0" value="0" aria-label="step"></p>
)html";

inline constexpr std::string_view report_script = R"js(
const side = 320, holder = document.getElementById("walks"), slider = document.getElementById("at");
const most = Math.max(...walks.map(w => w.visits.length));
slider.max = most; slider.value = most;
for (const w of walks) {
  const figure = document.createElement("figure");
  w.canvas = document.createElement("canvas");
  w.canvas.width = w.canvas.height = side;
  w.caption = document.createElement("figcaption");
  figure.append(w.canvas, w.caption);
  holder.append(figure);
}
function draw(step) {
  for (const w of walks) {
    const g = w.canvas.getContext("2d"), x = side / w.keys, y = side / w.rows;
    g.fillStyle = "#3a3a3a"; g.fillRect(0, 0, side, side);
    const n = Math.min(step, w.visits.length);
    for (let i = 0; i < n; ++i) {
      const age = n - 1 - i;
      g.fillStyle = age === 0 ? "#d55e00" : age < 6 ? "#e69f00" : "#7fb8da";
      g.fillRect(w.visits[i][1] * x + 0.5, w.visits[i][0] * y + 0.5, x - 1, y - 1);
    }
    const kb = n ? (w.visits[n - 1][2] / 1000).toFixed(0) : "0";
    w.caption.textContent = w.name + ": " + n + " tiles, " + kb + " kB moved (rows down, keys across)";
  }
}
let timer = 0;
slider.oninput = () => draw(+slider.value);
document.getElementById("play").onclick = () => {
  clearInterval(timer);
  slider.value = 0;
  timer = setInterval(() => {
    slider.value = +slider.value + 1;
    draw(+slider.value);
    if (+slider.value >= most) clearInterval(timer);
  }, 60);
};
draw(most);
)js";

} // namespace pantile::inline v0::simulator
