// SPDX-License-Identifier: Apache-2.0
// A small curve of the last hours beside an alarm, with the line of the threshold. What it shows is said in words too.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 160;
const HEIGHT = 44;
const GAP = 3; // expected intervals, beyond which the line is broken

/**
 * @param {[number, number|null][]} points  seconds and values, in order of time
 * @param {number|null} threshold
 * @param {string} label
 */
export function spark(points, threshold, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const known = /** @type {[number, number][]} */ (points.filter(([, value]) => value !== null));
  if (known.length < 2) return svg;
  const values = known.map(([, value]) => value).concat(threshold === null ? [] : [threshold]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [start, end] = [known[0][0], known.at(-1)?.[0] ?? 0];
  const x = (/** @type {number} */ time) => ((time - start) / Math.max(end - start, 1)) * (WIDTH - 4) + 2;
  const y = (/** @type {number} */ value) => HEIGHT - 4 - ((value - low) / Math.max(high - low, 0.05)) * (HEIGHT - 8);
  if (threshold !== null) svg.append(line("spark-threshold", `M0 ${y(threshold)}H${WIDTH}`));
  const steps = known.slice(1).map(([time], index) => time - known[index][0]).sort((a, b) => a - b);
  const widest = GAP * (steps[Math.floor(steps.length * 0.75)] ?? 0);
  const path = known.map(([time, value], index) => {
    const isBroken = index === 0 || time - known[index - 1][0] > widest;
    return `${isBroken ? "M" : "L"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  svg.append(line("spark-line", path.join("")));
  const last = known[known.length - 1];
  const dot = document.createElementNS(SVG, "circle");
  for (const [name, value] of [["cx", x(last[0])], ["cy", y(last[1])], ["r", 3]]) dot.setAttribute(String(name), String(value));
  dot.setAttribute("class", "spark-dot");
  svg.append(dot);
  return svg;
}

/** @param {string} name @param {string} d */
function line(name, d) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", name);
  path.setAttribute("d", d);
  return path;
}
